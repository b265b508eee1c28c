"""The statements of the matching: heads of lanes, the claim, the shares and their use."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import asyncpg

from ..database import Connection
from ..models import USING_SLOTS
from ..requirements import Requirement
from .match import GIVERS, Fraction, Lane, Offer, use_by_share
from .shares import Share, Turns, of_analysis

AGAIN = """
    SELECT l.pilot, l.request, j.spec FROM unnest($1::text[], $2::text[]) AS w (pilot, request)
    JOIN lease l ON l.pilot = w.pilot AND l.request = w.request JOIN job j ON j.id = l.job_id
    ORDER BY l.pilot, l.request, l.seat
"""
"""A request that was answered before, with the answer lost on the way, gets the same jobs."""

HEADS = """
    WITH RECURSIVE lane AS (
        (SELECT share_id, requirement_id FROM ready WHERE queue_id = $1
         ORDER BY share_id, requirement_id LIMIT 1)
        UNION ALL
        SELECT next.share_id, next.requirement_id FROM lane CROSS JOIN LATERAL (
            SELECT r.share_id, r.requirement_id FROM ready r
            WHERE r.queue_id = $1 AND (r.share_id, r.requirement_id) > (lane.share_id, lane.requirement_id)
            ORDER BY r.share_id, r.requirement_id LIMIT 1) AS next
    )
    SELECT share_id, requirement_id, head.priorities, head.jobs, r.cores, r.memory_mb, r.walltime_s, r.scratch_mb,
           r.gpus, r.architecture, r.software
    FROM lane JOIN requirement r ON r.id = requirement_id CROSS JOIN LATERAL (
        SELECT array_agg(first.priority) AS priorities, array_agg(first.job_id) AS jobs FROM (
            SELECT o.priority, o.job_id FROM ready o
            WHERE o.queue_id = $1 AND o.share_id = lane.share_id AND o.requirement_id = lane.requirement_id
            ORDER BY o.priority DESC, o.job_id LIMIT $2) AS first) AS head
    WHERE head.jobs IS NOT NULL
"""
"""Hops from lane to lane over the index ready_lane: the cost is that of the lanes, however many jobs they have."""

CLAIM = """
    WITH pick AS (
        SELECT share, requirement, pilot, request, has,
               row_number() OVER (PARTITION BY share, requirement ORDER BY place) AS turn
        FROM unnest($2::smallint[], $3::int[], $4::text[], $5::text[], $6::smallint[])
             WITH ORDINALITY AS w (share, requirement, pilot, request, has, place)
    ), lane AS (
        SELECT share, requirement, count(*) AS jobs FROM pick GROUP BY share, requirement
    ), head AS MATERIALIZED (
        SELECT first.job_id FROM lane CROSS JOIN LATERAL (
            SELECT o.job_id FROM ready o
            WHERE o.queue_id = $1 AND o.share_id = lane.share AND o.requirement_id = lane.requirement
            ORDER BY o.priority DESC, o.job_id LIMIT lane.jobs FOR UPDATE SKIP LOCKED) AS first
    ), taken AS (
        DELETE FROM ready r USING head WHERE r.job_id = head.job_id
        RETURNING r.job_id, r.share_id AS share, r.requirement_id AS requirement, r.priority
    ), seated AS (
        SELECT job_id, share, requirement,
               row_number() OVER (PARTITION BY share, requirement ORDER BY priority DESC, job_id) AS turn
        FROM taken
    ), leased AS (
        INSERT INTO lease (job_id, pilot, request, seat, until)
        SELECT job_id, pilot, request, has + row_number() OVER (PARTITION BY pilot, request ORDER BY job_id),
               now() + make_interval(secs => $7)
        FROM seated JOIN pick USING (share, requirement, turn)
        RETURNING job_id, pilot, request
    )
    UPDATE job j SET state = 'sent', pilot = l.pilot, actor = 'pilot:' || l.pilot, reason = 'given to the pilot',
           started_at = now(), changed_at = now()
    FROM leased l WHERE j.id = l.job_id RETURNING l.pilot, l.request, j.spec, j.share_id, j.requirement_id
"""
"""``head`` is read once: in ``DELETE .. WHERE job_id IN (SELECT .. LIMIT)`` it would be read again for each row
of some plans, skip what was just deleted, and take more jobs than there are requests. A request's leases are numbered
from 1, so that two servers cannot both answer it."""

SEEN = """
    INSERT INTO pilot AS p (name, queue_id, host, offer, job_id, jobs, empty_polls)
    SELECT name, $1, host, offer, job, jobs, (jobs = 0)::int
    FROM unnest($2::text[], $3::text[], $4::jsonb[], $5::bigint[], $6::int[]) AS w (name, host, offer, job, jobs)
    ON CONFLICT (name) DO UPDATE SET queue_id = excluded.queue_id, last_seen = now(), offer = excluded.offer,
        job_id = excluded.job_id, jobs = p.jobs + excluded.jobs, empty_polls = p.empty_polls + excluded.empty_polls
"""

USE = f"""
    SELECT share_id, queue_id, sum(cores)::int AS cores, sum(jobs)::int AS jobs FROM job_count
    WHERE state IN {USING_SLOTS} AND queue_id IS NOT NULL GROUP BY share_id, queue_id
"""  # noqa: S608
"""What uses slots now, from counters (index job_count_share)."""

QUEUES = """
    SELECT q.id, q.scratch_mb, q.gpus, q.architecture, q.software, q.analysis_percent, q.max_jobs,
           (SELECT coalesce(sum(c.jobs), 0)::int FROM job_count c
            WHERE c.queue_id = q.id AND c.state = 'activated') AS waiting
    FROM queue q
"""


class Queue(NamedTuple):
    """What a queue's slots have where the pilot does not say, and its rules."""

    id: int
    scratch_mb: int
    gpus: int
    architecture: str
    software: list[str]
    analysis_percent: int | None
    max_jobs: int | None
    waiting: int


class Seat(NamedTuple):
    """One job for one request, which has got some already."""

    pilot: str
    request: str
    has: int
    lane: Lane


@dataclass
class Standing:
    """Shares, queues and the use of slots as they were read, with what was given out since."""

    shares: list[Share]
    queues: dict[int, Queue]
    cores: dict[tuple[int, int], int]
    """By share and queue."""
    jobs: dict[int, int]
    """With pilots, by queue."""
    analysis: frozenset[int] = field(init=False)

    def __post_init__(self) -> None:
        self.analysis = of_analysis(self.shares)

    def turns(self, lanes: Sequence[Lane]) -> Turns:
        return Turns(self.shares, use_by_share(self.cores), {lane.share for lane in lanes})

    def fraction(self, queue: int) -> Fraction | None:
        percent = self.queues[queue].analysis_percent
        if percent is None:
            return None
        found = Fraction(percent, self.analysis)
        for (share, at), cores in self.cores.items():
            if at == queue:
                found.give(share, cores)
        return found

    def room(self, queue: int) -> int | None:
        limit = self.queues[queue].max_jobs
        return None if limit is None else limit - self.jobs.get(queue, 0)

    def give(self, queue: int, share: int, cores: int) -> None:
        self.cores[share, queue] = self.cores.get((share, queue), 0) + cores * GIVERS
        self.jobs[queue] = self.jobs.get(queue, 0) + 1


async def standing(conn: Connection) -> Standing:
    use = await conn.fetch(USE)
    jobs: dict[int, int] = {}
    for row in use:
        jobs[row["queue_id"]] = jobs.get(row["queue_id"], 0) + row["jobs"]
    return Standing(
        await shares(conn),
        {row["id"]: Queue(**row) for row in await conn.fetch(QUEUES)},
        {(row["share_id"], row["queue_id"]): row["cores"] for row in use},
        jobs,
    )


async def shares(conn: Connection) -> list[Share]:
    """The tree, in the order in which leaves are asked for new tasks."""
    rows = await conn.fetch("SELECT id, name, parent_id, value, match, retired FROM share ORDER BY place, id")
    return [Share(*row.values()) for row in rows]


async def heads(conn: Connection, queue: int, depth: int) -> list[Lane]:
    """The queue's lanes, each with its first jobs."""
    return [_lane(row, depth) for row in await conn.fetch(HEADS, queue, depth)]


def _lane(row: asyncpg.Record, depth: int) -> Lane:
    share, requirement, priorities, jobs, cores, memory, walltime, scratch, gpus, architecture, software = (
        row.values()
    )
    needs = Requirement(cores, memory, walltime, scratch, gpus, architecture, tuple(software))
    known = tuple(zip(priorities, jobs, strict=True))
    return Lane(share, requirement, needs, known, len(known) == depth)


async def claim(conn: Connection, queue: int, seats: Sequence[Seat], lease_s: float) -> list[asyncpg.Record]:
    """Take the heads of the seats' lanes; fewer where another server was faster. (pilot, request, spec, ..) each."""
    return await conn.fetch(
        CLAIM,
        queue,
        [seat.lane.share for seat in seats],
        [seat.lane.requirement for seat in seats],
        [seat.pilot for seat in seats],
        [seat.request for seat in seats],
        [seat.has for seat in seats],
        lease_s,
    )


async def seen(conn: Connection, queue: int, pilots: dict[str, tuple[str, Offer, list[int]]]) -> None:
    """Note what pilots offered and got: name -> host, offer, jobs."""
    names = sorted(pilots)
    await conn.execute(
        SEEN,
        queue,
        names,
        [pilots[name][0] for name in names],
        [vars(pilots[name][1]) for name in names],
        [next(iter(pilots[name][2]), None) for name in names],
        [len(pilots[name][2]) for name in names],
    )
