"""Which place a job has in its queue: from lanes and counts that stop at a limit, however many jobs wait."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..database import Connection
from ..matching import statements
from ..matching.match import Lane, Offer, fits, use_by_share
from ..matching.shares import targets
from ..matching.standing import Standing, read
from ..models import Job
from .reasons import Rank

COUNTED = 10_000
"""Jobs that are counted of each share."""
TURNS = 1000
"""Turns that are gone through to tell when it is the job's."""

# Each lane is a stretch of the index ready_lane; no row is looked at twice, and none beyond the limit.
_WAITING = """
SELECT s.share_id, n.jobs FROM unnest($2::smallint[]) AS s (share_id) CROSS JOIN LATERAL (
    SELECT count(*)::int AS jobs FROM (
        SELECT FROM ready r WHERE r.queue_id = $1 AND r.share_id = s.share_id AND r.requirement_id = ANY($3::int[])
        LIMIT $4) AS first) AS n
"""
_AHEAD = """
SELECT coalesce(sum(n.jobs), 0)::int FROM unnest($3::int[]) AS l (requirement_id) CROSS JOIN LATERAL (
    SELECT count(*) AS jobs FROM (
        SELECT FROM ready r
        WHERE r.queue_id = $1 AND r.share_id = $2 AND r.requirement_id = l.requirement_id
          AND (r.priority > $4 OR (r.priority = $4 AND r.job_id < $5)) LIMIT $6) AS first) AS n
"""


@dataclass(frozen=True)
class Place:
    """The rank, and what is to be said of the job's share."""

    rank: Rank
    share: str
    used: float
    """Its part of all cores in use, 0 to 1."""
    target: float
    behind: tuple[str, ...]
    """Shares whose turn is before it."""


async def place(conn: Connection, job: Job, like: Offer) -> Place | None:
    """Among the jobs that a pilot ``like`` this would take; None if the job is not in the queue any more."""
    assert job.queue_id is not None and job.id is not None
    standing = await read(conn)
    lanes = [lane for lane in await statements.heads(conn, job.queue_id, 1) if fits(lane.needs, like)]
    if not any((lane.share, lane.requirement) == (job.share_id, job.requirement_id) for lane in lanes):
        return None
    kinds = sorted({lane.requirement for lane in lanes})
    shares = sorted({lane.share for lane in lanes})
    rows = await conn.fetch(_WAITING, job.queue_id, shares, kinds, COUNTED + 1)
    waiting = {row["share_id"]: row["jobs"] for row in rows}
    own = sorted({lane.requirement for lane in lanes if lane.share == job.share_id})
    ahead = await conn.fetchval(_AHEAD, job.queue_id, job.share_id, own, job.priority, job.id, COUNTED + 1)
    order = list(standing.turns(lanes).order())
    return Place(
        _rank(standing, job, lanes, waiting, ahead),
        _names(standing, [job.share_id])[0],
        *_part(standing, job.share_id),
        behind=_names(standing, order[: order.index(job.share_id)] if job.share_id in order else order),
    )


def _rank(standing: Standing, job: Job, lanes: Sequence[Lane], waiting: Mapping[int, int], ahead: int) -> Rank:
    of = sum(waiting.values())
    place, complete = _turn(standing, job, lanes, dict(waiting), min(ahead, COUNTED))
    more = {
        "place": not complete or ahead > COUNTED,
        "of": any(jobs > COUNTED for jobs in waiting.values()),
        "ahead_in_share": ahead > COUNTED,
    }
    return Rank(
        place,
        min(of, COUNTED) if more["of"] else of,
        min(ahead, COUNTED),
        tuple(name for name, is_more in more.items() if is_more),
    )


def _turn(standing: Standing, job: Job, lanes: Sequence[Lane], left: dict[int, int], ahead: int) -> tuple[int, bool]:
    """Which turn is the job's if jobs are given out one after the other and none ends; whether it was reached."""
    if len(left) == 1:
        return ahead + 1, True
    assert job.queue_id is not None
    turns, fraction = standing.turns(lanes), standing.fraction(job.queue_id)
    cores = {lane.share: lane.needs.cores for lane in lanes}
    for turn in range(1, TURNS + 1):
        order = (share for share in turns.order() if left.get(share))
        share = next(iter(fraction.first(order) if fraction else order), job.share_id)
        if share == job.share_id and ahead == 0:
            return turn, True
        if share == job.share_id:
            ahead -= 1
        left[share] -= 1
        turns.give(share, cores[share])
        if fraction:
            fraction.give(share, cores[share])
    return TURNS, False


def _part(standing: Standing, share: int) -> tuple[float, float]:
    use = use_by_share(standing.cores)
    total = sum(use.values())
    return (use.get(share, 0.0) / total if total else 0.0), targets(standing.shares).get(share, 0.0)


def _names(standing: Standing, shares: Sequence[int]) -> tuple[str, ...]:
    known = {share.id: share.name for share in standing.shares}
    return tuple(known.get(share, f"share {share}") for share in shares)
