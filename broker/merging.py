"""Merging: a task of its own makes larger files of the small outputs of its parent, as enough of them wait."""

from prodchain.catalog import datasets, quotas
from prodchain.catalog.models import Dataset, DatasetKind
from prodchain.catalog.names import Did

from .database import Connection
from .models import Task
from .requests import UNMERGED, TaskRequest
from .states import TASK_FINAL, TaskState
from .tasks import move

ACTOR = "merging"
STEP = "merge"
SAME = (
    "destination", "cores", "memory_mb", "walltime_s", "scratch_mb", "architecture", "software", "sites", "group",
    "activity", "priority", "max_attempts", "run",
)  # fmt: skip
"""What merge jobs have as their parent's."""


def key_of(parent: Task) -> str:
    return f"{STEP}:{parent.key}"


def request_of(parent: TaskRequest, small: Dataset) -> TaskRequest:
    """What the merging task is asked for."""
    assert parent.merge is not None
    same = {name: value for name, value in parent.model_dump().items() if name in SAME}
    own = {"step": STEP, "input": f"{small.scope}:{small.name}", "output": parent.output}
    return TaskRequest.model_validate(own | parent.merge.model_dump() | same)


async def unmerged(conn: Connection, target: Dataset) -> Dataset:
    """The dataset of the small outputs, which the system removes when they are merged; one for each version."""
    later = f"{target.version}" if target.version > 1 else ""
    did = Did(target.scope, f"{target.name}{UNMERGED}{later}")
    small = await datasets.create(conn, did, DatasetKind.SUB, "prodchain")
    return await datasets.charge(conn, small, quotas.account(target))


async def child_of(conn: Connection, parent: Task) -> Task | None:
    """The task that merges for it, if one does."""
    row = await conn.fetchrow("SELECT * FROM task WHERE key = $1 AND parent_id = $2", key_of(parent), parent.id)
    return None if row is None else Task.model_validate(dict(row))


def ending(own: TaskState, child: Task) -> tuple[TaskState, str] | None:
    """How the parent ends, of the state that its own jobs would give it; none while its child goes on."""
    state = TaskState(child.state)
    if state not in TASK_FINAL:
        return None
    words = f"merged by task {child.id}: {child.reason}"
    if state == TaskState.DONE:
        return own, words
    if state in (TaskState.FAILED, TaskState.ABORTED):
        return state, words
    return TaskState.FINISHED, words


async def go_on(conn: Connection, child: Task, reason: str) -> None:
    """More small outputs will come: a merging task that is over merges these too. The caller holds its parent."""
    assert child.id is not None
    await conn.execute("UPDATE task SET generated = false, ending = false WHERE id = $1", child.id)
    if child.state in TASK_FINAL:
        await move(conn, child.id, TaskState.RUNNING, ACTOR, reason)
