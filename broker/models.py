"""What runs where and when, and why: the broker's tables.

``Job`` is wide and has no index on anything that changes, so that its updates stay cheap; what must be found
by state lives in narrow tables beside it: ``Unplaced`` (waits for brokerage), ``Ready`` (waits for a pilot) and
``Lease`` (is with a pilot). Numbers of jobs by state are sums over the view ``job_count``, never ``count(*)``: what
``JobSum`` has, and what moved since by ``JobMove``.
Triggers (migrations) write an event for each change of state, keep Ready and the counters true, and refuse ways that
states.py does not know and any activation of a job whose inputs are not at its storage.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Date,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    SmallInteger,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import INT8MULTIRANGE, JSONB
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


class Health(StrEnum):
    GOOD = "good"
    DRAINED = "drained"
    PROBING = "probing"


class Activity(StrEnum):
    PRODUCTION = "production"
    ANALYSIS = "analysis"


class TokenKind(StrEnum):
    ADMIN = "admin"
    USER = "user"
    PILOT = "pilot"


COUNTED_BY_QUEUE = "('assigned', 'activated', 'sent', 'starting', 'running', 'holding')"
"""States in which jobs load a queue, as SQL."""
USING_SLOTS = "('sent', 'starting', 'running', 'holding')"
"""States in which jobs use slots (states.ON_PILOT), as SQL."""
JOB_FAILED = "state = 'failed' AND job_id IS NOT NULL"
"""Events that tell of failed jobs, as SQL."""


def document() -> Column[Any]:
    return Column(JSONB, nullable=False, server_default=text("'{}'::jsonb"))


def list_column() -> Column[Any]:
    return Column(JSONB, nullable=False, server_default=text("'[]'::jsonb"))


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
    scratch_mb: int = Field(default=20_000, sa_column_kwargs={"server_default": "20000"})
    gpus: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    architecture: str = Field(default="x86_64", sa_column_kwargs={"server_default": "x86_64"})
    software: list[str] = Field(default_factory=list, sa_column=list_column())
    """What is installed, a container runtime too; shell patterns are allowed (``Athena/24.*``)."""
    allow: list[str] = Field(default_factory=list, sa_column=list_column())
    """Who may run here: ``user:NAME``, ``group:NAME``, ``production``, ``analysis``; empty: everybody."""
    max_jobs: int | None = None
    """Jobs that may be with pilots at once; none: as many as ask."""
    analysis_percent: int | None = None
    """Part of the slots that analysis gets while both wait; none: the global shares alone decide."""


class QueueHealth(SQLModel, table=True):
    """How a queue does, as the broker sees it, and what an operator ordered over the sites file."""

    __tablename__ = "queue_health"

    queue_id: int = Field(sa_column=small_ref("queue.id", primary=True))
    ordered: QueueStatus | None = Field(default=None, sa_type=Text)
    """An operator's word, which wins over the sites file's; none: the file's holds."""
    health: Health = Field(default=Health.GOOD, sa_type=Text)
    reason: str = ""
    strikes: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """Drains and failed canaries since it last did well for long: the time to the next canary doubles with each."""
    canary: int | None = Field(default=None, sa_column=Column(BigInteger))
    """The task that tries the queue out."""
    since: datetime = Field(default_factory=now, sa_column=time_column())
    next_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))


class Share(SQLModel, table=True):
    """A node of the tree of global shares: ``value`` counts among its siblings; jobs belong to leaves."""

    id: int | None = Field(default=None, sa_column=Column(SmallInteger, Identity(), primary_key=True))
    name: str = Field(unique=True)
    parent_id: int | None = Field(default=None, sa_column=small_ref("share.id", nullable=True))
    value: float
    match: dict[str, Any] = Field(sa_column=document())
    """Which tasks belong here: fields of the task with shell patterns; the first leaf (by place) that fits."""
    place: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    """Its line in the declaration."""
    retired: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})


class Requirement(SQLModel, table=True):
    """What a job needs of a slot; like jobs share one row, so that a queue's jobs fall into few kinds."""

    __table_args__ = (
        UniqueConstraint(
            "cores",
            "memory_mb",
            "walltime_s",
            "scratch_mb",
            "gpus",
            "architecture",
            "software",
            name="requirement_once",
        ),
    )

    id: int | None = Field(default=None, sa_column=Column(Integer, Identity(), primary_key=True))
    cores: int = 1
    memory_mb: int = 1000
    walltime_s: int = 3600
    scratch_mb: int = 0
    gpus: int = 0
    architecture: str = ""
    """Empty: any."""
    software: list[str] = Field(default_factory=list, sa_column=list_column())


class Task(SQLModel, table=True):
    """A workload from an input dataset (or none) to an output dataset; ``key`` makes submission repeatable.

    ``request`` is the submitted document (requests.TaskRequest); ``sizing`` is what the scouts taught and
    ``changes`` what people set since, both in fields of the request: each wins over what stands before it.
    ``numbers`` counts the pieces of work made so far and ``position`` the events of them (without input; the pieces
    where they have no events);
    ``generated`` says that there will be no more. ``input_id`` and ``output_id`` are the ones that people name:
    the container, and the dataset that has the result in the end; TaskInput and TaskOutput list what its jobs read
    and fill.
    """

    __table_args__ = (
        Index("task_key", "key", unique=True),
        Index("task_of_input", "input_id"),
        Index("task_of_output", "output_id"),
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
    group_name: str = Field(default="", sa_column_kwargs={"server_default": ""})
    activity: Activity = Field(
        default=Activity.PRODUCTION, sa_type=Text, sa_column_kwargs={"server_default": "production"}
    )
    share_id: int = Field(
        default=1, sa_column=Column(SmallInteger, ForeignKey("share.id"), nullable=False, server_default=text("1"))
    )
    parent_id: int | None = Field(default=None, sa_column=big_ref("task.id", nullable=True))
    """The task whose small outputs this one merges."""
    sizing: dict[str, Any] = Field(sa_column=document())
    changes: dict[str, Any] = Field(sa_column=document())
    throttled: str = Field(default="", sa_column_kwargs={"server_default": ""})
    """Why it gets no more jobs for now (a quota), as a sentence; empty: it does."""
    throttled_by: str = Field(default="", sa_column_kwargs={"server_default": ""})
    """Of what the quota is: ``work``, or ``bytes`` at its destination."""
    ending: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    """It was ordered to finish with what there is: no more jobs are made or placed."""
    numbers: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    position: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default=text("0")))
    generated: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    created_at: datetime = Field(default_factory=now, sa_column=time_column())
    changed_at: datetime = Field(default_factory=now, sa_column=time_column())
    actor: str = ""
    reason: str = ""


class TaskInput(SQLModel, table=True):
    """A dataset that a task's jobs read; ``role`` is empty for what is worked through, else a secondary's name."""

    __tablename__ = "task_input"
    __table_args__ = (Index("task_input_dataset", "dataset_id"),)

    task_id: int = Field(sa_column=big_ref("task.id", primary=True))
    dataset_id: int = Field(sa_column=big_ref("dataset.id", primary=True))
    role: str = Field(default="", primary_key=True)


class TaskOutput(SQLModel, table=True):
    """A dataset that a task's jobs fill; ``role`` is empty for the main one, else the output's name."""

    __tablename__ = "task_output"
    __table_args__ = (Index("task_output_dataset", "dataset_id"),)

    task_id: int = Field(sa_column=big_ref("task.id", primary=True))
    role: str = Field(default="", primary_key=True)
    dataset_id: int = Field(sa_column=big_ref("dataset.id"))


class TaskFile(SQLModel, table=True):
    """A file of the task's input; it is new until jobs were made of all its events (``used``).

    ``taken`` counts the first events of it that are in pieces so far, where pieces are ranges of events.
    Rows are only added where the input grows, so that its growth never waits for the task's own work.
    """

    __tablename__ = "task_file"
    __table_args__ = (Index("task_file_new", "task_id", "dataset_id", "file_id", postgresql_where=text("NOT used")),)

    task_id: int = Field(sa_column=big_ref("task.id", primary=True))
    file_id: int = Field(sa_column=big_ref("file.id", primary=True))
    dataset_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    """The input dataset that brought it; the first one where several have it."""
    used: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    taken: int = Field(default=0, sa_column=Column(BigInteger, nullable=False, server_default=text("0")))


class Job(SQLModel, table=True):
    """One run of one piece of work (``number`` of its task) by one pilot; a retry is a new job, one ``attempt`` on.

    ``work`` is what the piece is (splitting.Work: events, seed, inputs); ``spec`` what the pilot gets, with the URLs
    of the chosen site (pilot_agent.messages.JobSpec). Keys to tasks, queues and decisions are checked by the triggers
    on jobs, once for all rows of a statement.
    """

    __table_args__ = (
        Index("job_task", "task_id", "number", "attempt", unique=True),
        Index("job_of_task", "task_id", "id"),
        {"postgresql_with": {"fillfactor": "30"}},
    )

    id: int | None = Field(default=None, sa_column=big_key())
    task_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    number: int
    attempt: int = 1
    state: JobState = Field(default=JobState.DEFINED, sa_type=Text)
    priority: int = 1000
    share_id: int = Field(default=1, sa_column=Column(SmallInteger, nullable=False, server_default=text("1")))
    requirement_id: int = Field(default=1, sa_column=Column(Integer, nullable=False, server_default=text("1")))
    scout: bool = Field(default=False, sa_column_kwargs={"server_default": "false"})
    events: int = Field(default=0, sa_type=BigInteger)
    work: dict[str, Any] = Field(sa_column=document())
    spec: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False, server_default=text("'{}'::json")))
    assignment_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    queue_id: int | None = Field(default=None, sa_column=Column(SmallInteger))
    avoid: list[int] = Field(default_factory=list, sa_column=list_column())
    """Queues where this work failed for a reason of theirs: the brokerage takes others."""
    spared: int = Field(default=0, sa_column=Column(SmallInteger, nullable=False, server_default=text("0")))
    """Runs of this work that do not count as attempts: the system lost them, not the work."""
    pilot: str | None = None
    started_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    """When a pilot took it."""
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

    job_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    task_id: int = Field(sa_column=Column(BigInteger, nullable=False))


class Ready(SQLModel, table=True):
    """An activated job: a pilot's request deletes the row and gets the job.

    A lane is what one queue has of one share and requirement; its head is found by one step down the index.
    """

    __table_args__ = (Index("ready_lane", "queue_id", "share_id", "requirement_id", text("priority DESC"), "job_id"),)

    job_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    queue_id: int = Field(sa_column=Column(SmallInteger, nullable=False))
    share_id: int = Field(sa_column=Column(SmallInteger, nullable=False))
    requirement_id: int = Field(sa_column=Column(Integer, nullable=False))
    priority: int


class Lease(SQLModel, table=True):
    """A pilot's hold on a job; ``request`` finds the job again for a pilot that lost the answer.

    ``seat`` numbers the jobs of one request from 1.
    """

    __table_args__ = (
        Index("lease_pilot", "pilot", "request", "seat", unique=True),
        {"postgresql_with": {"fillfactor": "50"}},
    )

    job_id: int = Field(sa_column=Column(BigInteger, primary_key=True, autoincrement=False))
    pilot: str
    request: str
    seat: int = Field(default=1, sa_column=Column(SmallInteger, nullable=False, server_default=text("1")))
    until: datetime = Field(sa_column=time_column())


class JobSum(SQLModel, table=True):
    """How many jobs there are by task, queue, share and state, but for what moved since an agent looked."""

    __tablename__ = "job_sum"
    __table_args__ = (
        UniqueConstraint(
            "task_id", "state", "queue_id", "share_id", name="job_sum_key", postgresql_nulls_not_distinct=True
        ),
        Index("job_sum_queue", "queue_id", "state", postgresql_where=text(f"state IN {COUNTED_BY_QUEUE}")),
        Index("job_sum_share", "share_id", "queue_id", postgresql_where=text(f"state IN {USING_SLOTS}")),
    )

    id: int | None = Field(default=None, sa_column=big_key())
    task_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    queue_id: int | None = Field(default=None, sa_column=Column(SmallInteger))
    share_id: int | None = Field(default=None, sa_column=Column(SmallInteger))
    state: str
    jobs: int
    cores: int
    events: int = Field(sa_type=BigInteger)


class JobMove(SQLModel, table=True):
    """So many jobs, with their cores and events, went from there to here; an agent adds it to the sums."""

    __tablename__ = "job_move"
    __table_args__ = (Index("job_move_task", "task_id"),)

    id: int | None = Field(default=None, sa_column=big_key())
    task_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    before: str | None = None
    """None: from nowhere."""
    old_queue_id: int | None = Field(default=None, sa_column=Column(SmallInteger))
    old_share_id: int | None = Field(default=None, sa_column=Column(SmallInteger))
    old_cores: int | None = None
    old_events: int | None = Field(default=None, sa_type=BigInteger)
    state: str
    queue_id: int | None = Field(default=None, sa_column=Column(SmallInteger))
    share_id: int | None = Field(default=None, sa_column=Column(SmallInteger))
    cores: int
    events: int = Field(sa_type=BigInteger)
    jobs: int
    day: date | None = None
    core_s: int | None = Field(default=None, sa_type=BigInteger)
    """What they used, if they were with pilots before."""


class Event(SQLModel, table=True):
    """One change of state of a task (``job_id`` empty) or job: who, when and why; of many jobs see MassEvent."""

    __table_args__ = (
        Index("event_job", "job_id", "id"),
        Index("event_task", "task_id", "id"),
        Index("event_own", "task_id", "id", postgresql_where=text("job_id IS NULL")),
        Index("event_failed", "id", postgresql_where=text(JOB_FAILED)),
        Index("event_failed_task", "task_id", "id", postgresql_where=text(JOB_FAILED)),
    )

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


class MassEvent(SQLModel, table=True):
    """The same change of state of many jobs of a task, a row for them all, in the order of ``id`` with Event.

    The function ``events_of`` has the events of a job of both kinds, ``newest_events`` the last ones of a task.
    """

    __tablename__ = "mass_event"
    __table_args__ = (
        Index("mass_event_jobs", "jobs", postgresql_using="gist"),
        Index("mass_event_task", "task_id", "id"),
    )

    id: int | None = Field(
        default=None, sa_column=Column(BigInteger, primary_key=True, server_default=text("nextval('event_id_seq')"))
    )
    at: datetime = Field(
        default_factory=now,
        sa_column=Column(DateTime(timezone=True), nullable=False, server_default=text("clock_timestamp()")),
    )
    task_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    jobs: Any = Field(sa_column=Column(INT8MULTIRANGE, nullable=False))
    before: str | None = None
    state: str
    actor: str
    reason: str


class Round(SQLModel, table=True):
    """What one round of the brokerage knew: all that its decisions rest on, so that they can be repeated.

    ``facts`` is encoded by brokerage.record; old rounds are removed by age.
    """

    id: int | None = Field(default=None, sa_column=big_key())
    at: datetime = Field(default_factory=now, sa_column=time_column())
    task_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    facts: dict[str, Any] = Field(sa_column=document())


class Assignment(SQLModel, table=True):
    """One brokerage decision for a bunch of like jobs: the queue, or none, with the verdict on each queue.

    ``verdicts`` is a list of objects (brokerage.facts.Verdict). What is refused is asked again and again: a refusal
    that says the same as the task's last one only moves ``until``, so that the story has each answer once.
    """

    __table_args__ = (
        Index("assignment_task", "task_id", "id"),
        Index("assignment_refusal", "task_id", "until", postgresql_where=text("queue_id IS NULL")),
        Index("assignment_over", "until", postgresql_where=text("queue_id IS NULL")),
    )

    id: int | None = Field(default=None, sa_column=big_key())
    at: datetime = Field(default_factory=now, sa_column=time_column())
    until: datetime = Field(default_factory=now, sa_column=time_column())
    task_id: int = Field(sa_column=big_ref("task.id"))
    queue_id: int | None = Field(default=None, sa_column=small_ref("queue.id", nullable=True))
    round_id: int | None = Field(default=None, sa_column=Column(BigInteger))
    jobs: int
    reason: str
    verdicts: list[dict[str, Any]] = Field(default_factory=list, sa_column=list_column())


class Pilot(SQLModel, table=True):
    """A pilot as the broker knows it from its calls."""

    __table_args__ = (Index("pilot_seen", "queue_id", "last_seen"),)

    name: str = Field(primary_key=True)
    queue_id: int = Field(sa_column=small_ref("queue.id"))
    host: str
    first_seen: datetime = Field(default_factory=now, sa_column=time_column())
    last_seen: datetime = Field(default_factory=now, sa_column=time_column())
    offer: dict[str, Any] = Field(sa_column=document())
    """What its last request offered (messages.Acquire)."""
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


class WorkSum(SQLModel, table=True):
    """What was used, by day: slots' time of runs that ended, whatever their end; what moved since is in JobMove."""

    __tablename__ = "work_sum"
    __table_args__ = (
        UniqueConstraint(
            *("day", "owner", "group_name", "share_id", "queue_id", "state"),
            name="work_sum_key",
            postgresql_nulls_not_distinct=True,
        ),
        Index("work_sum_owner", "owner", "day"),
        Index("work_sum_group", "group_name", "day"),
    )

    id: int | None = Field(default=None, sa_column=big_key())
    day: date = Field(sa_column=Column(Date, nullable=False))
    owner: str
    group_name: str
    share_id: int | None = Field(default=None, sa_column=Column(SmallInteger))
    queue_id: int | None = Field(default=None, sa_column=Column(SmallInteger))
    state: str
    """How the jobs ended."""
    jobs: int = Field(sa_type=BigInteger)
    core_s: int = Field(sa_type=BigInteger)


class RunEnd(SQLModel, table=True):
    """How a run at a queue ended, once its pilot was through with it: what the queue's health is judged by.

    Read by the newest of a queue; an agent removes what is older than anybody asks for (health.Limits.window).
    """

    __tablename__ = "run_end"
    __table_args__ = (Index("run_end_queue", "queue_id", "id"),)

    id: int | None = Field(default=None, sa_column=big_key())
    at: datetime = Field(default_factory=now, sa_column=time_column())
    queue_id: int = Field(sa_column=Column(SmallInteger, nullable=False))
    task_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    job_id: int = Field(sa_column=Column(BigInteger, nullable=False))
    failed: bool
    exit_code: int | None = None
    error: str = ""


class WorkQuota(SQLModel, table=True):
    """Limits of a user (``user:NAME``) or group (``group:NAME``), or of everybody not named (``user:*``)."""

    __tablename__ = "work_quota"

    subject: str = Field(primary_key=True)
    running: int | None = None
    """Cores that its jobs may use at once."""
    queued: int | None = None
    """Jobs that may wait at queues."""
    core_hours: float | None = None
    days: int = 30
    """The time over which core hours count."""


class Membership(SQLModel, table=True):
    """A user of a working group; ``leads`` may steer the group's tasks and shares."""

    group_name: str = Field(primary_key=True)
    user_name: str = Field(primary_key=True)
    leads: bool = False


class Journal(SQLModel, table=True):
    """What people did: one entry for each order that was carried out, whoever gave it and by whatever way."""

    __table_args__ = (Index("journal_object", "object", "id"),)

    id: int | None = Field(default=None, sa_column=big_key())
    at: datetime = Field(default_factory=now, sa_column=time_column())
    actor: str
    verb: str
    object: str
    """``task 10000001``, ``job 7``, ``queue A``, ``share higgs``, ``rules`` ..."""
    reason: str = ""
    detail: dict[str, Any] = Field(sa_column=document())
    """What it changed, before and after."""


class OpenOrder(SQLModel, table=True):
    """An order for the jobs of a large task, done in slices by an agent: its pieces up to ``after`` are through."""

    __tablename__ = "open_order"

    task_id: int = Field(sa_column=big_ref("task.id", primary=True))
    verb: str = Field(primary_key=True)
    after: int = 0
    actor: str
    reason: str
    detail: dict[str, Any] = Field(sa_column=document())
    """What the verb needs beside the task."""


class RetryRules(SQLModel, table=True):
    """The rules for failed jobs, as TOML; the newest row is in force, none: those that come with the package."""

    __tablename__ = "retry_rules"

    id: int | None = Field(default=None, sa_column=Column(Integer, Identity(), primary_key=True))
    at: datetime = Field(default_factory=now, sa_column=time_column())
    actor: str
    text: str


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
