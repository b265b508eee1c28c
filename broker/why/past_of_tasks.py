"""Why a task was not further at a time in the past, from the changes of its jobs that are on record."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .. import jobs
from ..database import Connection
from ..errors import NotFound
from ..models import Task
from ..states import JOB_FINAL, TASK_FINAL, JobState, TaskState
from . import past, record
from .past import said
from .reasons import Answer, Reason

CHANGES = 20_000
"""Changes of a task that are looked at, the last before that time."""
APART = 1000
"""By how much the numbers of events may differ from the order of their times: writers overtake each other."""

_AROUND = """
(SELECT id, at FROM event WHERE id >= $1 ORDER BY id LIMIT 1)
UNION ALL (SELECT id, at FROM mass_event WHERE id >= $1 ORDER BY id LIMIT 1) ORDER BY id LIMIT 1
"""
_ENDS = """
SELECT coalesce(min(id), 0) AS first, coalesce(max(id), 0) AS last FROM (
    SELECT min(id) AS id FROM event UNION ALL SELECT max(id) FROM event
    UNION ALL SELECT min(id) FROM mass_event UNION ALL SELECT max(id) FROM mass_event) AS ends
"""
_JOBS = """
WITH seen AS MATERIALIZED (SELECT id, job_id, state FROM newest_events($1, $4, $2, $3))
SELECT state, count(*)::int AS jobs, min(job_id) AS example, (SELECT count(*) FROM seen)::int AS changes
FROM (SELECT DISTINCT ON (job_id) job_id, state FROM seen WHERE job_id IS NOT NULL ORDER BY job_id, id DESC) AS last
GROUP BY state
"""
_INPUTS = """
SELECT i.role, d.scope || ':' || d.name AS did, d.closed_at, t.id AS task
FROM task_input i JOIN dataset d ON d.id = i.dataset_id
LEFT JOIN LATERAL (SELECT o.task_id AS id FROM task_output o JOIN task p ON p.id = o.task_id
                   WHERE o.dataset_id = d.id AND p.created_at <= $2 ORDER BY o.task_id DESC LIMIT 1) t ON true
WHERE i.task_id = $1 AND d.created_at <= $2 AND (d.closed_at IS NULL OR d.closed_at > $2)
ORDER BY i.role DESC, d.name LIMIT 5
"""


@dataclass(frozen=True)
class _Jobs:
    """How many jobs were in a state, and one of them."""

    number: int
    example: int


async def explain(conn: Connection, task: Task, at: datetime) -> Answer:
    """Raises NotFound before it was submitted."""
    event = await conn.fetchrow(past.OF_TASK, task.id, at)
    if event is None:
        raise NotFound(
            f"there was no task {task.id} at {said(at)}",
            object=f"task {task.id}",
            hint=f"it was submitted at {said(task.created_at)}",
        )
    answer = Answer(f"task {task.id}", event["state"], at, of_many=True)
    state = TaskState(event["state"])
    found, whole = await _jobs(conn, task, at)
    if state in TASK_FINAL or state in (TaskState.PAUSED, TaskState.EXHAUSTED):
        answer.reasons.append(Reason(f"it was {state} since {said(event['at'])}: {event['reason']}"))
    elif (held := await past.held_by_task(conn, task.id or 0, at)) is not None:
        answer.reasons.append(held)
    elif state in (TaskState.REGISTERED, TaskState.READY, TaskState.RUNNING):
        answer.reasons += [await _open(conn, row, at) for row in await conn.fetch(_INPUTS, task.id, at)]
    else:
        answer.reasons.append(Reason(f"it was {state} since {said(event['at'])}: {event['reason']}"))
    await _of_jobs(conn, found, answer)
    if not whole:
        what = f"only its last {CHANGES} changes until then were looked at: jobs that waited longer are not counted"
        answer.reasons.append(Reason(what))
    if not answer.reasons:
        answer.reasons = [Reason(f"it was {state} since {said(event['at'])}: {event['reason']}")]
    kept = await record.last(conn, task.id or 0, at, refused=JobState.DEFINED in found)
    answer.verdicts = record.verdict_views(kept, await record.queue_names(conn))
    return answer


async def _open(conn: Connection, row: Mapping[str, Any], at: datetime) -> Reason:
    what = f"its secondary input {row['role']}" if row["role"] else "its input"
    closed = f" (it was closed at {said(row['closed_at'])})" if row["closed_at"] else ""
    if row["task"] is None:
        return Reason(f"{what} {row['did']} was open{closed}")
    event = await conn.fetchrow(past.OF_TASK, row["task"], at)
    state = event["state"] if event else "not there"
    return Reason(f"{what} {row['did']} was still being made by task {row['task']} ({state}){closed}")


async def _of_jobs(conn: Connection, found: Mapping[JobState, _Jobs], answer: Answer) -> None:
    for state in (state for state in JobState if state in found and state not in JOB_FINAL):
        job = await jobs.get(conn, found[state].example)
        inner = await past.explain(conn, job, answer.at)
        which = f"{found[state].number} {state}, e.g. job {job.id}"
        answer.reasons += [each.of(found[state].number, which) for each in inner.reasons]
        answer.missing += inner.missing


async def _jobs(conn: Connection, task: Task, at: datetime) -> tuple[dict[JobState, _Jobs], bool]:
    """The task's jobs by their state then, and whether these are all."""
    rows = await conn.fetch(_JOBS, task.id, await _until(conn, at) + APART, at, CHANGES)
    found = {JobState(row["state"]): _Jobs(row["jobs"], row["example"]) for row in rows}
    return found, not rows or rows[0]["changes"] < CHANGES


async def _until(conn: Connection, at: datetime) -> int:
    """About the number of the last event then: halving finds it, however many came after."""
    ends = await conn.fetchrow(_ENDS)
    assert ends is not None
    low, high = ends["first"], ends["last"]
    while high - low > APART:
        middle = (low + high) // 2
        row = await conn.fetchrow(_AROUND, middle)
        if row is None or row["at"] > at:
            high = middle
        else:
            low = row["id"]
    return int(high)
