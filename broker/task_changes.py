"""What people change of a task that runs: its ask, for jobs without pilots and for jobs to come."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from . import journal, order_slices
from .asks import ask_of
from .database import Connection, wake
from .errors import BadRequest, WrongState
from .journal import Outcome
from .mistakes import mistakes
from .models import Task
from .orders import count, family, number
from .requests import TaskRequest
from .requirements import NEEDS
from .states import AT_QUEUE, TASK_FINAL, WAITING
from .submission import known_places
from .tasks import get

OF_PIECES = ("files_per_job", "events_per_job", "bytes_per_job", "target_walltime_s")
FIELDS = ("priority", *NEEDS, "sites", "max_attempts", *OF_PIECES)
"""What may be changed; the rest of a request says which work it is."""
OF_JOBS = ("priority", *NEEDS, "sites")
"""What jobs that are made already take over, while no pilot has them."""


async def change(
    conn: Connection, task_id: int, wanted: Mapping[str, Any], actor: str, reason: str = "", *, verb: str = "set"
) -> Outcome:
    """Set fields of the task's ask; BadRequest if it could not have been submitted so."""
    task = await get(conn, task_id, lock=True)
    before = ask_of(task)
    after = _checked(task, wanted)
    changed = {name: getattr(after, name) for name in wanted if getattr(after, name) != getattr(before, name)}
    if not changed:
        return Outcome(verb, f"task {task_id}", note=f"task {task_id} asks for that already: nothing changes")
    await known_places(conn, changed.get("sites", []))
    jobs: dict[str, int] = {}
    for part in await family(conn, task):
        if part.id == task.id or "priority" in changed:
            mine = changed if part.id == task.id else {"priority": changed["priority"]}
            await conn.execute(
                "UPDATE task SET changes = changes || $2, priority = $3 WHERE id = $1",
                part.id,
                mine,
                mine.get("priority", part.priority),
            )
            of_jobs = {name: value for name, value in mine.items() if name in OF_JOBS}
            if of_jobs and part.state not in TASK_FINAL:
                counted = await count(conn, number(part), WAITING)
                jobs = {state: jobs.get(state, 0) + counted.get(state, 0) for state in {**jobs, **counted}}
                now = await get(conn, number(part))
                await order_slices.begin(
                    conn, now, "set", actor, f"its task was changed: {', '.join(of_jobs)}", of_jobs
                )
    await wake(conn, "generate", "place", "close")
    changes = {name: [getattr(before, name), value] for name, value in changed.items()}
    return await journal.enter(conn, Outcome(verb, f"task {task_id}", changes, jobs), actor, reason)


async def reassign(conn: Connection, task_id: int, to: str | None, actor: str, reason: str = "") -> Outcome:
    """Let the brokerage decide anew on the jobs that wait at queues, ``to`` a queue or site only if one is named."""
    task = await get(conn, task_id, lock=True)
    if task.state in TASK_FINAL:
        raise WrongState(
            f"task {task_id} is {task.state}: no job of it waits",
            object=f"task {task_id}",
            hint=f"`prodchain task retry {task_id}` runs again what failed or was killed",
        )
    if to is not None and ask_of(task).sites != [to]:
        return await change(conn, task_id, {"sites": [to]}, actor, reason, verb="reassign")
    jobs = await count(conn, task_id, AT_QUEUE)
    if not jobs or to is not None:
        where = f"is for {to} only already" if to is not None else "has no jobs that wait at queues"
        return Outcome("reassign", f"task {task_id}", note=f"task {task_id} {where}: nothing changes")
    await order_slices.begin(conn, task, "reassign", actor, "reassigned: the brokerage decides anew")
    return await journal.enter(conn, Outcome("reassign", f"task {task_id}", jobs=jobs), actor, reason)


def _checked(task: Task, wanted: Mapping[str, Any]) -> TaskRequest:
    unknown = sorted(set(wanted) - set(FIELDS))
    if unknown:
        raise BadRequest(
            f"{unknown[0]} of a task cannot be changed",
            object=f"task {task.id}",
            hint=f"known are {', '.join(FIELDS)}; for other work submit a task with another output",
        )
    try:
        return TaskRequest.model_validate(task.request | task.sizing | task.changes | dict(wanted))
    except ValidationError as error:
        told = "; ".join(": ".join(filter(None, mistake)) for mistake in mistakes(error.errors()))
        raise BadRequest(
            f"task {task.id} cannot ask for that: {told}",
            object=f"task {task.id}",
            hint=f"`prodchain task show {task.id}` has what it asks for now",
        ) from None
