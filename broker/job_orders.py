"""What people order of single jobs: killed, sent elsewhere, moved up or down."""

from . import jobs, journal, tasks
from .asks import ask_of
from .database import Connection
from .errors import WrongState
from .journal import Outcome
from .models import Job
from .orders import words
from .states import JOB_FINAL, MADE, WAITING, JobState
from .submission import known_places


async def kill(conn: Connection, job_id: int, actor: str, reason: str = "") -> Outcome:
    """Cancel one job; WrongState if it has ended otherwise or its outputs are registered."""
    job = await _locked(conn, job_id)
    if job.state == JobState.CANCELLED:
        return so_already("kill", job)
    if job.state in (*JOB_FINAL, *MADE):
        raise WrongState(
            f"job {job_id} is {job.state} already",
            object=f"job {job_id}",
            hint="only jobs that wait or run can be killed",
        )
    await jobs.cancel(conn, [job_id], actor, words("killed", actor, reason))
    changes = {"state": [job.state, JobState.CANCELLED]}
    return await journal.enter(conn, Outcome("kill", f"job {job_id}", changes, {job.state.value: 1}), actor, reason)


async def reassign(conn: Connection, job_id: int, to: str | None, actor: str, reason: str = "") -> Outcome:
    """Let the brokerage decide anew on a job without a pilot: ``to`` a queue or site, else for another queue."""
    job = await _waiting(conn, job_id, "reassigned")
    if to is not None:
        await known_places(conn, [to])
        await _allowed(conn, job, to)
        rows = await conn.fetch("SELECT id FROM queue WHERE $1 NOT IN (name, site) ORDER BY id", to)
        avoid = [row["id"] for row in rows]
    else:
        avoid = sorted({*job.avoid, *([job.queue_id] if job.queue_id else [])})
    if avoid == sorted(job.avoid) and (job.state == JobState.DEFINED or job.queue_id not in avoid):
        note = f"job {job_id} waits for brokerage" if job.state == JobState.DEFINED else f"job {job_id} is there"
        return Outcome("reassign", f"job {job_id}", note=f"{note} already: nothing changes")
    before = await _names(conn, job.avoid)
    await conn.execute("UPDATE job SET avoid = $2 WHERE id = $1", job_id, avoid)
    if job.queue_id in avoid:
        await jobs.send_back(conn, [job_id], actor, words("reassigned", actor, reason))
    changes = {"avoid": [before, await _names(conn, avoid)]}
    moved = {job.state.value: 1} if job.queue_id in avoid else {}
    return await journal.enter(conn, Outcome("reassign", f"job {job_id}", changes, moved), actor, reason)


async def prioritise(conn: Connection, job_id: int, priority: int, actor: str, reason: str = "") -> Outcome:
    """Give a job without a pilot another place in the order of its queue."""
    job = await _waiting(conn, job_id, "moved up or down")
    if job.priority == priority:
        return Outcome("priority", f"job {job_id}", note=f"job {job_id} has priority {priority} already")
    await jobs.reprioritise(conn, [job_id], priority)
    changes = {"priority": [job.priority, priority]}
    return await journal.enter(
        conn, Outcome("priority", f"job {job_id}", changes, {job.state.value: 1}), actor, reason
    )


def so_already(verb: str, job: Job) -> Outcome:
    return Outcome(verb, f"job {job.id}", note=f"job {job.id} is {job.state} already: nothing changes")


async def _locked(conn: Connection, job_id: int) -> Job:
    await jobs.lock_waiting(conn, [job_id])
    return await jobs.get(conn, job_id)


async def _waiting(conn: Connection, job_id: int, done: str) -> Job:
    job = await _locked(conn, job_id)
    if job.state not in WAITING:
        raise WrongState(
            f"job {job_id} is {job.state}: only jobs that no pilot has can be {done}",
            object=f"job {job_id}",
            hint=f"kill it and retry its task: `prodchain job kill {job_id}`, `prodchain task retry {job.task_id}`",
        )
    return job


async def _allowed(conn: Connection, job: Job, to: str) -> None:
    """WrongState if its task keeps it from all queues there: the job would go back to where it came from."""
    sites = ask_of(await tasks.get(conn, job.task_id)).sites
    if sites and not await conn.fetchval(
        "SELECT true FROM queue WHERE $1 IN (name, site) AND (name = ANY($2) OR site = ANY($2)) LIMIT 1", to, sites
    ):
        raise WrongState(
            f"task {job.task_id} allows {', '.join(sites)} only",
            object=f"job {job.id}",
            hint=f"allow it first: `prodchain task set {job.task_id} sites={','.join([*sites, to])}`",
        )


async def _names(conn: Connection, queues: list[int]) -> list[str]:
    rows = await conn.fetch("SELECT name FROM queue WHERE id = ANY($1) ORDER BY name", queues)
    return [row["name"] for row in rows]
