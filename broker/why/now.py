"""Why a job waits, or is where it is, now: one function for each state."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeAlias

from prodchain.catalog.quotas import in_words

from .. import bytequotas, jobs, requirements, tasks, throttling
from ..brokerage.facts import Need
from ..database import Connection
from ..models import Job, Task
from ..states import TASK_FINAL, JobState, TaskState
from . import ended, missing, queued, record, signs
from .cures import Cure
from .reasons import NOTHING, Answer, Reason

AT_ONCE = Cure(text="nothing to do: it goes on at once")
_OF: TypeAlias = Callable[[Connection, Job, Answer], Awaitable[None]]


async def explain(conn: Connection, job: Job, at: datetime) -> Answer:
    answer = Answer(f"job {job.id}", job.state, at)
    await OF_STATE[job.state](conn, job, answer)
    if not answer.verdicts and job.assignment_id is not None:
        kept = await record.one(conn, job.assignment_id)
        answer.verdicts = record.verdict_views(kept, await record.queue_names(conn))
    return answer


async def _defined(conn: Connection, job: Job, answer: Answer) -> None:
    task = await tasks.get(conn, job.task_id)
    held = await held_by_task(conn, task)
    names = await record.queue_names(conn)
    kept, need = await record.refusal(conn, job, await _since(conn, job), answer.at)
    answer.verdicts = record.verdict_views(kept, names)
    if held is not None:
        answer.reasons = [held]
    elif kept is None:
        silence = await signs.silence(conn, "place")
        answer.reasons = [Reason("the brokerage has not looked at it yet", (silence or AT_ONCE,))]
    else:
        answer.reasons = [refused(kept, need, names)]


def refused(kept: record.Kept, need: Need | None, names: dict[int, str]) -> Reason:
    """What the brokerage said; what would let one of the queues take it."""
    cures = record.cures(kept, need, names)
    if kept.decision.verdicts and not cures:  # all pass, and still it was not placed: its owner's quota is used up
        cures = [Cure(text="nothing to do: it goes on as its owner's jobs end", change={"facts": {"room": 1}})]
    if not kept.decision.verdicts:
        cures = [Cure("operator", "declare a queue in the sites file", {"queue": {}}, "prodchain site apply FILE")]
    return Reason(kept.reason, tuple(cures))


async def held_by_task(conn: Connection, task: Task) -> Reason | None:
    """Why no job of the task is placed, whatever the queues have."""
    if task.state in (TaskState.PAUSED, TaskState.EXHAUSTED):
        said = task.reason if task.reason.startswith(task.state) else f"{task.state}: {task.reason}"
        go_on = Cure("user", "let the task go on", {"task": {"state": "running"}}, f"prodchain task resume {task.id}")
        return Reason(f"its task is {said}", (go_on,))
    if task.state in TASK_FINAL:
        retry = Cure("user", "run it again", {"task": {"state": "running"}}, f"prodchain task retry {task.id}")
        return Reason(f"its task is {task.state}: it is about to be cancelled", (retry,))
    if task.ending:
        return Reason("its task was ordered to finish with what there is: it is about to be cancelled", (NOTHING,))
    if task.throttled:
        return Reason(task.throttled, await _room(conn, task))
    return None


async def _room(conn: Connection, task: Task) -> tuple[Cure, ...]:
    """What gives a throttled task room; bytes, unlike jobs, do not go by themselves."""
    use = None
    if task.throttled_by == throttling.BYTES:
        use = await bytequotas.at(conn, task.owner, task.group_name, task.destination_id)
    if use is None or not bytequotas.stop(use, stopped=True):
        by_itself = Cure(text="nothing to do: it goes on when there is room", change={"facts": {"quota": "room"}})
        return (by_itself,)
    room = {"facts": {"quota": "room"}}
    more, too_much = bytequotas.enough(use), bytequotas.too_much(use)
    there = f"what {bytequotas.subject(use.owner)} has at {use.storage}"
    less = f"delete {in_words(too_much)} of {there}, or ask for a limit of {in_words(more)}"
    command = f"prodchain ls --owner {use.owner} --at {use.storage}"
    raised = f"prodchain quota set {use.owner} {use.storage} {more}"
    cures = (Cure("user", less, room, command), Cure("operator", f"raise the limit of {there}", room, raised))
    return cures if too_much <= use.used else cures[1:]


async def _since(conn: Connection, job: Job) -> datetime:
    """When it came to wait for the brokerage: what was said before was not said of it, or of where it was then."""
    at: datetime | None = await conn.fetchval(
        "SELECT at FROM events_of($1) WHERE state = 'defined' ORDER BY id DESC LIMIT 1", job.id
    )
    return at or job.created_at


async def _assigned(conn: Connection, job: Job, answer: Answer) -> None:
    answer.reasons, answer.missing = await missing.held(conn, job, jobs.release_holder(job.id or 0), "its input")
    answer.reasons = [await queued.or_elsewhere(conn, job, reason) for reason in answer.reasons]


async def _activated(conn: Connection, job: Job, answer: Answer) -> None:
    needs = await requirements.get(conn, job.requirement_id)
    answer.reasons, answer.rank = await queued.waits(conn, job, needs)


_LEASE = """
SELECT extract(epoch FROM l.until - now())::int AS left_s, extract(epoch FROM now() - p.last_seen)::int AS silent_s,
       extract(epoch FROM now() - j.started_at)::int AS had_s, r.walltime_s
FROM job j JOIN requirement r ON r.id = j.requirement_id
LEFT JOIN lease l ON l.job_id = j.id LEFT JOIN pilot p ON p.name = j.pilot WHERE j.id = $1
"""
_DOING = {
    JobState.SENT: "got it and has not reported yet",
    JobState.STARTING: "fetches its inputs",
    JobState.RUNNING: "runs it",
    JobState.HOLDING: "stores its outputs",
}


async def _on_pilot(conn: Connection, job: Job, answer: Answer) -> None:
    lease = await conn.fetchrow(_LEASE, job.id)
    assert lease is not None
    if lease["left_s"] is not None and lease["left_s"] < 0:
        again = Cure(text="nothing to do: its work gets another run by itself", change={"facts": {"lease": "over"}})
        answer.reasons = [
            Reason(f"pilot {job.pilot} does not call any more: silent for {lease['silent_s']} s", (again,))
        ]
        return
    words = [f"pilot {job.pilot} {_DOING[job.state]}"]
    if lease["had_s"] is not None:
        words.append(f"it has it for {lease['had_s']} s of at most {lease['walltime_s']}")
    if lease["silent_s"] is not None:
        words.append(f"it called {lease['silent_s']} s ago")
    if lease["left_s"] is not None:
        words.append(f"its lease runs {lease['left_s']} s more")
    answer.reasons = [Reason(", ".join(words))]


async def _transferring(conn: Connection, job: Job, answer: Answer) -> None:
    answer.reasons, answer.missing = await missing.held(conn, job, jobs.deliver_holder(job.id or 0), "its output")


async def _ended(conn: Connection, job: Job, answer: Answer) -> None:
    answer.reasons = [await ended.of(conn, job)]


OF_STATE: dict[JobState, _OF] = {
    JobState.DEFINED: _defined,
    JobState.ASSIGNED: _assigned,
    JobState.ACTIVATED: _activated,
    JobState.SENT: _on_pilot,
    JobState.STARTING: _on_pilot,
    JobState.RUNNING: _on_pilot,
    JobState.HOLDING: _on_pilot,
    JobState.TRANSFERRING: _transferring,
    JobState.FINISHED: _ended,
    JobState.FAILED: _ended,
    JobState.CANCELLED: _ended,
    JobState.CLOSED: _ended,
}
