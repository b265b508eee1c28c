"""Heartbeats: reports that say nothing but that the pilot is still at it, thousands in one statement."""

import asyncio
from dataclasses import dataclass, field

from prodchain.pilot_agent.messages import Answer, Update, Updates

from .database import Pool
from .states import JobState
from .texts import storable

BATCH = 5000
"""Jobs in one statement."""
BEATING = (JobState.STARTING, JobState.RUNNING, JobState.HOLDING)
LARGEST_JOB = 2**63 - 1

BEAT = """
    WITH beat AS (
        SELECT l.job_id
        FROM unnest($1::bigint[], $2::text[], $3::smallint[], $4::text[]) AS b (job, pilot, queue, state)
        JOIN lease l ON l.job_id = b.job AND l.pilot = b.pilot
        JOIN job j ON j.id = b.job AND j.queue_id = b.queue AND j.state = b.state
        ORDER BY l.job_id FOR UPDATE OF l
    )
    UPDATE lease l SET until = now() + make_interval(secs => $5) FROM beat WHERE l.job_id = beat.job_id
    RETURNING l.job_id
"""
SEEN = """
    UPDATE pilot SET last_seen = now()
    WHERE name IN (SELECT name FROM pilot WHERE name = ANY($1) ORDER BY name FOR UPDATE)
"""


@dataclass
class _Beat:
    queue: int
    news: Updates
    known: "asyncio.Future[bool]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Heartbeats:
    """Collects the heartbeats that come while a statement runs, and serves them with the next one."""

    def __init__(self, pool: Pool, lease_s: float) -> None:
        self._pool = pool
        self._lease_s = lease_s
        self._waiting: list[_Beat] = []
        self._serving: asyncio.Task[None] | None = None

    async def beat(self, queue_id: int, news: Updates) -> list[Answer] | None:
        """The answers, if there is nothing else to these news: None means that they must be looked at one by one."""
        if not all(_plain(update) for update in news.updates):
            return None
        beat = _Beat(queue_id, news)
        self._waiting.append(beat)
        if self._serving is None:
            self._serving = asyncio.get_running_loop().create_task(self._serve())
        if not await beat.known:
            return None
        return [Answer(update.job, "continue") for update in news.updates]

    async def _serve(self) -> None:
        try:
            while self._waiting:
                batch = self._take()
                try:
                    kept = await self._write(batch)
                except Exception as error:  # whatever it was: nobody may wait for ever
                    for beat in batch:
                        if not beat.known.done():
                            beat.known.set_exception(error)
                    continue
                for beat in batch:
                    if not beat.known.done():
                        beat.known.set_result(all(update.job in kept for update in beat.news.updates))
        finally:
            self._serving = None

    def _take(self) -> list[_Beat]:
        jobs, number = 0, 0
        while number < len(self._waiting) and jobs < BATCH:
            jobs += len(self._waiting[number].news.updates)
            number += 1
        batch, self._waiting = self._waiting[:number], self._waiting[number:]
        return batch

    async def _write(self, batch: list[_Beat]) -> set[int]:
        rows = [
            (update.job, storable(beat.news.pilot), beat.queue, update.state)
            for beat in batch
            for update in beat.news.updates
        ]
        async with self._pool.acquire() as conn, conn.transaction():
            columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]
            kept = await conn.fetch(BEAT, *columns, self._lease_s)
            await conn.execute(SEEN, sorted({storable(beat.news.pilot) for beat in batch}))
        return {row["job_id"] for row in kept}


def _plain(update: Update) -> bool:
    """A state that does not end the job and no piece of log; of what can be a job, for others share the statement."""
    return not update.log and update.state in BEATING and 0 < update.job <= LARGEST_JOB
