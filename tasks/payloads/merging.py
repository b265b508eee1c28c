"""The work of Merge_tf: several files of a format -> one, ordered by event number."""

from pathlib import Path

from .event_files import EventFiles, EventWriter
from .exit_codes import ExitCode
from .formats import Format
from .outcome import Outcome

BLOCK = 2000


def merge(inputs: list[Path], output: Path, format_: Format) -> Outcome:
    """Copy all events; no event may come twice."""
    files = EventFiles(inputs, format_)
    files.check_unique(ExitCode.FILEMERGE_PROBLEM)
    with EventWriter(output, format_, files.selected(0, -1)) as writer:
        for block in files.blocks(BLOCK):
            writer.write(block)
    return writer.outcome(files)
