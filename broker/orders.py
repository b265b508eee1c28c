"""What people order of tasks: killed, paused, ended, tried again. Each order is carried out, or changes nothing.

An order is one function that does the work, or its first slice (order_slices), and returns what it did; what changed
something, it enters in the journal. A dry run is the same function in a transaction that is rolled back.
"""

from collections.abc import Sequence
from typing import Any

from prodchain.catalog import datasets

from . import incremental, journal, merging, order_slices
from .asks import ask_of
from .database import Connection, wake
from .errors import WrongState
from .journal import Outcome
from .models import Task
from .order_slices import LOST
from .states import AT_QUEUE, ON_PILOT, TASK_FINAL, WAITING, JobState, TaskState
from .tasks import get, move

PAUSABLE = (TaskState.REGISTERED, TaskState.READY, TaskState.SCOUTING, TaskState.RUNNING, TaskState.MERGING)
RETRIABLE = (TaskState.FAILED, TaskState.FINISHED, TaskState.ABORTED, TaskState.EXHAUSTED)


_USED = """
SELECT input_id AS id FROM task WHERE id = $1 AND input_id IS NOT NULL UNION SELECT output_id FROM task WHERE id = $1
UNION SELECT dataset_id FROM task_input WHERE task_id = $1 UNION SELECT dataset_id FROM task_output WHERE task_id = $1
ORDER BY id
"""


async def kill(conn: Connection, task_id: int, actor: str, reason: str = "") -> Outcome:
    """Abort a task and cancel its jobs; what is made stays made, and a final task stays as it is."""
    task = await get(conn, task_id, lock=True)
    if task.state in TASK_FINAL:
        return so_already("kill", task)
    changes, jobs = {"state": [task.state, TaskState.ABORTED]}, await count(conn, task_id, (*WAITING, *ON_PILOT))
    for part in await family(conn, task):
        if part.state not in TASK_FINAL:
            await move(conn, number(part), TaskState.ABORTED, actor, words("killed", actor, reason))
            told = f"task {task_id} was killed" + (f": {reason}" if reason else "")
            await order_slices.begin(conn, part, "kill", actor, told)
    return await journal.enter(conn, Outcome("kill", f"task {task_id}", changes, jobs), actor, reason)


async def pause(conn: Connection, task_id: int, actor: str, reason: str = "") -> Outcome:
    """Make and place no more jobs; those that wait at queues go back, those with pilots run on."""
    task = await get(conn, task_id, lock=True)
    if task.state == TaskState.PAUSED:
        return so_already("pause", task)
    if task.state not in PAUSABLE:
        raise WrongState(
            f"task {task_id} is {task.state}: there is nothing to pause",
            object=f"task {task_id}",
            hint=f"a task can be paused while it is {', '.join(PAUSABLE)}",
        )
    changes: dict[str, list[Any]] = {}
    jobs = await count(conn, task_id, AT_QUEUE)
    for part in await family(conn, task):
        if part.state in PAUSABLE:
            changes[_field(task, part)] = [part.state, TaskState.PAUSED]
            await move(conn, number(part), TaskState.PAUSED, actor, words("paused", actor, reason))
            await order_slices.begin(conn, part, "pause", actor, "its task was paused")
    return await journal.enter(conn, Outcome("pause", f"task {task_id}", changes, jobs), actor, reason)


async def resume(conn: Connection, task_id: int, actor: str, reason: str = "") -> Outcome:
    """Let a paused task go on as it was, and one that was given up (exhausted) with all that is left of its work."""
    task = await get(conn, task_id, lock=True)
    if task.state not in (TaskState.PAUSED, TaskState.EXHAUSTED):
        if task.state in PAUSABLE:
            return so_already("resume", task)
        raise WrongState(
            f"task {task_id} is {task.state}: there is nothing to resume",
            object=f"task {task_id}",
            hint=f"`prodchain task retry {task_id}` runs again what failed or was killed",
        )
    paused = await _paused(conn, task_id)
    changes: dict[str, list[Any]] = {}
    for part in await family(conn, task):
        if part.state in (TaskState.PAUSED, TaskState.EXHAUSTED):
            field = _field(task, part)
            before = (
                paused.get(field, [TaskState.RUNNING])[0] if part.state == TaskState.PAUSED else TaskState.RUNNING
            )
            changes[field] = [part.state, before]
            await order_slices.end(conn, part, order_slices.OPPOSED["resume"])
            await move(conn, number(part), TaskState(before), actor, words("resumed", actor, reason))
    await wake(conn, "generate", "place", "close")
    return await journal.enter(conn, Outcome("resume", f"task {task_id}", changes), actor, reason)


async def finish(conn: Connection, task_id: int, actor: str, reason: str = "") -> Outcome:
    """End a task with what there is: no more jobs are made, those that wait are cancelled, others run on."""
    task = await get(conn, task_id, lock=True)
    if task.state in TASK_FINAL or task.ending:
        return so_already("finish", task)
    if not task.numbers:
        raise WrongState(
            f"task {task_id} is {task.state} and has made no jobs: there is nothing to finish with",
            object=f"task {task_id}",
            hint=f"`prodchain task kill {task_id}` stops it",
        )
    changes: dict[str, list[Any]] = {"ending": [False, True]}
    if task.state in (TaskState.PAUSED, TaskState.EXHAUSTED, TaskState.READY, TaskState.SCOUTING):
        changes["state"] = [task.state, TaskState.RUNNING]
        for part in await family(conn, task):
            if part.id == task.id or part.state == TaskState.PAUSED:  # what was made is merged
                await order_slices.end(conn, part, order_slices.OPPOSED["resume"])
                await move(conn, number(part), TaskState.RUNNING, actor, words("ordered to finish", actor, reason))
    await conn.execute("UPDATE task SET ending = true WHERE id = $1", task_id)
    jobs = await count(conn, task_id, WAITING)
    await order_slices.begin(conn, task, "finish", actor, f"task {task_id} finishes with what there is")
    await wake(conn, "close")
    return await journal.enter(conn, Outcome("finish", f"task {task_id}", changes, jobs), actor, reason)


async def retry(conn: Connection, task_id: int, actor: str, reason: str = "", *, new_inputs: bool = False) -> Outcome:
    """Give every piece of work that failed for good (or was cancelled) a new attempt; go on where it was ended early.

    What is made stays made, also what still travels: a piece has one attempt in the output dataset at most. With
    ``new_inputs`` also files that joined the input since become jobs.
    """
    task = await get(conn, task_id, lock=True)
    if new_inputs:
        before, task = task, await incremental.extend(conn, task_id, actor)
    elif task.state in RETRIABLE:
        before, task = task, await _again(conn, task, actor, reason)
    else:
        raise WrongState(
            f"task {task_id} is {task.state}: there is nothing to retry",
            object=f"task {task_id}",
            hint="retry works on failed, finished (partly), aborted and exhausted tasks",
        )
    lost = 0
    for part in await family(conn, task):
        lost += await _lost(conn, part)
        if part.state not in TASK_FINAL:
            await order_slices.begin(conn, part, "retry", actor, "task retry")
    await wake(conn, "generate", "place", "close")
    changes: dict[str, list[Any]] = {"state": [before.state, task.state]}
    if before.ending:
        changes["ending"] = [True, False]
    if before.input_id != task.input_id:
        changes["input"] = [await _did(conn, before.input_id), await _did(conn, task.input_id)]
    jobs = {JobState.DEFINED.value: lost} if lost else {}
    return await journal.enter(conn, Outcome("retry", f"task {task_id}", changes, jobs), actor, reason)


async def _again(conn: Connection, task: Task, actor: str, reason: str) -> Task:
    """Bring a task back that is over or was given up, and the one that merges for it."""
    for row in await conn.fetch(_USED, task.id):
        datasets.refuse_deleted(await datasets.by_id(conn, row["id"]))
    lost = await _lost(conn, task)
    await conn.execute("UPDATE task SET ending = false WHERE id = $1", task.id)
    for part in await family(conn, task):
        if part.id != task.id:
            await merging.go_on(conn, part, "its parent is tried again")
    ask = ask_of(task)
    scouting = task.state == TaskState.EXHAUSTED and task.numbers <= ask.scouts and not task.generated
    state = TaskState.SCOUTING if scouting else TaskState.RUNNING
    return await move(
        conn, number(task), state, actor, words(f"retry of {lost} jobs", actor, reason, by="ordered by")
    )


async def _did(conn: Connection, dataset_id: int | None) -> str | None:
    return None if dataset_id is None else datasets.versioned(await datasets.by_id(conn, dataset_id))


async def count(conn: Connection, task_id: int, states: Sequence[JobState]) -> dict[str, int]:
    """The task's jobs in these states, by state."""
    rows = await conn.fetch(
        """
        SELECT state, sum(jobs)::int AS jobs FROM job_count WHERE task_id = $1 AND state = ANY($2)
        GROUP BY state HAVING sum(jobs) > 0 ORDER BY state
        """,
        task_id,
        list(states),
    )
    return {row["state"]: row["jobs"] for row in rows}


async def _lost(conn: Connection, task: Task) -> int:
    """Pieces that no run works on or has made: each piece has one such run at most."""
    kept = await count(conn, number(task), [state for state in JobState if state not in LOST])
    return task.numbers - sum(kept.values())


async def family(conn: Connection, task: Task) -> list[Task]:
    """The task, and the one that merges its outputs, locked too: people steer both by the first."""
    child = await merging.child_of(conn, task)
    return [task] if child is None else [task, await get(conn, number(child), lock=True)]


async def _paused(conn: Connection, task_id: int) -> dict[str, list[str]]:
    """What the last pause changed, by field."""
    changes: dict[str, list[str]] | None = await conn.fetchval(
        "SELECT detail -> 'changes' FROM journal WHERE object = $1 AND verb = 'pause' ORDER BY id DESC LIMIT 1",
        f"task {task_id}",
    )
    return changes or {}


def _field(task: Task, part: Task) -> str:
    return "state" if part.id == task.id else f"state of task {part.id}"


def so_already(verb: str, task: Task) -> Outcome:
    state = "ending" if verb == "finish" and task.state not in TASK_FINAL else task.state
    return Outcome(verb, f"task {task.id}", note=f"task {task.id} is {state} already: nothing changes")


def words(what: str, actor: str, reason: str, *, by: str = "by") -> str:
    """What stands in the object's story: ``killed by ann: no need``."""
    return f"{what} {by} {actor.removeprefix('user:')}" + (f": {reason}" if reason else "")


def number(task: Task) -> int:
    assert task.id is not None
    return task.id
