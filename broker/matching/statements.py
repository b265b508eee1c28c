"""The statements of the matching: heads of lanes, and the claim."""

from collections.abc import Collection, Sequence
from typing import NamedTuple, TypeAlias

import asyncpg

from ..database import Connection
from ..requirements import Requirement
from .match import Lane

LaneKey: TypeAlias = tuple[int, int]
"""Share and requirement."""

_LANES = """
    WITH RECURSIVE lane AS (
        (SELECT share_id, requirement_id FROM ready WHERE queue_id = $1
         ORDER BY share_id, requirement_id LIMIT 1)
        UNION ALL
        SELECT next.share_id, next.requirement_id FROM lane CROSS JOIN LATERAL (
            SELECT r.share_id, r.requirement_id FROM ready r
            WHERE r.queue_id = $1 AND (r.share_id, r.requirement_id) > (lane.share_id, lane.requirement_id)
            ORDER BY r.share_id, r.requirement_id LIMIT 1) AS next
    )
"""
"""Hops from lane to lane over the index ready_lane: the cost is that of the lanes, however many jobs they have."""
_SOME = "WITH lane AS (SELECT * FROM unnest($3::smallint[], $4::int[]) AS asked (share_id, requirement_id))"
_HEADS = """
    SELECT share_id, requirement_id, head.priorities, head.jobs, r.cores, r.memory_mb, r.walltime_s, r.scratch_mb,
           r.gpus, r.architecture, r.software
    FROM lane JOIN requirement r ON r.id = requirement_id CROSS JOIN LATERAL (
        SELECT array_agg(first.priority) AS priorities, array_agg(first.job_id) AS jobs FROM (
            SELECT o.priority, o.job_id FROM ready o
            WHERE o.queue_id = $1 AND o.share_id = lane.share_id AND o.requirement_id = lane.requirement_id
            ORDER BY o.priority DESC, o.job_id LIMIT $2) AS first) AS head
    WHERE head.jobs IS NOT NULL
"""
HEADS = _LANES + _HEADS
HEADS_OF = _SOME + _HEADS

GIVE = """
    WITH seat AS MATERIALIZED (
        SELECT * FROM unnest($2::int[], $3::text[], $4::text[], $5::bool[], $6::bigint[], $7::smallint[])
            AS w (place, pilot, request, fresh, job, number)
    ), again AS MATERIALIZED (
        SELECT DISTINCT s.place, l.job_id, l.seat FROM seat s CROSS JOIN LATERAL (
            SELECT job_id, seat FROM lease WHERE pilot = s.pilot AND request = s.request OFFSET 0) AS l
        WHERE s.fresh
    ), head AS MATERIALIZED (
        SELECT r.job_id, s.place, s.pilot, s.request, s.number FROM seat s JOIN ready r ON r.job_id = s.job
        WHERE r.job_id = ANY($6) AND r.queue_id = $1 AND NOT EXISTS (SELECT FROM again a WHERE a.place = s.place)
        FOR UPDATE OF r SKIP LOCKED
    ), leased AS (
        INSERT INTO lease (job_id, pilot, request, seat, until)
        SELECT job_id, pilot, request, number, now() + make_interval(secs => $8) FROM head
    ), given AS (
        UPDATE job j SET state = 'sent', pilot = h.pilot, actor = 'pilot:' || h.pilot, reason = 'given to the pilot',
               started_at = now(), changed_at = now()
        FROM head h WHERE j.id = h.job_id RETURNING h.place, j.id, h.number, j.spec
    )
    SELECT place, number, id, false AS again, spec::text FROM given
    UNION ALL
    SELECT a.place, a.seat, a.job_id, true, j.spec::text FROM again a JOIN job j ON j.id = a.job_id
    ORDER BY 1, 2
"""
"""Each seat is one job for one request; a job that another server has taken since is passed over: who has the row of
``ready``, which goes with the change of state, has the job. A request that was answered before, with the answer lost
on the way, gets the same jobs (the lateral query looks for them seat by seat, whatever the plan was made for). Its
seats are numbered, so that two servers cannot both answer it."""


class Seat(NamedTuple):
    """The ``number``-th job of one request, which has a ``place`` in its batch; none: it only asks what it had."""

    place: int
    pilot: str
    request: str
    fresh: bool
    """The request may have been answered before."""
    job: int | None
    number: int


async def heads(conn: Connection, queue: int, depth: int) -> list[Lane]:
    """The queue's lanes, each with its first jobs."""
    return [_lane(row, depth) for row in await conn.fetch(HEADS, queue, depth)]


async def heads_of(conn: Connection, queue: int, depth: int, lanes: Collection[LaneKey]) -> list[Lane]:
    """The same of some lanes; those that have nothing are not in the answer."""
    some = [share for share, _ in lanes], [requirement for _, requirement in lanes]
    return [_lane(row, depth) for row in await conn.fetch(HEADS_OF, queue, depth, *some)]


def _lane(row: asyncpg.Record, depth: int) -> Lane:
    share, requirement, priorities, jobs, cores, memory, walltime, scratch, gpus, architecture, software = (
        row.values()
    )
    needs = Requirement(cores, memory, walltime, scratch, gpus, architecture, tuple(software))
    known = tuple(zip(priorities, jobs, strict=True))
    return Lane(share, requirement, needs, known, len(known) == depth)


async def give(conn: Connection, queue: int, seats: Sequence[Seat], lease_s: float) -> list[asyncpg.Record]:
    """Fill the seats: (place, number, job, whether it had it before, spec as text) of those that got a job."""
    columns = [list(column) for column in zip(*seats, strict=True)]
    return await conn.fetch(GIVE, queue, *columns, lease_s)
