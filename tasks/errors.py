"""What can go wrong in a step; every error names its object and says what to do.

StepError
  OutsideChain    a step was called outside a @chain function
  BadStep         a step's definition or call that makes no task
  WorkFailed      the broker's task ended without all of its output
  UpstreamFailed  the step that makes the input failed, so this one is not followed any more
  RunStopped      the flow run is being cancelled
"""

from typing import ClassVar


class StepError(Exception):
    """An error with a code, the object it is about, and a hint: what to do about it."""

    code: ClassVar[str] = "step-error"

    def __init__(self, message: str, *, object: str, hint: str) -> None:  # noqa: A002
        super().__init__(message)
        self.message = message
        self.object = object
        self.hint = hint

    def __str__(self) -> str:
        # Prefect shows str(error) as the state's message, and that is all that many users look at
        return f"{self.message}; {self.hint}"


class OutsideChain(StepError):
    code = "outside-chain"


class BadStep(StepError):
    code = "bad-step"


class WorkFailed(StepError):
    code = "work-failed"


class UpstreamFailed(StepError):
    code = "upstream-failed"


class RunStopped(StepError):
    code = "run-stopped"
