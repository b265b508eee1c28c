"""What pilots' calls tell of them, noted together every few seconds; of one that is new at a queue, at once."""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from .connections import connection
from .database import LOST, Connection, Pool
from .errors import Unavailable
from .matching.match import Offer

NOTE_S = 2.0
"""How long a note may wait."""
HEARD_S = 15.0
"""A sign of life alone is noted again after that time; nobody asks for it more exactly."""
KNOWN = 500_000
"""Pilots whose names are remembered."""

ASKED = """
    INSERT INTO pilot AS p (name, queue_id, host, offer, job_id, jobs, empty_polls)
    SELECT * FROM unnest($1::text[], $2::smallint[], $3::text[], $4::jsonb[], $5::bigint[], $6::int[], $7::int[])
    ON CONFLICT (name) DO UPDATE SET queue_id = excluded.queue_id, last_seen = now(), offer = excluded.offer,
        job_id = excluded.job_id, jobs = p.jobs + excluded.jobs, empty_polls = p.empty_polls + excluded.empty_polls
"""
HEARD = """
    UPDATE pilot p SET last_seen = now(), job_id = CASE WHEN note.free THEN NULL ELSE job_id END
    FROM (SELECT p.name, n.free FROM unnest($1::text[], $2::bool[]) AS n (name, free) JOIN pilot p USING (name)
          ORDER BY p.name FOR NO KEY UPDATE OF p) AS note
    WHERE p.name = note.name
"""


@dataclass(slots=True)
class _Asked:
    queue: int
    host: str
    offer: Offer
    job: int | None
    jobs: int = 0
    empty: int = 0


class Pilots:
    """The notes of one server."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._known: dict[str, float] = {}
        """By name: when it was noted last."""
        self._queues: dict[str, int] = {}
        """By name: where it asked last."""
        self._asked: dict[str, _Asked] = {}
        self._heard: dict[str, bool] = {}
        """By name: whether its job is over."""
        self._new = False
        self._writing: asyncio.Task[None] | None = None

    def asked(self, name: str, queue: int, host: str, offer: Offer, jobs: list[int]) -> None:
        """It asked for work and got these jobs."""
        note = self._asked.get(name)
        if note is None:
            note = self._asked[name] = _Asked(queue, host, offer, None)
        self._new = self._new or self._queues.get(name) != queue
        self._queues[name] = note.queue = queue
        note.host = host
        note.offer, note.job = offer, jobs[0] if jobs else None
        note.jobs += len(jobs)
        note.empty += not jobs
        self._soon()

    def heard(self, names: Iterable[str], *, free: bool = False) -> None:
        """They reported; ``free``: their job is over."""
        now, known = time.monotonic(), self._known
        if not free:
            names = [name for name in names if known.get(name, 0.0) < now - HEARD_S]
        for name in names:
            if free and name in self._asked:
                self._asked[name].job = None
            self._heard[name] = self._heard.get(name, False) or free
            known[name] = now
        if self._heard:
            self._soon()

    async def note_new(self, conn: Connection) -> None:
        """Write all notes if one of them is of a pilot that is new where it asked."""
        if self._new:
            await self._write(conn)

    async def stop(self) -> None:
        """Write what waits."""
        if self._writing:
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
        with suppress(*LOST, Unavailable):
            async with connection(self._pool) as conn:
                await self._write(conn)

    def _soon(self) -> None:
        if self._writing is None or self._writing.done():
            self._writing = asyncio.get_running_loop().create_task(self._later())

    async def _later(self) -> None:
        await asyncio.sleep(NOTE_S)
        with suppress(*LOST, Unavailable):
            async with connection(self._pool) as conn:
                await self._write(conn)

    async def _write(self, conn: Connection) -> None:
        asked, self._asked = self._asked, {}
        heard, self._heard = self._heard, {}
        self._new = False
        if len(self._known) > KNOWN:
            self._known.clear()
            self._queues.clear()
        self._known |= dict.fromkeys(asked, time.monotonic())
        if names := sorted(asked):
            notes = [asked[name] for name in names]
            await conn.execute(
                ASKED,
                names,
                [note.queue for note in notes],
                [note.host for note in notes],
                [msgspec.structs.asdict(note.offer) for note in notes],
                [note.job for note in notes],
                [note.jobs for note in notes],
                [note.empty for note in notes],
            )
        # Who asked after its job was over is free, or has the next one, already.
        if names := sorted(heard.keys() - asked.keys()):
            await conn.execute(HEARD, names, [heard[name] for name in names])
