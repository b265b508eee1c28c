"""Exit codes of the payloads: the ones that ATLAS's transforms use, so that a pilot understands them.

Source: ATLAS athena, Tools/PyJobTransforms/python/trfExitCodes.py (public).
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a payload tells the batch node; the acronym in `jobReport.json` is made from the name."""

    OK = 0
    ARG_ERROR = 7
    INPUT_FILE_ERROR = 9
    OUTPUT_FILE_ERROR = 11
    NOEVENTS = 15
    EXEC_VALIDATION_EVENTCOUNT = 38
    FILEMERGE_PROBLEM = 52
    EXEC_FAIL = 65
    INPUT_FILE_VALIDATION_FAIL = 74
    OUTPUT_FILE_VALIDATION_FAIL = 75
    UNEXPECTED_OTHER_EXCEPTION = 251
    SIGINT = 130
    SIGTERM = 143

    @property
    def acronym(self) -> str:
        """`OK`, or the name with ATLAS's prefix, as in `TRF_NOEVENTS`."""
        return self.name if self is ExitCode.OK else f"TRF_{self.name}"


class TransformError(Exception):
    """A payload ends here: with this exit code and a message that names what is wrong and what to do."""

    def __init__(self, code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.code = code
