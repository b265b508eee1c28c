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
    WITH head AS MATERIALIZED (
        SELECT r.job_id, s.place, s.pilot, s.request, s.number
        FROM unnest($2::int[], $3::text[], $4::text[], $5::bool[], $6::bigint[], $7::smallint[])
                 AS s (place, pilot, request, fresh, job, number) CROSS JOIN LATERAL (
            SELECT job_id FROM ready WHERE job_id = s.job AND queue_id = $1 FOR UPDATE SKIP LOCKED) AS r
        WHERE NOT (s.fresh AND (SELECT count(*) FROM lease WHERE pilot = s.pilot AND request = s.request) > 0)
    ), leased AS (
        INSERT INTO lease (job_id, pilot, request, seat, until)
        SELECT job_id, pilot, request, number, now() + make_interval(secs => $8) FROM head
    )
    UPDATE job j SET state = 'sent', pilot = h.pilot, actor = 'pilot:' || h.pilot, reason = 'given to the pilot',
           started_at = now(), changed_at = now()
    FROM head h WHERE j.id = h.job_id RETURNING h.place, h.number, j.id, j.spec::text
"""
"""Each seat is one job for one request; a job that another server has taken since is passed over: who has the row of
``ready``, which goes with the change of state, has the job. A request that was answered before gets nothing here. Its
seats are numbered, so that two servers cannot both answer it. Rows are looked for seat by seat, whatever the plan was
made for."""
HAD = """
    SELECT s.place, l.job_id, j.spec::text
    FROM unnest($1::int[], $2::text[], $3::text[]) AS s (place, pilot, request) CROSS JOIN LATERAL (
        SELECT job_id, seat FROM lease WHERE pilot = s.pilot AND request = s.request OFFSET 0) AS l
    JOIN job j ON j.id = l.job_id ORDER BY s.place, l.seat
"""
"""What was given to requests before, with the answers lost on the way."""


class Seat(NamedTuple):
    """The ``number``-th job of one request, which has a ``place`` in its batch."""

    place: int
    pilot: str
    request: str
    fresh: bool
    """The request may have been answered before."""
    job: int
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
    """Fill the seats: (place, number, job, spec as text) of those that got a job."""
    columns = [list(column) for column in zip(*seats, strict=True)]
    return await conn.fetch(GIVE, queue, *columns, lease_s)


async def had(conn: Connection, requests: Sequence[tuple[int, str, str]]) -> list[asyncpg.Record]:
    """(Place, job, spec as text) of what was given to (place, pilot, request) before."""
    return await conn.fetch(HAD, *map(list, zip(*requests, strict=True)))
