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


class VerdictView(Shape):
    queue: str
    passed: bool
    criterion: str
    reason: str
    remedy: str
    weight: float
    missing_bytes: int


class AssignmentView(Shape):
    at: datetime
    queue: str | None
    reason: str
    verdicts: list[VerdictView]


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
    events: int
    replicas: list[FileReplicaView]


class SiteView(Shape):
    name: str
    description: str
    storages: list[str]
    queues: list[str]
    jobs: dict[str, int]


class QueueView(Shape):
    name: str
    site: str
    storage: str
    status: str
    slots: int
    cores: int
    memory_mb: int
    walltime_s: int
    jobs: dict[str, int]
    pilots: int


class StorageView(Shape):
    name: str
    site: str
    url: str
    kind: str
    files: int
    bytes: int


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
    message: str
    jobs: int
    example_job: int
    task: int


class OverviewView(Shape):
    tasks: list[TaskView]
    jobs_by_site: dict[str, dict[str, int]]
    pilots: list[PilotView]
    transfers: TransferSummary
    errors: list[ErrorView]
    agents_seen_s: float | None


class Health(Shape):
    status: str
    version: str
    database: str
    agents_seen_s: float | None


class IssuedToken(Shape):
    token: str
    expires_at: datetime
