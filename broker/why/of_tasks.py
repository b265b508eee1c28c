"""Why a task is not further: what it waits for itself, then its jobs by state, each by an example.

A task may have a hundred thousand jobs: they are counted by counters, and examples are looked for where they are
found soon.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from .. import generation, jobs, merging
from ..access import short
from ..database import Connection
from ..models import Task
from ..states import JOB_FINAL, ON_PILOT, TASK_FINAL, JobState, TaskState
from . import ended, now, record, signs
from .cures import Cure
from .reasons import NOTHING, Answer, Reason

NEWEST = 500
"""Changes of a task that are looked at for examples of its jobs."""
ENDS = 1000
"""Jobs at both ends of a task that are looked at, too."""
INPUTS = 5
FAILED = 1000

_COUNTS = """
SELECT state, sum(jobs)::int AS jobs FROM job_count WHERE task_id = $1 GROUP BY state HAVING sum(jobs) > 0
"""
# The oldest of each state, of those that are looked at; one by one, or the planner might read all jobs.
_EXAMPLES = """
SELECT DISTINCT ON (state) id, state FROM (
    (SELECT id, state FROM job WHERE task_id = $1 ORDER BY number, attempt LIMIT $3)
    UNION ALL (SELECT id, state FROM job WHERE task_id = $1 ORDER BY number DESC, attempt DESC LIMIT $3)
    UNION ALL SELECT j.id, j.state FROM (
        (SELECT job_id FROM unplaced WHERE task_id = $1 ORDER BY job_id LIMIT 1)
        UNION (SELECT job_id FROM newest_events($1, $4))
    ) AS known CROSS JOIN LATERAL (SELECT id, state FROM job WHERE id = known.job_id LIMIT 1) AS j
) AS seen WHERE state = ANY($2) ORDER BY state, id
"""
_INPUTS = """
SELECT i.role, d.scope || ':' || d.name AS did, d.name, d.files, t.id AS task, t.state AS task_state
FROM task_input i JOIN dataset d ON d.id = i.dataset_id
LEFT JOIN LATERAL (SELECT t.id, t.state FROM task_output o JOIN task t ON t.id = o.task_id
                   WHERE o.dataset_id = d.id ORDER BY t.id DESC LIMIT 1) t ON true
WHERE i.task_id = $1 AND d.state = 'open' ORDER BY i.role DESC, d.name LIMIT $2
"""
_FAILURES = """
SELECT error, count(*)::int AS jobs, max(id) AS example FROM (
    SELECT id, error FROM job WHERE task_id = $1 AND state = 'failed' ORDER BY number DESC, attempt DESC LIMIT $2
) AS seen GROUP BY error ORDER BY jobs DESC LIMIT 5
"""


async def explain(conn: Connection, task: Task, at: datetime) -> Answer:
    answer = Answer(f"task {task.id}", task.state, at, of_many=True)
    rows = await conn.fetch(_COUNTS, task.id)
    counts = {JobState(row["state"]): row["jobs"] for row in rows}
    answer.reasons = await _own(conn, task, counts, at)
    await _of_jobs(conn, task, counts, answer)
    if not answer.reasons:
        silence = await signs.silence(conn, "close" if task.generated else "generate")
        answer.reasons = [Reason(f"it is {task.state}: {task.reason}", (silence or now.AT_ONCE,))]
    kept = await record.last(conn, task.id or 0, at, refused=JobState.DEFINED in counts)
    answer.verdicts = record.verdict_views(kept, await record.queue_names(conn))
    return answer


async def _own(conn: Connection, task: Task, counts: Mapping[JobState, int], at: datetime) -> list[Reason]:
    if task.state == TaskState.DONE:
        return [Reason(f"it is {task.state}: {task.reason}")]
    if task.state in TASK_FINAL:
        return await _failures(conn, task) or [_over(task)]
    if (held := await now.held_by_task(conn, task)) is not None:
        return [replace(held, what=held.what.replace("its task is", "it is").replace("its task was", "it was"))]
    if task.state == TaskState.MERGING:
        return await _merging(conn, task, at)
    return await _not_made(conn, task, counts)


def _over(task: Task) -> Reason:
    retry = Cure("user", "run again what is lost", {"task": {"state": "running"}}, f"prodchain task retry {task.id}")
    return Reason(f"it is {task.state}: {task.reason}", (retry,))


async def _failures(conn: Connection, task: Task) -> list[Reason]:
    """By error, of the jobs with the highest numbers: the commonest first."""
    found = []
    for row in await conn.fetch(_FAILURES, task.id, FAILED):
        job = await jobs.get(conn, row["example"])
        what = f"{row['jobs']} failed: {row['error']}"
        cure = (await ended.failed(conn, job)).best
        if cure is not None and cure.who == "nobody":  # this one has another run, which failed in its turn
            cure = Cure("user", cure.text, {"task": {"state": "running"}}, f"prodchain task retry {task.id}")
        found.append(Reason(what, (cure,) if cure else (), row["jobs"]))
    return found


async def _merging(conn: Connection, task: Task, at: datetime) -> list[Reason]:
    child = await merging.child_of(conn, task)
    if child is None:
        return []
    inner = await explain(conn, child, at)
    return [replace(each, what=f"task {child.id} merges what it made: {each.what}") for each in inner.reasons]


async def _not_made(conn: Connection, task: Task, counts: Mapping[JobState, int]) -> list[Reason]:
    """Why there are no more jobs yet."""
    if task.generated:
        return []
    if task.state == TaskState.SCOUTING:
        said = await generation.waits_for(conn, task)
        scouts = ", ".join(f"{number} {state}" for state, number in sorted(counts.items()))
        return [Reason(f"{said or 'its scouts are made'} ({scouts})", (NOTHING,))]
    reasons = []
    for row in await conn.fetch(_INPUTS, task.id, INPUTS):
        reasons.append(_still_open(task, row))
        if row["role"]:
            return reasons
    if not reasons and (said := await generation.waits_for(conn, task)):
        reasons.append(Reason(said, (NOTHING,)))
    return reasons


def _still_open(task: Task, row: Any) -> Reason:
    what = f"its secondary input {row['role']}" if row["role"] else "its input"
    files = f"{row['files']} file{'s' * (row['files'] != 1)}"
    if row["task"] is None and task.parent_id is not None:
        return Reason(f"{what} {row['did']} has {files}: not enough for one more merged file yet", (NOTHING,))
    if row["task"] is None:
        made = (
            "its files are handed out when it is closed" if row["role"] else f"{task.numbers} jobs were made of them"
        )
        close = Cure(
            "user",
            "close it, if no more files will come",
            {"dataset": {"did": row["did"], "state": "closed"}},
            f"prodchain dataset close {short(row['did'])}",
        )
        return Reason(f"{what} {row['did']} is open with {files}; {made}", (close,))
    said = f"{what} {row['did']} is still being made by task {row['task']} ({row['task_state']}): {files} so far"
    state = TaskState(row["task_state"])
    if state in TASK_FINAL or state in (TaskState.PAUSED, TaskState.EXHAUSTED):
        verb = "retry" if state in TASK_FINAL else "resume"
        change = {"task": {"id": row["task"], "state": "running"}}
        go_on = Cure("user", "let that task go on", change, f"prodchain task {verb} {row['task']}")
        return Reason(said, (go_on,))
    follow = Cure(text=f"nothing to do: it is made; `prodchain task why {row['task']}` says how far it is")
    return Reason(said, (follow,))


async def _of_jobs(conn: Connection, task: Task, counts: Mapping[JobState, int], answer: Answer) -> None:
    open_ = [state for state in counts if state not in JOB_FINAL]
    examples = await _examples(conn, task, open_)
    for state in sorted(open_, key=_ORDER.index):
        number = counts[state]
        if state not in examples:
            answer.reasons.append(_unseen(task, state, number))
            continue
        job = await jobs.get(conn, examples[state])
        if job.state != state:  # it went on meanwhile
            answer.reasons.append(_unseen(task, state, number))
            continue
        inner = await now.explain(conn, job, answer.at)
        which = f"{number} {state}, e.g. job {job.id}"
        answer.reasons += [each.of(number, which) for each in inner.reasons]
        answer.rank = answer.rank or inner.rank
        answer.missing += inner.missing


_ORDER = [*(JobState.DEFINED, JobState.ASSIGNED, JobState.ACTIVATED), *ON_PILOT, JobState.TRANSFERRING]


async def _examples(conn: Connection, task: Task, states: Sequence[JobState]) -> dict[str, int]:
    rows = await conn.fetch(_EXAMPLES, task.id, states, ENDS, NEWEST) if states else []
    return {row["state"]: row["id"] for row in rows}


def _unseen(task: Task, state: JobState, number: int) -> Reason:
    """None of them is among the jobs that were looked at."""
    look = Cure(
        text="nothing to do if they go on; see one of them",
        command=f"prodchain job ls --task {task.id} --state {state}",
    )
    return Reason(f"{number} {state}", (look,), number)
