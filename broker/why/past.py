"""Why a job waited, or was where it was, at a time in the past: from what is on record, and what was known then.

Changes of state, decisions with what they rested on, copies and their times are kept; the order of a queue, pilots'
calls and the tries of a copy are not, and it is said where an answer would want them.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from ..database import Connection
from ..errors import NotFound
from ..models import Job
from ..states import ON_PILOT, TASK_FINAL, JobState, TaskState
from . import ended, missing, record
from .now import refused
from .reasons import NOTHING, Answer, Reason

FRESH = timedelta(seconds=60)
"""The brokerage asks again about what it refused after half of that, if nothing changes."""
NOT_KEPT = "its place in the queue then is not on record, nor which pilots called"

_STATE = """
SELECT at, state, actor, reason FROM events_of($1) WHERE at <= $2 ORDER BY id DESC LIMIT 1
"""
_GIVEN = """
SELECT reason FROM events_of($1) WHERE state = 'assigned' AND at <= $2 ORDER BY id DESC LIMIT 1
"""
OF_TASK = """
SELECT at, state, actor, reason FROM event
WHERE task_id = $1 AND job_id IS NULL AND at <= $2 AND before IS DISTINCT FROM state ORDER BY id DESC LIMIT 1
"""
_THROTTLED = """
SELECT reason FROM event WHERE task_id = $1 AND job_id IS NULL AND at <= $2 AND actor = 'throttle'
ORDER BY id DESC LIMIT 1
"""


async def explain(conn: Connection, job: Job, at: datetime) -> Answer:
    """Raises NotFound before it was defined."""
    event = await conn.fetchrow(_STATE, job.id, at)
    if event is None:
        raise NotFound(
            f"there was no job {job.id} at {said(at)}",
            object=f"job {job.id}",
            hint=f"it was defined at {said(job.created_at)}",
        )
    answer = Answer(f"job {job.id}", event["state"], at)
    state = JobState(event["state"])
    if state == JobState.DEFINED:
        await _defined(conn, job, event, answer)
        return answer
    given = await conn.fetchval(_GIVEN, job.id, at)
    kept = None if given is None else await record.chosen(conn, job.task_id, given, at)
    answer.verdicts = record.verdict_views(kept, await record.queue_names(conn))
    where = kept.queue if kept and kept.queue else "its queue"
    since = f"since {said(event['at'])}"
    if state == JobState.ASSIGNED:
        await _assigned(conn, job, kept, answer)
        answer.reasons = answer.reasons or [
            Reason(f"it waited for its input at {where} {since}: which files lacked is not on record", (NOTHING,))
        ]
    elif state == JobState.ACTIVATED:
        known = _load(kept)
        what = f"it waited for a pilot of {where} {since} ({event['reason']}){known}; {NOT_KEPT}"
        answer.reasons = [Reason(what, (NOTHING,))]
    elif state in ON_PILOT:
        pilot = event["actor"].removeprefix("pilot:")
        answer.reasons = [Reason(f"pilot {pilot} had it at {where}, {state} {since}: {event['reason']}")]
    elif state == JobState.TRANSFERRING:
        what = f"its outputs, made at {where}, were on their way to their destination {since}: {event['reason']}"
        answer.reasons = [Reason(what, (NOTHING,))]
    else:
        answer.reasons = [await _ended(conn, job, event, at)]
    return answer


async def _defined(conn: Connection, job: Job, event: Mapping[str, Any], answer: Answer) -> None:
    at = answer.at
    if (held := await held_by_task(conn, job.task_id, at)) is not None:
        answer.reasons.append(held)
    names = await record.queue_names(conn)
    kept, need = await record.refusal(conn, job, event["at"], at)
    answer.verdicts = record.verdict_views(kept, names)
    if kept is not None:
        until = "" if at - kept.until < FRESH else f" (last looked at {said(kept.until)})"
        reason = refused(kept, need, names)
        answer.reasons.append(replace(reason, what=f"{reason.what}{until}"))
    elif not answer.reasons:
        answer.reasons.append(await _unknown(conn, event["at"], at))


async def _unknown(conn: Connection, since: datetime, at: datetime) -> Reason:
    """No refusal is on record: there was none, or it is too long ago."""
    kept_since = await record.kept_since(conn)
    if kept_since is None or at < kept_since:
        return Reason(
            f"it waited for the brokerage since {said(since)}; what that said of it is not on record: refusals are"
            " kept for `decisions_days`"
            + (f", the oldest decision on record is of {said(kept_since)}" if kept_since else "")
        )
    return Reason(f"the brokerage had not looked at it yet, {since:%H:%M:%S} UTC was when it was defined", (NOTHING,))


async def _assigned(conn: Connection, job: Job, kept: record.Kept | None, answer: Answer) -> None:
    if kept is not None and kept.queue_id is not None:
        answer.reasons, answer.missing = await missing.then(conn, job, kept.queue_id, answer.at)


def _load(kept: record.Kept | None) -> str:
    """How the queue stood when it was chosen, as the decision knew it."""
    if kept is None or kept.known is None:
        return ""
    for offer in kept.known.offers:
        if offer.queue == kept.queue_id:
            return (
                f"; when it was chosen, {offer.waiting} jobs waited there, {offer.executing} were with pilots,"
                f" and {offer.pilots} pilots had called lately"
            )
    return ""


async def _ended(conn: Connection, job: Job, event: Mapping[str, Any], at: datetime) -> Reason:
    by = event["actor"].removeprefix("user:")
    what = f"it was {event['state']} at {said(event['at'])}: {event['reason']}"
    what += "" if by in event["reason"] else f" ({by})"
    after = await ended.following(conn, job, at)
    return Reason(what + (f"; its work went on as job {after['id']}" if after else ""))


async def held_by_task(conn: Connection, task_id: int, at: datetime) -> Reason | None:
    """What of the task's own kept its jobs from being placed then."""
    event = await conn.fetchrow(OF_TASK, task_id, at)
    if event is not None and event["state"] in (TaskState.PAUSED, TaskState.EXHAUSTED, *TASK_FINAL):
        return Reason(f"its task was {event['state']} since {said(event['at'])}: {event['reason']}")
    sentence = await conn.fetchval(_THROTTLED, task_id, at)
    return Reason(sentence) if sentence and sentence.startswith("quota") else None


def said(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
