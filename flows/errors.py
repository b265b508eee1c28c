"""What can go wrong around a chain; every error names its object and says what to do.

ChainError
  BadChain       a chain that cannot be loaded or called (file and line named)
  NoSuchChain    no such file, module, chain in it, or flow run
  StepsFailed    steps of a run failed
  StillRuns      a run that a living process drives, so that nothing is to be resumed
  NoPrefect      no Prefect server is known or answers
"""

from typing import ClassVar


class ChainError(Exception):
    """An error with a code, the object it is about, and a hint: what to do about it."""

    code: ClassVar[str] = "chain-error"
    status: ClassVar[int] = 400
    """The HTTP status with the same meaning; the command line makes its exit code from it."""

    def __init__(self, message: str, *, object: str, hint: str) -> None:  # noqa: A002
        super().__init__(message)
        self.object = object
        self.hint = hint


class BadChain(ChainError):
    code = "bad-chain"
    status = 422


class NoSuchChain(ChainError):
    code = "no-such-chain"
    status = 404


class StepsFailed(ChainError):
    code = "steps-failed"
    status = 500


class StillRuns(ChainError):
    code = "still-runs"
    status = 409


class NoPrefect(ChainError):
    code = "no-prefect"
    status = 503
