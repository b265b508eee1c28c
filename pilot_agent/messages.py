"""The messages between pilot and broker: the whole wire protocol, standard library only.

Every message is one JSON object. ``encode`` and ``decode`` turn the dataclasses into objects and back; fields
that a reader does not know are ignored, so that an older pilot talks to a newer broker. Units are in the names:
``_s`` seconds, ``_mb`` megabytes (10**6 bytes); sizes of files are bytes, checksums adler32 in eight hex digits.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, TypeVar

Message = TypeVar("Message", bound="_Message")


@dataclass
class _Message:
    nested: ClassVar[dict[str, type[_Message]]] = {}
    """Fields that are lists of other messages."""


@dataclass
class Input(_Message):
    """A file that the payload reads; ``url`` is its verified copy at the pilot's site."""

    lfn: str
    url: str
    bytes: int
    adler32: str


@dataclass
class Output(_Message):
    """A file that the payload must leave in its work directory; ``url`` is where the pilot stores it."""

    lfn: str
    url: str


@dataclass
class JobSpec(_Message):
    """A job as the pilot gets it. ``command`` runs in the work directory, which holds the inputs by their LFN.

    A pilot that has heard nothing from the broker for ``lease_s`` knows that the job is not its own any more.
    """

    job: int
    task: int
    attempt: int
    command: list[str]
    inputs: list[Input]
    outputs: list[Output]
    walltime_s: int
    heartbeat_s: float
    lease_s: float = 600.0
    nested: ClassVar[dict[str, type[_Message]]] = {"inputs": Input, "outputs": Output}


@dataclass
class Acquire(_Message):
    """A pilot's request for work. ``request`` is new for each wish and kept when the wish is repeated, so that a
    lost answer costs nothing; ``wait_s`` is how long the broker may park the request. With ``remaining_s`` 0 the
    pilot wants no work, only the job that this request may have got before.

    The offer is for ``jobs`` jobs at most, together. None and empty mean: as the queue's slots are said to be.
    ``software`` is what there is beside the queue's, as shell patterns."""

    pilot: str
    request: str
    host: str
    cores: int
    memory_mb: int
    remaining_s: int
    wait_s: float = 20.0
    disk_mb: int | None = None
    gpus: int | None = None
    architecture: str = ""
    software: list[str] = field(default_factory=list)
    jobs: int = 1


@dataclass
class Acquired(_Message):
    """The answer: jobs, or none and why, and after how long asking again makes sense."""

    jobs: list[JobSpec]
    reason: str = ""
    retry_after_s: float = 0.0
    nested: ClassVar[dict[str, type[_Message]]] = {"jobs": JobSpec}


@dataclass
class Stored(_Message):
    """An output as it lies at the site."""

    lfn: str
    guid: str
    bytes: int
    adler32: str
    events: int


@dataclass
class Update(_Message):
    """News of one job: its state, also as a heartbeat, with the log since ``log_offset`` (characters).

    ``state`` is starting, running, holding (outputs being stored), finished or failed. ``error`` says in words
    why it failed; ``exit_code`` is the payload's, None where it did not end by itself.
    """

    job: int
    state: str
    log_offset: int = 0
    log: str = ""
    exit_code: int | None = None
    error: str = ""
    outputs: list[Stored] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    nested: ClassVar[dict[str, type[_Message]]] = {"outputs": Stored}


@dataclass
class Updates(_Message):
    """News of a pilot's jobs, in one request."""

    pilot: str
    updates: list[Update]
    nested: ClassVar[dict[str, type[_Message]]] = {"updates": Update}


@dataclass
class Answer(_Message):
    """What the broker says to an update. ``command`` is

    * ``continue``: go on,
    * ``kill``: stop the payload and report failed,
    * ``discard``: the job is not this pilot's any more: delete stored outputs and forget it.
    """

    job: int
    command: str
    reason: str = ""


@dataclass
class Answers(_Message):
    """Answers to the updates, in their order."""

    answers: list[Answer]
    nested: ClassVar[dict[str, type[_Message]]] = {"answers": Answer}


def encode(message: _Message) -> dict[str, Any]:
    return asdict(message)


def decode(kind: type[Message], document: Any) -> Message:
    """Build a message; raises ValueError naming the field that is missing or no such object."""
    if not isinstance(document, dict):
        raise ValueError(f"{kind.__name__}: expected an object, got {type(document).__name__}")
    known = {f.name for f in fields(kind)}
    values = {name: value for name, value in document.items() if name in known}
    for name, part in kind.nested.items():
        if name in values:
            if not isinstance(values[name], list):
                raise ValueError(f"{kind.__name__}.{name}: expected a list")
            values[name] = [decode(part, item) for item in values[name]]
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"{kind.__name__}: {error}") from None
