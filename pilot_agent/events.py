"""What happens to a pilot (events) and what it is told to do (instructions): the two sides of machine.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from .messages import JobSpec, Output, Stored


class Trouble(Enum):
    """Why a request to the broker brought no answer that helps."""

    UNREACHABLE = "unreachable"
    TOKEN = "token refused"  # noqa: S105 - words, no secret
    REJECTED = "rejected"


class Event:
    """Something that happened."""


@dataclass(frozen=True)
class Tick(Event):
    """Time passed."""


@dataclass(frozen=True)
class StopAsked(Event):
    """Somebody wants the pilot to leave (SIGTERM)."""

    reason: str


@dataclass(frozen=True)
class GotJob(Event):
    spec: JobSpec


@dataclass(frozen=True)
class NoJob(Event):
    """Nothing to do; the broker wants to be left alone for ``retry_after_s``."""

    reason: str = ""
    retry_after_s: float = 0.0


@dataclass(frozen=True)
class AskFailed(Event):
    trouble: Trouble
    reason: str


@dataclass(frozen=True)
class StagedIn(Event):
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended(Event):
    """The payload is gone; ``error`` is empty where it did its work."""

    exit_code: int | None
    error: str = ""
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class StagedOut(Event):
    outputs: list[Stored]
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class WorkFailed(Event):
    """Staging in, running or staging out broke off; nothing of it is left at the storage."""

    error: str


@dataclass(frozen=True)
class OutputsDeleted(Event):
    pass


@dataclass(frozen=True)
class Answered(Event):
    """The broker's word on the last report of ``job``: continue, kill or discard."""

    job: int
    command: str
    reason: str = ""


@dataclass(frozen=True)
class ReportFailed(Event):
    job: int
    trouble: Trouble
    reason: str


class Instruction:
    """Something to do. It ends in an event unless it says otherwise."""


@dataclass(frozen=True)
class AskForJob(Instruction):
    request: str
    remaining_s: int
    wait_s: float
    patience_s: float


@dataclass(frozen=True)
class Received(Instruction):
    """A job begins: make its work directory. No event of its own."""

    spec: JobSpec


@dataclass(frozen=True)
class StageIn(Instruction):
    spec: JobSpec


@dataclass(frozen=True)
class RunPayload(Instruction):
    spec: JobSpec


@dataclass(frozen=True)
class StageOut(Instruction):
    spec: JobSpec


@dataclass(frozen=True)
class DeleteOutputs(Instruction):
    spec: JobSpec
    outputs: list[Output]


@dataclass(frozen=True)
class StopWork(Instruction):
    """Break off what goes on (staging or payload); its end still comes as an event. No event of its own."""

    reason: str


@dataclass(frozen=True)
class Report(Instruction):
    """Tell the broker; ``before`` is the state that pieces of a long log may be sent under first."""

    job: int
    state: str
    before: str
    final: bool = False
    exit_code: int | None = None
    error: str = ""
    outputs: list[Stored] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Forget(Instruction):
    """The job is over: its work directory may go. No event of its own."""

    spec: JobSpec
    failed: bool
    note: str


@dataclass(frozen=True)
class Leave(Instruction):
    code: int
    reason: str
