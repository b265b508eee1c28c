"""The shapes of answers, for /openapi.json; tests hold the views against them.

They cost nothing when a request is served: views are dicts already.
"""

from datetime import datetime
from typing import Any, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict

Item = TypeVar("Item")


class Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Page(Shape, Generic[Item]):
    items: list[Item]
    next: int | str | None


class Problem(Shape):
    """RFC 9457, with our code, the object and what to do."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    object: str
    hint: str
    instance: str


class TaskView(Shape):
    id: int
    step: str
    state: str
    owner: str
    run: str | None
    priority: int
    input: str | None
    output: str
    destination: str
    numbers: int
    generated: bool
    jobs: dict[str, int]
    events_done: int
    events_total: int
    created_at: datetime
    changed_at: datetime
    actor: str
    reason: str
    request: dict[str, Any]


class SubmittedView(TaskView):
    """``notice``: why it will wait, as a sentence (a quota); empty: it will not."""

    notice: str


class JournalView(Shape):
    id: int
    at: datetime
    actor: str
    verb: str
    object: str
    reason: str
    detail: dict[str, Any]


class WorkQuotaView(Shape):
    """Limits (null: none) of user:NAME, group:NAME or user:* (each user), and what is used of them."""

    subject: str
    running: int | None
    queued: int | None
    core_hours: float | None
    days: int
    cores_used: int | None
    queued_used: int | None
    core_hours_used: float | None
    stopped: str


class GroupView(Shape):
    name: str
    leaders: list[str]
    members: list[str]


class VerdictView(Shape):
    queue: str
    passed: bool
    criterion: str
    reason: str
    remedy: str
    weight: float
    missing_bytes: int


class BrokerageRemedyView(Shape):
    """``who`` can do it: nobody (it passes by itself), user or operator; ``change``: what has to be otherwise."""

    who: str
    text: str
    change: dict[str, Any]


class FailureView(Shape):
    """A criterion that a queue fails; ``remedies`` are alternatives, the cheapest first."""

    criterion: str
    reason: str
    remedies: list[BrokerageRemedyView]


class WholeVerdictView(VerdictView):
    """``seconds``: until the inputs of one job have come."""

    seconds: float
    failures: list[FailureView]


class DecisionView(Shape):
    """Jobs that went to a queue, or to none."""

    queue: str | None
    jobs: int
    reason: str
    verdicts: list[WholeVerdictView]


class TriedDecisionView(DecisionView):
    """With what would be copied for it."""

    files: int
    bytes: int
    seconds: float


class TrialView(Shape):
    """What would become of a submission: ``jobs`` are made at once (``all_jobs``: there would be no more).

    ``waits``: why no more are made yet; ``notice``: why it would wait (a quota). The decisions are about its first
    thousand jobs.
    """

    dry_run: bool
    new: bool
    output: str
    state: str
    jobs: int
    all_jobs: bool
    waits: str
    notice: str
    decisions: list[TriedDecisionView]


class StoredDecisionView(Shape):
    queue: str | None
    jobs: int
    reason: str


class ReplayView(Shape):
    """``same``: the recorded facts give what was stored; ``notes``: what is not as it was then (plugins, rules)."""

    task: int
    at: datetime
    round: int
    decided_at: datetime
    same: bool
    notes: list[str]
    decisions: list[DecisionView]
    stored: list[StoredDecisionView]


class AssignmentView(Shape):
    at: datetime
    queue: str | None
    reason: str
    verdicts: list[VerdictView]


class WhyRemedyView(Shape):
    """``who``: nobody (it passes by itself), user or operator."""

    who: str
    text: str
    change: dict[str, Any]


class WhyFailureView(Shape):
    criterion: str
    reason: str
    remedies: list[WhyRemedyView]


class WhyVerdictView(VerdictView):
    failures: list[WhyFailureView]


class ReasonView(Shape):
    """``remedy`` in words, by ``who``; ``change`` is the same as data; ``jobs``: how many it is said of."""

    what: str
    remedy: str
    who: str
    change: dict[str, Any]
    jobs: int


class RankView(Shape):
    """Among the jobs that a like pilot would take; what is named in ``more_than`` is more than that."""

    place: int
    of: int
    ahead_in_share: int
    more_than: list[str]


class MissingView(Shape):
    """A file that is waited for at ``storage``; ``words`` says in a sentence how far it is."""

    file: str
    storage: str
    bytes: int
    source: str | None
    state: str
    words: str
    error: str | None
    next_try: datetime | None


class CureView(WhyRemedyView):
    """What would make it run with the least change, ``queue``: where; ``command``: how, empty if nothing need be."""

    queue: str | None
    command: str


class WhyView(Shape):
    object: str
    state: str
    at: datetime
    reasons: list[ReasonView]
    rank: RankView | None
    missing: list[MissingView]
    cheapest: CureView | None
    verdicts: list[WhyVerdictView]


class JobView(Shape):
    id: int
    task: int
    step: str
    number: int
    attempt: int
    state: str
    queue: str | None
    site: str | None
    pilot: str | None
    priority: int
    events: int
    exit_code: int | None
    error: str | None
    command: list[str]
    inputs: list[str]
    outputs: list[str]
    metrics: dict[str, Any]
    assignment: AssignmentView | None
    created_at: datetime
    changed_at: datetime
    actor: str
    reason: str


class EventView(Shape):
    at: datetime
    task: int
    job: int | None
    before: str | None
    state: str
    actor: str
    reason: str


class DatasetView(Shape):
    did: str
    scope: str
    name: str
    kind: str
    state: str
    owner: str
    files: int
    bytes: int
    events: int
    created_at: datetime
    closed_at: datetime | None
    project: str | None
    number: str | None
    physics: str | None
    step: str | None
    format: str | None
    tags: str | None
    version: int
    latest: bool
    expires_at: datetime | None
    deleted_at: datetime | None
    purge_at: datetime | None
    meta: dict[str, Any] | None
    sites: list[str]


class FacetsView(Shape):
    fields: dict[str, dict[str, int]]
    kinds: dict[str, int]
    datasets: int
    exact: bool


class CatalogEventView(Shape):
    at: datetime
    kind: str
    object: str
    actor: str
    text: str


class AccessView(Shape):
    """A line to copy into a shell or a program."""

    by: str
    line: str


class AmountView(Shape):
    files: int
    bytes: int


class ChangedFileView(Shape):
    """``change`` is added or removed."""

    change: str
    file: str
    bytes: int


class DiffView(Shape):
    added: AmountView
    removed: AmountView
    items: list[ChangedFileView]
    next: int | None


class RemedyView(Shape):
    what: str
    remedy: str


class FileWaitView(Shape):
    """What a file waits for at a storage; ``words`` says it in a sentence."""

    file: str
    state: str
    attempts: int
    source: str | None
    error: str | None
    next_try: datetime | None
    method: str | None
    words: str


class CopyWhyView(Shape):
    object: str
    reasons: list[RemedyView]
    files: list[FileWaitView]
    next: int | None


class SubscriptionView(Shape):
    """A wish for a complete copy, and how far it is; ``direct`` false: a part of one for a container."""

    id: int
    dataset: str
    kind: str
    storage: str
    state: str
    owner: str
    standing: bool
    sources: str | None
    priority: int
    direct: bool
    created_at: datetime
    expires_at: datetime | None
    done_at: datetime | None
    files: int
    bytes: int
    files_there: int
    bytes_there: int
    files_missing: int
    bytes_missing: int
    failing: int
    error: str | None


class KindSummaryView(Shape):
    active: int
    files_missing: int
    bytes_missing: int
    failing: int
    oldest: datetime | None


class SubscriptionSummaryView(Shape):
    """By what wishes are for: what jobs need, results on their way home, and the others."""

    dispatch: KindSummaryView
    destination: KindSummaryView
    other: KindSummaryView


class PlanView(Shape):
    """What a wish would do: ``files`` lack at the storage; ``refusal`` is empty if it would be taken."""

    storage: str
    files: int
    bytes: int
    files_there: int
    bytes_there: int
    seconds: float | None
    time: str
    quota: str
    refusal: str


class PlansView(Shape):
    plans: list[PlanView]


class QuotaView(Shape):
    """In bytes; ``limit_bytes`` null: no limit, then the sums are zero. ``stopped``: why tasks wait, if they do."""

    owner: str
    storage: str
    limit_bytes: int | None
    used_bytes: int
    moving_bytes: int
    left_bytes: int | None
    stopped: str


class BadCopyView(Shape):
    file: str
    storage: str
    state: str


class BadCopiesView(Shape):
    items: list[BadCopyView]


class WrongCopyView(Shape):
    file: str
    storage: str
    reason: str


class VerifiedView(Shape):
    """Copies that were read; ``next`` goes on behind the last file."""

    checked: int
    bytes: int
    bad: list[WrongCopyView]
    next: int | None


class DatasetReplicaView(Shape):
    storage: str
    site: str
    files: int
    bytes: int
    complete: bool


class OneDatasetView(DatasetView):
    replicas: list[DatasetReplicaView]
    made_by: list[int]
    used_by: list[int]
    versions: list[int]
    parents: list[str]
    access: list[AccessView]


class FileReplicaView(Shape):
    storage: str
    site: str
    url: str


class FileView(Shape):
    did: str
    name: str
    guid: UUID
    bytes: int
    adler32: str
    md5: str | None
    events: int
    meta: dict[str, Any] | None
    replicas: list[FileReplicaView]


class SiteView(Shape):
    name: str
    description: str
    storages: list[str]
    queues: list[str]
    jobs: dict[str, int]


class QueueView(Shape):
    """``status`` is the sites file's, over which an operator's (``ordered``) wins; ``allow`` empty: everybody."""

    name: str
    site: str
    storage: str
    status: str
    ordered: str | None
    health: str
    health_reason: str
    health_since: datetime | None
    canary: int | None
    canary_at: datetime | None
    slots: int
    cores: int
    memory_mb: int
    walltime_s: int
    scratch_mb: int
    gpus: int
    architecture: str
    software: list[str]
    allow: list[str]
    max_jobs: int | None
    analysis_percent: int | None
    jobs: dict[str, int]
    pilots: int


class CanaryView(Shape):
    """The task that tries the queue out: it is done where the queue works."""

    queue: str
    task: int


class StorageView(Shape):
    name: str
    site: str
    url: str
    kind: str
    home: bool
    readable: bool
    writable: bool
    deletable: bool
    files: int
    bytes: int
    capacity_bytes: int | None
    free_bytes: int | None
    min_free_bytes: int
    moving_files: int
    moving_bytes: int
    failing: int
    max_transfers: int
    attributes: dict[str, str]
    as_of: datetime


class LinkView(Shape):
    """A day's copies between two storages; ``rate`` in bytes a second of one copy."""

    source: str
    destination: str
    files: int
    bytes: int
    rate: float | None
    failures: int
    max_transfers: int | None


class PilotView(Shape):
    name: str
    queue: str
    site: str
    host: str
    first_seen: datetime
    last_seen: datetime
    job: int | None
    jobs: int
    empty_polls: int
    alive: bool


class TransferView(Shape):
    file: str
    source: str | None
    destination: str
    state: str
    bytes: int
    attempts: int
    error: str | None
    method: str | None
    owner: str
    priority: int
    queued_at: datetime
    started_at: datetime | None
    done_at: datetime | None
    next_try: datetime | None


class TransferSummary(Shape):
    queued: int
    active: int
    done: int
    failing: int
    bytes_done: int
    recent: list[TransferView]


class ErrorView(Shape):
    """Like errors of jobs; ``rule`` decides on them, ``then`` says what it does, ``remedy`` what people can do."""

    message: str
    jobs: int
    task: int
    tasks: list[int]
    more_tasks: int
    sites: dict[str, int]
    queues: dict[str, int]
    example_job: int
    example: str
    exit_code: int | None
    first_seen: datetime
    last_seen: datetime
    rule: str
    then: str
    passive: list[str]
    remedy: str


class QueueHealthView(Shape):
    """``status``: what holds; ``runs``: the latest ones, of which so many ``failed``."""

    queue: str
    site: str
    status: str
    ordered: str | None
    health: str
    reason: str
    strikes: int
    since: datetime | None
    next_at: datetime | None
    canary: int | None
    canary_state: str | None
    runs: int
    failed: int
    last_end: datetime | None


class OverviewView(Shape):
    tasks: list[TaskView]
    jobs_by_site: dict[str, dict[str, int]]
    pilots: list[PilotView]
    transfers: TransferSummary
    errors: list[ErrorView]
    queues: list[QueueHealthView]
    agents_seen_s: float | None


class Health(Shape):
    status: str
    version: str
    database: str
    agents_seen_s: float | None


class TokenView(Shape):
    id: str
    kind: str
    subject: str
    queue: str | None
    created_at: datetime
    expires_at: datetime


class IssuedToken(Shape):
    token: str
    expires_at: datetime


class RulesView(Shape):
    number: int
    text: str
    rules: list[dict[str, Any]]


class RetryView(Shape):
    rule: str
    again: bool
    reason: str


class ShareView(Shape):
    """``target`` and ``use`` are parts of all cores in use, 0 to 1; ``waiting`` counts jobs at queues."""

    name: str
    parent: str | None
    depth: int
    value: float
    match: dict[str, str]
    retired: bool
    target: float
    use: float
    cores: int
    waiting: int
    core_hours: float


class OutcomeView(Shape):
    """What an order did, or would do: fields [before, after], and the jobs that it acts on by their state."""

    verb: str
    object: str
    dry_run: bool
    changes: dict[str, list[Any]]
    jobs: dict[str, int]
    note: str
