"""How things stand where work is given out: the shares, the queues, the use of slots and the servers at work."""

import asyncio
from collections.abc import Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

from ..connections import connection
from ..database import LOST, Connection, Pool
from ..errors import Unavailable
from ..models import USING_SLOTS
from .match import GIVERS, Fraction, Lane, use_by_share
from .shares import Share, Turns, of_analysis

READ_S = 1.0
"""After that time all is read anew; what this server gives out counts at once."""
LATE_S = 2 * READ_S
"""Older than that nothing is gone by: a batch waits for the reading."""

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


@dataclass
class Standing:
    """As it was read, with what was given out since."""

    shares: list[Share] = field(default_factory=list)
    queues: dict[int, Queue] = field(default_factory=dict)
    cores: dict[tuple[int, int], int] = field(default_factory=dict)
    """By share and queue."""
    jobs: dict[int, int] = field(default_factory=dict)
    """With pilots, by queue."""
    servers: list[int] = field(default_factory=list)
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


class Current:
    """The standing, read anew every second beside the batches that go by it."""

    def __init__(self, pool: Pool) -> None:
        self.standing = Standing()
        self._pool = pool
        self._read_at = -LATE_S
        self._reading: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()
        self._since: list[tuple[int, int, int]] = []
        """What was given since the last reading began."""

    async def of(self, conn: Connection, queue: int) -> Standing:
        """One that knows the queue, and is not too old."""
        age = asyncio.get_running_loop().time() - self._read_at
        if age >= LATE_S or queue not in self.standing.queues:
            await self._read(conn)
        elif age >= READ_S and (self._reading is None or self._reading.done()):
            self._reading = asyncio.create_task(self._read_beside())
        return self.standing

    def give(self, queue: int, share: int, cores: int) -> None:
        """A job was given out, whatever the standing was that it was chosen by."""
        self.standing.give(queue, share, cores)
        self._since.append((queue, share, cores))

    async def stop(self) -> None:
        if self._reading:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    async def _read_beside(self) -> None:
        with suppress(*LOST, Unavailable):
            async with connection(self._pool) as conn:
                await self._read(conn)

    async def _read(self, conn: Connection) -> None:
        async with self._turn:
            began, self._since = asyncio.get_running_loop().time(), []
            found = await read(conn)
            for given in self._since:
                found.give(*given)
            self.standing, self._read_at = found, began


async def read(conn: Connection) -> Standing:
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


async def shares(conn: Connection) -> list[Share]:
    """The tree, in the order in which leaves are asked for new tasks."""
    rows = await conn.fetch("SELECT id, name, parent_id, value, match, retired FROM share ORDER BY place, id")
    return [Share(*row.values()) for row in rows]


async def join(conn: Connection) -> int | None:
    """The lowest number that no other server has, until the connection is lost; none if there are too many."""
    number: int | None = await conn.fetchval(JOIN, DESKS)
    return number
