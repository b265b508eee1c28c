"""The statements of the matching: heads of lanes, the claim, the shares and their use."""

from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import asyncpg

from ..database import Connection
from ..models import USING_SLOTS
from ..requirements import Requirement
from .match import GIVERS, Fraction, Lane, use_by_share
from .shares import Share, Turns, of_analysis

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
        WHERE r.queue_id = $1 AND NOT EXISTS (SELECT FROM again a WHERE a.place = s.place)
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

USE = f"""
    SELECT share_id, queue_id, sum(cores)::int AS cores, sum(jobs)::int AS jobs FROM job_count
    WHERE state IN {USING_SLOTS} AND queue_id IS NOT NULL GROUP BY share_id, queue_id
"""  # noqa: S608
"""What uses slots now, from counters (index job_count_share)."""

QUEUES = """
    SELECT q.id, q.scratch_mb, q.gpus, q.architecture, q.software, q.analysis_percent, q.max_jobs,
           coalesce(n.waiting, 0) AS waiting
    FROM queue q LEFT JOIN (
        SELECT queue_id, sum(jobs)::int AS waiting FROM job_count WHERE state = 'activated' GROUP BY queue_id
    ) AS n ON n.queue_id = q.id
"""


DESKS = 0x6465736B
"""The class of advisory locks that servers hold: one number each, for as long as they are told of ready jobs."""
JOIN = "SELECT n FROM generate_series(0, 63) AS n WHERE pg_try_advisory_lock($1, n) LIMIT 1"
SERVERS = """
    SELECT objid::int FROM pg_locks JOIN pg_database d ON d.oid = database AND d.datname = current_database()
    WHERE locktype = 'advisory' AND classid::bigint = $1 AND objsubid = 2 AND granted ORDER BY 1
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
    """The ``number``-th job of one request, which has a ``place`` in its batch; none: it only asks what it had."""

    place: int
    pilot: str
    request: str
    fresh: bool
    """The request may have been answered before."""
    job: int | None
    number: int


@dataclass
class Standing:
    """Shares, queues and the use of slots as they were read, with what was given out since."""

    shares: list[Share]
    queues: dict[int, Queue]
    cores: dict[tuple[int, int], int]
    """By share and queue."""
    jobs: dict[int, int]
    """With pilots, by queue."""
    servers: list[int]
    """The numbers of those at work (``join``)."""
    _turns: Turns | None = None
    _holders: Set[int] = frozenset()
    _fractions: dict[int, Fraction | None] = field(default_factory=dict)

    def turns(self, lanes: Sequence[Lane]) -> Turns:
        return Turns(self.shares, use_by_share(self.cores), {lane.share for lane in lanes})

    def fraction(self, queue: int) -> Fraction | None:
        percent = self.queues[queue].analysis_percent
        if percent is None:
            return None
        found = Fraction(percent, of_analysis(self.shares))
        for (share, at), cores in self.cores.items():
            if at == queue:
                found.give(share, cores)
        return found

    def turns_kept(self, holders: Set[int]) -> Turns:
        """Whose turn it is among these shares, kept up with what is given until the next reading."""
        if self._turns is None or not holders <= self._holders:
            self._turns = Turns(self.shares, use_by_share(self.cores), holders)
            self._holders = holders
        return self._turns

    def fraction_kept(self, queue: int) -> Fraction | None:
        if queue not in self._fractions:
            self._fractions[queue] = self.fraction(queue)
        return self._fractions[queue]

    def room(self, queue: int) -> int | None:
        limit = self.queues[queue].max_jobs
        return None if limit is None else limit - self.jobs.get(queue, 0)

    def undo(self, queue: int, share: int, cores: int) -> None:
        """What was chosen was not given after all."""
        if self._turns is not None:
            self._turns.give(share, -cores * GIVERS)
        if (fraction := self._fractions.get(queue)) is not None:
            fraction.give(share, -cores * GIVERS)

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
        [row[0] for row in await conn.fetch(SERVERS, DESKS)],
    )


async def join(conn: Connection) -> int | None:
    """The lowest number that no other server has, until the connection is lost; none if there are too many."""
    number: int | None = await conn.fetchval(JOIN, DESKS)
    return number


async def shares(conn: Connection) -> list[Share]:
    """The tree, in the order in which leaves are asked for new tasks."""
    rows = await conn.fetch("SELECT id, name, parent_id, value, match, retired FROM share ORDER BY place, id")
    return [Share(*row.values()) for row in rows]


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
