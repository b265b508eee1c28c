"""What runs where and when, and why: the broker's tables.

``Job`` is wide and has no index on anything that changes, so that its updates stay cheap; what must be found
by state lives in narrow tables beside it: ``Unplaced`` (waits for brokerage), ``Ready`` (waits for a pilot) and
``Lease`` (is with a pilot). Numbers of jobs by state are sums over ``JobCount``, never ``count(*)``.
Triggers (migrations) write an event for each change of state, keep Ready and JobCount true, and refuse ways that
states.py does not know and any activation of a job whose inputs are not at its storage.
"""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import Field, SQLModel

from prodchain.catalog.models import (
    big_key,
    big_ref,
    give_database_defaults,
    now,
    small_ref,
    time_column,
)

from .states import JobState, TaskState


class QueueStatus(StrEnum):
    ONLINE = "online"
    DRAIN = "drain"
    OFFLINE = "offline"


class TokenKind(StrEnum):
    ADMIN = "admin"
    USER = "user"
    PILOT = "pilot"


COUNTED_BY_QUEUE = "('assigned', 'activated', 'sent', 'starting', 'running', 'holding')"
"""States in which jobs load a queue, as SQL."""


def document() -> Column[Any]:
    return Column(JSONB, nullable=False, server_default=text("'{}'::jsonb"))


class Queue(SQLModel, table=True):
    """A site's offer for jobs: what one slot has, and how many slots there are."""

    id: int | None = Field(default=None, sa_column=Column(SmallInteger, Identity(), primary_key=True))
    name: str = Field(unique=True)
    site: str = Field(foreign_key="site.name")
    storage_id: int = Field(sa_column=small_ref("storage.id"))
    status: QueueStatus = Field(default=QueueStatus.ONLINE, sa_type=Text)
    slots: int = 1
    local_pilots: int = 0
    """Pilots that ``prodchain up`` starts for the queue on its own machine."""
    cores: int = 1
    memory_mb: int = 2000
    walltime_s: int = 86400


class Task(SQLModel, table=True):
    """A workload from an input dataset (or none) to an output dataset; ``key`` makes submission repeatable.

    ``request`` is the submitted document (requests.TaskRequest). ``numbers`` counts the pieces of work made so
    far; ``generated`` says that there will be no more.
    """

    __table_args__ = (
        Index("task_key", "key", unique=True),
        Index("task_input", "input_id"),
        Index("task_output", "output_id"),
        Index("task_open", "id", postgresql_where=text("state NOT IN ('done', 'finished', 'failed', 'aborted')")),
    )

    id: int | None = Field(default=None, sa_column=Column(BigInteger, Identity(start=10_000_000), primary_key=True))
    key: str
    step: str
    owner: str
    state: TaskState = Field(default=TaskState.REGISTERED, sa_type=Text)
    request: dict[str, Any] = Field(sa_column=document())
    run: str | None = None
    priority: int = 1000
    input_id: int | None = Field(default=None, sa_column=big_ref("dataset.id", nullable=True))
    output_id: int = Field(sa_column=big_ref("dataset.id"))
    destination_id: int = Field(sa_column=small_ref("storage.id"))
    numbers: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    generated: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    created_at: datetime = Field(default_factory=now, sa_column=time_column())
    changed_at: datetime = Field(default_factory=now, sa_column=time_column())
    actor: str = ""
    reason: str = ""


class TaskFile(SQLModel, table=True):
    """A file of the task's input; it is new until jobs were made of it (``used``).

    Rows are only added where the input grows, so that its growth never waits for the task's own work.
    """

    __tablename__ = "task_file"
    __table_args__ = (Index("task_file_new", "task_id", "file_id", postgresql_where=text("NOT used")),)

    task_id: int = Field(sa_column=big_ref("task.id", primary=True))
    file_id: int = Field(sa_column=big_ref("file.id", primary=True))
    used: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})


class Job(SQLModel, table=True):
    """One run of one piece of work (``number`` of its task) by one pilot; a retry is a new job, one ``attempt`` on.

    ``work`` is what the piece is (splitting.Work: events, seed, inputs); ``spec`` what the pilot gets, with the URLs
    of the chosen site (pilot_agent.messages.JobSpec).
    """

    __table_args__ = (
        Index("job_task", "task_id", "number", "attempt", unique=True),
        {"postgresql_with": {"fillfactor": "80"}},
    )

    id: int | None = Field(default=None, sa_column=big_key())
    task_id: int = Field(sa_column=big_ref("task.id"))
    number: int
    attempt: int = 1
    state: JobState = Field(default=JobState.DEFINED, sa_type=Text)
    priority: int = 1000
    events: int = Field(default=0, sa_type=BigInteger)
    work: dict[str, Any] = Field(sa_column=document())
    spec: dict[str, Any] = Field(sa_column=document())
    assignment_id: int | None = Field(default=None, sa_column=big_ref("assignment.id", nullable=True))
    queue_id: int | None = Field(default=None, sa_column=small_ref("queue.id", nullable=True))
    pilot: str | None = None
    exit_code: int | None = None
    error: str | None = None
    metrics: dict[str, Any] = Field(sa_column=document())
    created_at: datetime = Field(default_factory=now, sa_column=time_column())
    changed_at: datetime = Field(default_factory=now, sa_column=time_column())
    actor: str = ""
    reason: str = ""


class JobInput(SQLModel, table=True):
    """A file that a job reads."""

    __tablename__ = "job_input"
    __table_args__ = (Index("job_input_file", "file_id"),)

    job_id: int = Field(sa_column=big_ref("job.id", primary=True))
    file_id: int = Field(sa_column=big_ref("file.id", primary=True))


class Unplaced(SQLModel, table=True):
    """A defined job: waits for brokerage."""

    __table_args__ = (Index("unplaced_task", "task_id", "job_id"),)

    job_id: int = Field(sa_column=big_ref("job.id", primary=True))
    task_id: int = Field(sa_column=Column(BigInteger, nullable=False))


class Ready(SQLModel, table=True):
    """An activated job: a pilot's request deletes the row and gets the job."""

    __table_args__ = (Index("ready_order", "queue_id", text("priority DESC"), "job_id"),)

    job_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    queue_id: int = Field(sa_column=Column(SmallInteger, nullable=False))
    priority: int


class Lease(SQLModel, table=True):
    """A pilot's hold on a job; ``request`` finds the job again for a pilot that lost the answer."""

    __table_args__ = (
        Index("lease_pilot", "pilot", "request", unique=True),
        {"postgresql_with": {"fillfactor": "50"}},
    )

    job_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    pilot: str
    request: str
    until: datetime = Field(sa_column=time_column())


class JobCount(SQLModel, table=True):
    """Changes of the number of jobs by task, queue and state; the number is the sum (an agent folds the rows)."""

    __tablename__ = "job_count"
    __table_args__ = (
        Index("job_count_task", "task_id", "state"),
        Index("job_count_new", "task_id", postgresql_where=text("NOT folded")),
        Index("job_count_queue", "queue_id", "state", postgresql_where=text(f"state IN {COUNTED_BY_QUEUE}")),
    )

    id: int | None = Field(default=None, sa_column=big_key())
    task_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    queue_id: int | None = Field(default=None, sa_column=Column(SmallInteger))
    state: str
    jobs: int
    events: int = Field(default=0, sa_type=BigInteger)
    folded: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})


class Event(SQLModel, table=True):
    """One change of state of a task (``job_id`` empty) or job: who, when and why."""

    __table_args__ = (Index("event_job", "job_id", "id"), Index("event_task", "task_id", "id"))

    id: int | None = Field(default=None, sa_column=big_key())
    at: datetime = Field(
        default_factory=now,
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    )
    task_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    job_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    before: str | None = None
    state: str
    actor: str
    reason: str


class Assignment(SQLModel, table=True):
    """One brokerage decision for a bunch of like jobs: the queue, or none, with the verdict on each queue.

    A task has one refusal, kept up to date: what is refused is asked again every second.
    """

    __table_args__ = (
        Index("assignment_task", "task_id", "id"),
        Index("assignment_refusal", "task_id", unique=True, postgresql_where=text("queue_id IS NULL")),
    )

    id: int | None = Field(default=None, sa_column=big_key())
    at: datetime = Field(default_factory=now, sa_column=time_column())
    task_id: int = Field(sa_column=big_ref("task.id"))
    queue_id: int | None = Field(default=None, sa_column=small_ref("queue.id", nullable=True))
    jobs: int
    reason: str


class Verdict(SQLModel, table=True):
    """What the brokerage said of one queue: passed with a weight, or the criterion it fails and the remedy."""

    assignment_id: int = Field(sa_column=big_ref("assignment.id", primary=True))
    queue_id: int = Field(sa_column=small_ref("queue.id", primary=True))
    passed: bool
    criterion: str
    reason: str
    remedy: str = ""
    weight: float = 0.0
    missing_bytes: int = Field(default=0, sa_type=BigInteger)


class Pilot(SQLModel, table=True):
    """A pilot as the broker knows it from its calls."""

    __table_args__ = (Index("pilot_seen", "queue_id", "last_seen"),)

    name: str = Field(primary_key=True)
    queue_id: int = Field(sa_column=small_ref("queue.id"))
    host: str
    first_seen: datetime = Field(default_factory=now, sa_column=time_column())
    last_seen: datetime = Field(default_factory=now, sa_column=time_column())
    job_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    jobs: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    empty_polls: int = Field(default=0, sa_column_kwargs={"server_default": "0"})


class Agent(SQLModel, table=True):
    """A background agent's sign of life."""

    name: str = Field(primary_key=True)
    seen_at: datetime = Field(default_factory=now, sa_column=time_column())


class JobLog(SQLModel, table=True):
    """A piece of a job's log, keyed by where it starts (characters), so that a repeated report changes nothing."""

    __tablename__ = "job_log"

    job_id: int = Field(sa_column=Column(BigInteger, ForeignKey("job.id", ondelete="CASCADE"), primary_key=True))
    start: int = Field(sa_column=Column(Integer, primary_key=True))
    text: str


class Token(SQLModel, table=True):
    """A bearer token, kept as its SHA-256 only."""

    hash: str = Field(primary_key=True)
    kind: TokenKind = Field(sa_type=Text)
    subject: str
    queue_id: int | None = Field(default=None, sa_column=small_ref("queue.id", nullable=True))
    created_at: datetime = Field(default_factory=now, sa_column=time_column())
    expires_at: datetime = Field(sa_column=time_column())


class JobWay(SQLModel, table=True):
    """A change of state that a job may make (states.JOB_WAYS, for the triggers)."""

    __tablename__ = "job_way"

    before: str = Field(primary_key=True)
    state: str = Field(primary_key=True)


class TaskWay(SQLModel, table=True):
    """A change of state that a task may make (states.TASK_WAYS, for the triggers)."""

    __tablename__ = "task_way"

    before: str = Field(primary_key=True)
    state: str = Field(primary_key=True)


give_database_defaults()
