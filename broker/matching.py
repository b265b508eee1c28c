"""Late binding: a pilot's request takes the first ready job of its queue, many requests in one statement."""

import asyncio
from dataclasses import dataclass, field, replace

import asyncpg

from prodchain.pilot_agent.messages import Acquire, Acquired, JobSpec, decode

from .database import Pool, listen
from .texts import storable

BATCH = 256
MAX_WAIT_S = 60.0

AGAIN = """
    SELECT l.pilot, l.request, j.spec FROM unnest($1::text[], $2::text[]) AS w (pilot, request)
    JOIN lease l ON l.pilot = w.pilot AND l.request = w.request JOIN job j ON j.id = l.job_id
"""
"""A request that was answered before, with the answer lost on the way, gets the same job."""

CLAIM = """
    WITH wish AS (
        SELECT pilot, request, row_number() OVER () AS seat
        FROM unnest($2::text[], $3::text[]) AS w (pilot, request)
    ), head AS MATERIALIZED (
        SELECT job_id FROM ready WHERE queue_id = $1 ORDER BY priority DESC, job_id
        LIMIT cardinality($2::text[]) FOR UPDATE SKIP LOCKED
    ), taken AS (
        DELETE FROM ready r USING head WHERE r.job_id = head.job_id RETURNING r.job_id, r.priority
    ), seated AS (
        SELECT job_id, row_number() OVER (ORDER BY priority DESC, job_id) AS seat FROM taken
    ), leased AS (
        INSERT INTO lease (job_id, pilot, request, until)
        SELECT job_id, pilot, request, now() + make_interval(secs => $4) FROM seated JOIN wish USING (seat)
        RETURNING job_id, pilot, request
    )
    UPDATE job j SET state = 'sent', pilot = l.pilot, actor = 'pilot:' || l.pilot, reason = 'given to the pilot',
           started_at = now(), changed_at = now()
    FROM leased l WHERE j.id = l.job_id RETURNING l.pilot, l.request, j.spec
"""
"""``head`` is read once: in ``DELETE .. WHERE job_id IN (SELECT .. LIMIT)`` it would be read again for each row
of some plans, skip what was just deleted, and take more jobs than there are requests."""

SEEN = """
    INSERT INTO pilot AS p (name, queue_id, host, job_id, jobs, empty_polls)
    SELECT name, $1, host, job, (job IS NOT NULL)::int, (job IS NULL)::int
    FROM unnest($2::text[], $3::text[], $4::bigint[]) AS w (name, host, job)
    ON CONFLICT (name) DO UPDATE SET last_seen = now(), job_id = excluded.job_id,
        jobs = p.jobs + excluded.jobs, empty_polls = p.empty_polls + excluded.empty_polls
"""


@dataclass
class _Wish:
    ask: Acquire
    answer: "asyncio.Future[JobSpec | None]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    tried: int = -1
    """The news of its queue that it was last tried at."""
    leaving: bool = False


@dataclass
class _Desk:
    """A queue's wishes; ``news`` counts the times that jobs became ready there."""

    wishes: list[_Wish] = field(default_factory=list)
    news: int = 0
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self) -> list[_Wish]:
        """The next batch of wishes that were not tried since the last news."""
        batch = [wish for wish in self.wishes if wish.tried != self.news][:BATCH]
        for wish in batch:
            wish.tried = self.news
            self.wishes.remove(wish)
        return batch

    def give(self, wish: _Wish, spec: JobSpec | None) -> None:
        """Answer the wish, or park it until there are news."""
        if wish.answer.done():  # the pilot hung up twice; its next request finds the lease
            return
        if spec is not None or wish.leaving or wish.ask.wait_s <= 0:
            wish.answer.set_result(spec)
        else:
            self.wishes.append(wish)

    def again(self, batch: list[_Wish]) -> None:
        for wish in batch:
            wish.tried = -1
        self.wishes += batch

    def ready(self) -> None:
        self.news += 1
        self.wake.set()


class Dispatcher:
    """Serves the requests for each queue in batches, and parks those that find nothing until work arrives.

    A parked request costs no database work: NOTIFY wakes its queue.
    """

    def __init__(self, pool: Pool, lease_s: float) -> None:
        self._pool = pool
        self._lease_s = lease_s
        self._desks: dict[int, _Desk] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._tasks.append(asyncio.create_task(listen(self._pool, "prodchain_ready", self._heard, self._begin)))

    async def stop(self) -> None:
        """Send every parked pilot home with no job; nothing is claimed after this."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for desk in self._desks.values():
            for wish in desk.wishes:
                if not wish.answer.done():
                    wish.answer.set_result(None)
            desk.wishes.clear()

    async def acquire(self, queue_id: int, ask: Acquire) -> Acquired:
        """A job for the pilot, or none after its ``wait_s`` (at most MAX_WAIT_S) with the reason."""
        ask = replace(ask, pilot=storable(ask.pilot), request=storable(ask.request))
        desk = self._desk(queue_id)
        wish = _Wish(ask)
        desk.wishes.append(wish)
        desk.wake.set()
        try:
            async with asyncio.timeout(min(ask.wait_s, MAX_WAIT_S) or MAX_WAIT_S):
                spec = await asyncio.shield(wish.answer)
        except TimeoutError:
            spec = await self._withdraw(desk, wish)
        except asyncio.CancelledError:  # the pilot hung up: it must not be given a job any more
            await self._withdraw(desk, wish)
            raise
        return Acquired([spec]) if spec else Acquired([], "no job is ready for this queue")

    async def _withdraw(self, desk: _Desk, wish: _Wish) -> JobSpec | None:
        """Take the wish back; one that a batch holds at this moment waits for that batch."""
        wish.leaving = True
        if wish in desk.wishes:
            desk.wishes.remove(wish)
            return None
        return await wish.answer

    def _desk(self, queue_id: int) -> _Desk:
        if queue_id not in self._desks:
            self._desks[queue_id] = _Desk()
            self._tasks.append(asyncio.create_task(self._serve(queue_id, self._desks[queue_id])))
        return self._desks[queue_id]

    async def _serve(self, queue_id: int, desk: _Desk) -> None:
        while True:
            await desk.wake.wait()
            desk.wake.clear()
            while batch := desk.take():
                try:
                    found = await self._claim(queue_id, [wish.ask for wish in batch])
                except asyncpg.UniqueViolationError:  # another server gave a job to one of these requests just now
                    desk.again(batch)
                    continue
                except Exception as error:  # whatever it was: a queue that nobody serves would stop all its pilots
                    for wish in batch:
                        if not wish.answer.done():
                            wish.answer.set_exception(error)
                    continue
                for wish in batch:
                    desk.give(wish, found.get((wish.ask.pilot, wish.ask.request)))

    async def _claim(self, queue_id: int, asks: list[Acquire]) -> dict[tuple[str, str], JobSpec]:
        async with self._pool.acquire() as conn, conn.transaction():
            rows = await conn.fetch(AGAIN, [ask.pilot for ask in asks], [ask.request for ask in asks])
            known = {(row["pilot"], row["request"]) for row in rows}
            # A request that came twice gets one job; one with no time left only asks what it may have got before.
            new = {(ask.pilot, ask.request) for ask in asks if ask.remaining_s > 0} - known
            if new:
                pilots, requests = map(list, zip(*new, strict=True))
                rows += await conn.fetch(CLAIM, queue_id, pilots, requests, self._lease_s)
            found = {(row["pilot"], row["request"]): decode(JobSpec, row["spec"]) for row in rows}
            seen = {
                ask.pilot: (storable(ask.host), found.get((ask.pilot, ask.request)))
                for ask in sorted(asks, key=lambda ask: ask.pilot)
            }
            await conn.execute(
                SEEN,
                queue_id,
                list(seen),
                [host for host, _ in seen.values()],
                [spec.job if spec else None for _, spec in seen.values()],
            )
            return found

    def _begin(self) -> None:
        for desk in self._desks.values():
            desk.ready()

    def _heard(self, payload: str) -> None:
        desk = self._desks.get(int(payload))
        if desk is not None:
            desk.ready()
