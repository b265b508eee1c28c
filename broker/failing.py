"""Runs that failed: each ends, the rules are asked, and its work gets another run, all in one transaction."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from . import requirements
from .asks import ask_of
from .database import Connection
from .jobs import Kind, define, end
from .models import Job, Task
from .recovery import book
from .recovery.halves import divisible, halve
from .recovery.rules import Failure, Retry, Run, decide
from .requests import TaskRequest
from .requirements import Requirement
from .splitting import Work
from .states import TASK_OPEN, JobState

MOST_AVOIDED = 5
"""Queues that a piece of work avoids: those where it failed last; more would leave it nowhere to go."""


async def fail(conn: Connection, job: Job, actor: str, error: str, *, exit_code: int | None = None) -> None:
    await fail_all(conn, [job], actor, error, exit_code=exit_code)


async def fail_all(
    conn: Connection, jobs: Sequence[Job], actor: str, error: str, *, exit_code: int | None = None
) -> None:
    """Fail runs for one reason; ``jobs`` as the caller locked them. The work of ended tasks is not tried again."""
    tasks = await _open_tasks(conn, {job.task_id for job in jobs})
    asks = {task_id: ask_of(task) for task_id, task in tasks.items()}
    needs = await requirements.get_many(conn, {job.requirement_id for job in jobs})
    rules = (await book.current(conn)).rules
    retries: dict[int, Retry] = {}
    words: dict[str, list[int]] = defaultdict(list)
    for job in jobs:
        assert job.id is not None
        task = tasks.get(job.task_id)
        if task is None:
            words[error].append(job.id)
            continue
        failure = Failure(error, exit_code, task.step, task.owner)
        retry = decide(failure, _run(job, asks[job.task_id], needs[job.requirement_id]), rules)
        retries[job.id] = retry
        words[f"{error} [{retry.reason}]"].append(job.id)
    for reason, ids in words.items():
        await end(conn, ids, JobState.FAILED, actor, reason, exit_code, error=error)
    await _again(conn, [job for job in jobs if job.id in retries and retries[job.id].again], retries, asks, actor)


def _run(job: Job, ask: TaskRequest, need: Requirement) -> Run:
    work = Work.load(job.work)
    return Run(
        job.attempt,
        job.spared,
        ask.max_attempts,
        # What the task was given since counts for its next runs, too.
        replace(
            need,
            memory_mb=max(need.memory_mb, ask.memory_mb),
            walltime_s=max(need.walltime_s, ask.walltime_s),
        ),
        divisible(work, by_events=ask.events_per_job is not None),
    )


def avoiding(before: Sequence[int], queue_id: int) -> tuple[int, ...]:
    """The queues that work keeps away from if this is one more."""
    return tuple(dict.fromkeys([*before, queue_id]))[-MOST_AVOIDED:]


async def _again(
    conn: Connection,
    jobs: Sequence[Job],
    retries: Mapping[int, Retry],
    asks: Mapping[int, TaskRequest],
    actor: str,
) -> None:
    needs = {retry.requirement for retry in retries.values() if retry.again}
    known = {need: await requirements.find(conn, need) for need in needs}
    kinds: dict[tuple[Kind, str], list[tuple[Work, int]]] = defaultdict(list)
    for job in jobs:
        assert job.id is not None
        retry = retries[job.id]
        away = retry.elsewhere and job.queue_id is not None
        avoid = avoiding(job.avoid, job.queue_id or 0) if away else tuple(job.avoid)
        reason = f"job {job.id} failed: {retry.reason}" if len(jobs) == 1 else f"a run failed: {retry.reason}"
        kind = Kind(job.task_id, known[retry.requirement], job.priority, job.scout, avoid, retry.spared)
        work = Work.load(job.work)
        whole, *other = await _cut(conn, job.task_id, work, asks[job.task_id]) if retry.smaller else [work]
        kinds[kind, reason].append((whole, job.attempt + 1))
        # The other half begins to count anew, but has no more attempts left than the first: what always fails would
        # be cut without end.
        if other:
            halves = kind._replace(spared=retry.spared - job.attempt)
            kinds[halves, reason] += [(half, 1) for half in other]
    for (kind, reason), works in kinds.items():
        await define(conn, kind, works, actor, reason)


async def _cut(conn: Connection, task_id: int, work: Work, ask: TaskRequest) -> list[Work]:
    """Both halves; the whole where somebody works on the task just now (to wait for them could be a deadlock)."""
    number: int | None = await conn.fetchval(
        """
        UPDATE task SET numbers = numbers + 1
        WHERE id = (SELECT id FROM task WHERE id = $1 FOR NO KEY UPDATE SKIP LOCKED) RETURNING numbers
        """,
        task_id,
    )
    if number is None:
        return [work]
    rows = await conn.fetch("SELECT id, events FROM file WHERE id = ANY($1)", list(work.files))
    by_events = ask.events_per_job is not None
    return list(halve(work, number, {row["id"]: row["events"] for row in rows}, by_events=by_events))


async def _open_tasks(conn: Connection, ids: set[int]) -> dict[int, Task]:
    rows = await conn.fetch("SELECT * FROM task WHERE id = ANY($1) AND state = ANY($2)", list(ids), list(TASK_OPEN))
    return {row["id"]: Task.model_validate(dict(row)) for row in rows}
