"""Incremental runs: a task that is over goes on with the files that joined its input since."""

from prodchain.catalog import datasets
from prodchain.catalog.models import Dataset, DatasetState
from prodchain.catalog.names import Did

from . import merging, submission
from .database import Connection, wake
from .errors import WrongState
from .models import Task
from .states import TaskState
from .tasks import get, move

EXTENDABLE = (TaskState.DONE, TaskState.FINISHED)


async def extend(conn: Connection, task_id: int, actor: str) -> Task:
    """Let the task work through the newest version of its input: of files that it knows no jobs are made again.

    Its outputs go on where they are open, and as new versions where they are closed.
    Raises WrongState if it is not over, or if nothing can have joined its input.
    """
    task = await get(conn, task_id, lock=True)
    if task.state not in EXTENDABLE or task.parent_id is not None or task.input_id is None:
        raise _refused(task)
    source, parts = await _newest(conn, task.input_id)
    before = await _read(conn, task)
    new = [part for part in parts if part.id not in before]
    if not new and all(part.state != DatasetState.OPEN for part in parts):
        raise WrongState(
            f"nothing has joined {datasets.versioned(source)} since task {task_id} read it",
            object=datasets.versioned(source),
            hint=f"`prodchain dataset reopen-as-new-version {source.scope}:{source.name}`, add files, repeat this",
        )
    output = await _go_on(conn, task)
    await conn.execute(
        "UPDATE task SET generated = false, ending = false, input_id = $2, output_id = $3 WHERE id = $1",
        task_id,
        source.id,
        output.id,
    )
    await submission.reads(conn, task, parts)
    await wake(conn, "generate")
    words = f"goes on with {datasets.versioned(source)}, into {datasets.versioned(output)}"
    return await move(conn, task_id, TaskState.RUNNING, actor, words)


async def _newest(conn: Connection, input_id: int) -> tuple[Dataset, list[Dataset]]:
    """The latest version of the input, and of each dataset in it if it is a container."""
    source = await _latest(conn, await datasets.by_id(conn, input_id))
    return source, [await _latest(conn, part) for part in await submission.parts_of(conn, source)]


async def _latest(conn: Connection, dataset: Dataset) -> Dataset:
    latest = await datasets.get(conn, Did(dataset.scope, dataset.name))
    datasets.refuse_deleted(latest)
    return latest


async def _read(conn: Connection, task: Task) -> set[int]:
    rows = await conn.fetch("SELECT dataset_id FROM task_input WHERE task_id = $1 AND role = ''", task.id)
    return {row["dataset_id"] for row in rows}


async def _go_on(conn: Connection, task: Task) -> Dataset:
    """Open every output of the task that is closed, as its next version; the one that people name is returned."""
    target = await _opened(conn, task.output_id, task.owner)
    child = await merging.child_of(conn, task)
    filled = {}
    for row in await conn.fetch("SELECT role, dataset_id FROM task_output WHERE task_id = $1", task.id):
        if child is None or row["role"]:
            filled[row["role"]] = await _opened(conn, row["dataset_id"], task.owner)
    if child is not None:
        filled[""] = small = await merging.unmerged(conn, target)
        await merging.go_on(conn, child, "its parent goes on")
        await conn.execute(
            "UPDATE task SET input_id = $2, output_id = $3 WHERE id = $1", child.id, small.id, target.id
        )
        await submission.fills(conn, child, {"": target})
        await submission.reads(conn, child, [small])
    await submission.fills(conn, task, filled)
    return target


async def _opened(conn: Connection, dataset_id: int, owner: str) -> Dataset:
    dataset = await datasets.by_id(conn, dataset_id)
    datasets.refuse_deleted(dataset)
    if dataset.state == DatasetState.OPEN:
        return dataset
    return await datasets.new_version(conn, Did(dataset.scope, dataset.name), owner)


def _refused(task: Task) -> WrongState:
    if task.input_id is None:
        what, hint = "has no input: nothing can join it", "submit a task for more events, with another output name"
    elif task.parent_id is not None:
        what, hint = (
            f"merges the outputs of task {task.parent_id}",
            f"`prodchain task retry --new-inputs {task.parent_id}`",
        )
    else:
        what = f"is {task.state}: only a task that is done or finished goes on with new inputs"
        hint = "an open input is followed while the task runs; `prodchain task retry` comes first after a failure"
    return WrongState(f"task {task.id} {what}", object=f"task {task.id}", hint=hint)
