"""Jobs that wait at a queue: for pilots that suit, for their turn; and where else they could go."""

from dataclasses import replace

from ..brokerage import slots
from ..database import Connection, one
from ..matching.match import Offer
from ..models import Job
from ..requirements import Requirement
from . import rank, record, signs
from .cures import Cure
from .rank import Place
from .reasons import Rank, Reason

_QUEUE = """
SELECT q.name, q.max_jobs, coalesce((
    SELECT sum(jobs) FROM job_count WHERE queue_id = q.id AND state IN ('sent', 'starting', 'running', 'holding')
), 0)::int AS executing FROM queue q WHERE q.id = $1
"""
PILOT = "python3 pilot.pyz --server URL --token-file FILE"
"""How a pilot is started on any machine."""


async def waits(conn: Connection, job: Job, needs: Requirement) -> tuple[list[Reason], Rank | None]:
    """Why no pilot has an activated job yet."""
    assert job.queue_id is not None
    queue = await one(conn, _QUEUE, job.queue_id)
    pilots = await signs.pilots(conn, job.queue_id)
    name = queue["name"]
    if not pilots.seen:
        reason = Reason(
            f"no pilot of {name} has called for {signs.PILOT_SILENCE_S} s",
            (Cure("operator", f"start pilots for {name}", {"pilots": {"queue": name}}, "prodchain up", queue=name),),
        )
        return [await or_elsewhere(conn, job, reason)], None
    like, nearest = pilots.like(needs), pilots.nearest(needs)
    if like is None and nearest is not None:
        reason = _too_small(job, needs, name, nearest)
        return [await or_elsewhere(conn, job, reason)], None
    found = await rank.place(conn, job, like) if like else None
    reasons = [_turn(name, pilots, found)]
    if queue["max_jobs"] is not None and queue["executing"] >= queue["max_jobs"]:
        more = Cure(
            "operator",
            f"raise max_jobs of {name} in the sites file",
            {"queue": {"max_jobs": queue["executing"] + 1}},
            "prodchain site apply FILE",
            queue=name,
        )
        what = f"{name} runs {queue['executing']} jobs, as many as it may"
        reasons.insert(0, Reason(what, (_by_itself("it is given out as others end"), more)))
    return reasons, found.rank if found else None


def _by_itself(text: str) -> Cure:
    return Cure(text=f"nothing to do: {text}", change={"facts": {"pilot": "free"}})


def _too_small(job: Job, needs: Requirement, name: str, nearest: Offer) -> Reason:
    fields, words = signs.gaps(needs, nearest)
    task = f"prodchain task set {job.task_id} " + " ".join(f"{field}={value}" for field, value in fields.items())
    ask = Cure("user", "ask for what the pilots have", {"task": fields}, task, queue=name)
    wanted = {field: getattr(needs, field) for field in fields} or {"software": list(needs.software)}
    start = Cure(
        "operator",
        f"start pilots for {name} that offer " + ", ".join(f"{field} {value}" for field, value in wanted.items()),
        {"pilots": wanted},
        PILOT,
        queue=name,
    )
    possible = all(value or field in ("scratch_mb", "gpus") for field, value in fields.items())
    software = not slots.lacking(needs.software, nearest.software)
    return Reason(
        f"the pilots of {name} that called lately do not offer what it needs: {words}",
        (ask, start) if fields and possible and software else (start,),
    )


def _turn(name: str, pilots: signs.Pilots, found: Place | None) -> Reason:
    if found is None:
        return Reason(f"it waits for a pilot of {name}: {pilots.said}", (_by_itself("the next pilot takes it"),))
    rank_ = found.rank
    place = f"after {rank_.said('place')} others" if "place" in rank_.more_than else f"number {rank_.said('place')}"
    words = [
        f"it waits for a pilot of {name}: it is {place} of {rank_.said('of')} jobs that such a pilot would take,"
        f" {rank_.said('ahead_in_share')} of its share {found.share} are ahead of it; {pilots.said}"
    ]
    if found.behind:
        words.append(
            f"its share uses {found.used:.0%} of the cores in use, its target is {found.target:.0%}: "
            f"{', '.join(found.behind)} {'has' if len(found.behind) == 1 else 'have'} a turn before"
        )
    return Reason(
        "; ".join(words),
        (_by_itself("it is given out in its turn; more pilots, or a higher priority, would start it earlier"),),
    )


async def or_elsewhere(conn: Connection, job: Job, reason: Reason) -> Reason:
    """The same, with sending the job to another queue among the remedies, where others could have taken it."""
    best = reason.best
    if job.assignment_id is None or (best is not None and best.who == "nobody"):
        return reason
    kept = await record.one(conn, job.assignment_id)
    passed = [v for v in kept.decision.verdicts if v.passed and v.queue != job.queue_id] if kept else []
    if not passed:
        return reason
    names = await record.queue_names(conn)
    other = names.get(max(passed, key=lambda verdict: verdict.weight).queue, "another queue")
    away = Cure(
        "user",
        f"send it to another queue ({other} could have taken it)",
        {"job": {"avoid": [job.queue_id]}},
        f"prodchain job reassign {job.id}",
        queue=other,
    )
    return replace(reason, cures=(*reason.cures, away))
