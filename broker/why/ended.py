"""How a job ended: which rule fired, what came after it, who stopped it."""

from datetime import datetime
from typing import Any

from ..database import Connection
from ..models import Job
from ..recovery import book
from ..recovery.rules import Failure, ruling
from ..states import JobState
from .cures import Cure
from .reasons import Reason

_NEXT = """
SELECT id, state FROM job WHERE task_id = $1 AND number = $2 AND attempt > $3
  AND ($4::timestamptz IS NULL OR created_at <= $4)
ORDER BY attempt LIMIT 1
"""


async def of(conn: Connection, job: Job) -> Reason:
    if job.state == JobState.FAILED:
        return await failed(conn, job)
    if job.state in (JobState.CANCELLED, JobState.CLOSED):
        by = job.actor.removeprefix("user:")
        said = job.reason if by in job.reason else f"{job.reason} ({by})"
        return Reason(f"it is {job.state}: {said}", await _again(conn, job))
    return Reason(f"it is {job.state}: {job.reason}")


async def failed(conn: Connection, job: Job) -> Reason:
    """``reason`` has what the rules said when it failed; the rule's remedy is looked up in those of now."""
    log = f"; `prodchain job log {job.id}`" if job.pilot else ""
    after = await following(conn, job)
    if after is not None:
        what = f"it failed: {job.reason}; its work goes on as job {after['id']}, which is {after['state']}"
        text = await remedy(conn, job)
        return Reason(what, (Cure(text=f"{text or 'nothing to do: its work has another run'}{log}"),))
    text = await remedy(conn, job)
    return Reason(f"it failed: {job.reason}", await _again(conn, job, f"{text}{log}".removeprefix("; ")))


async def _again(conn: Connection, job: Job, first: str = "") -> tuple[Cure, ...]:
    if await following(conn, job) is not None:
        return ()
    command = f"prodchain task retry {job.task_id}"
    text = f"{first}; when mended: `{command}`" if first else "run it again when its task is over"
    return (Cure("user", text, {"task": {"state": "running"}}, command),)


async def following(conn: Connection, job: Job, at: datetime | None = None) -> Any:
    """The run of the same work that came after it, until then."""
    return await conn.fetchrow(_NEXT, job.task_id, job.number, job.attempt, at)


async def remedy(conn: Connection, job: Job) -> str:
    """What people can do about such an error, as the rule that fits says it; empty if none does."""
    task = await conn.fetchrow("SELECT step, owner FROM task WHERE id = $1", job.task_id)
    assert task is not None
    failure = Failure(job.error or job.reason, job.exit_code, task["step"], task["owner"])
    rule, _ = ruling(failure, (await book.current(conn)).rules)
    return rule.remedy.replace("set ID", f"set {job.task_id}") if rule else ""
