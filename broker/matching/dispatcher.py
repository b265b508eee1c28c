"""The desks where pilots ask for work: requests are served in batches, and wait until there is work for them."""

import asyncio
from dataclasses import dataclass, field, replace

import asyncpg

from prodchain.pilot_agent.messages import Acquire, Acquired, JobSpec

from ..database import Connection, Pool, listen
from ..errors import BadRequest
from ..texts import storable
from . import statements
from .match import Lane, refusal
from .rounds import Served, offer_of, serve
from .statements import Standing

BATCH = 256
MAX_WAIT_S = 60.0
NAME_BYTES = 500
"""Of pilots and requests, which an index has."""
READ_S = 1.0
"""How old shares, queues and the use of slots may be; what this server gives out counts at once."""
RETRY_S = 10.0
"""When a pilot that does not wait may ask again."""


@dataclass
class _Wish:
    ask: Acquire
    answer: "asyncio.Future[list[JobSpec]]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    tried: int = -1
    """The news of its queue that it was last tried at."""
    fresh: bool = True
    """It may have been answered before it came here."""
    leaving: bool = False


@dataclass
class _Desk:
    """A queue's wishes; ``news`` counts the times that jobs became ready there, ``spent`` those that are used up."""

    wishes: list[_Wish] = field(default_factory=list)
    news: int = 0
    spent: int = -1
    lanes: list[Lane] = field(default_factory=list)
    """As they were last seen."""
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self) -> list[_Wish]:
        """The next batch of wishes that were not tried since the last news; where nothing is left, new ones only."""
        batch: list[_Wish] = []
        rest: list[_Wish] = []
        for wish in self.wishes:
            due = wish.fresh or (wish.tried != self.news and self.spent != self.news)
            (batch if due and len(batch) < BATCH else rest).append(wish)
        for wish in batch:
            wish.tried = self.news
        self.wishes = rest
        return batch

    def give(self, wish: _Wish, specs: list[JobSpec]) -> None:
        """Answer the wish, or park it until there are news."""
        wish.fresh = False
        if wish.answer.done():  # the pilot hung up twice; its next request finds the lease
            return
        if specs or wish.leaving or wish.ask.wait_s <= 0:
            wish.answer.set_result(specs)
        else:
            self.wishes.append(wish)

    def saw(self, served: Served, news: int) -> None:
        if served.lanes or served.spent:  # else nobody looked
            self.lanes = served.lanes
        if served.spent:
            self.spent = news

    def again(self, batch: list[_Wish]) -> None:
        for wish in batch:
            wish.fresh = True
        self.wishes += batch

    def ready(self) -> None:
        self.news += 1
        self.wake.set()


class Dispatcher:
    """Serves the requests for each queue in batches, and parks those that find nothing until work arrives.

    A parked request costs no database work: NOTIFY wakes its queue. Several servers may have one.
    """

    def __init__(self, pool: Pool, lease_s: float) -> None:
        self._pool = pool
        self._lease_s = lease_s
        self._desks: dict[int, _Desk] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._standing = Standing([], {}, {}, {})
        self._read_at = -READ_S
        self._stopped = False

    async def start(self) -> None:
        self._tasks.append(asyncio.create_task(listen(self._pool, "prodchain_ready", self._heard, self._begin)))

    async def stop(self) -> None:
        """Send every parked pilot home with no job; nothing is claimed after this."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for desk in self._desks.values():
            for wish in desk.wishes:
                if not wish.answer.done():
                    wish.answer.set_result([])
            desk.wishes.clear()

    async def acquire(self, queue_id: int, ask: Acquire) -> Acquired:
        """Jobs for the pilot, or none after its ``wait_s`` (at most MAX_WAIT_S) with the reason.

        Raises BadRequest where a name is too long to be kept.
        """
        ask = _checked(ask)
        desk = self._desk(queue_id)
        wish = _Wish(ask)
        desk.wishes.append(wish)
        desk.wake.set()
        try:
            async with asyncio.timeout(ask.wait_s or MAX_WAIT_S):
                specs = await asyncio.shield(wish.answer)
        except TimeoutError:
            specs = await self._withdraw(desk, wish)
        except asyncio.CancelledError:  # the pilot hung up: it must not be given a job any more
            await self._withdraw(desk, wish)
            raise
        if specs:
            return Acquired(specs)
        return Acquired([], self._reason(queue_id, desk, ask), 0.0 if ask.wait_s > 0 else RETRY_S)

    def _reason(self, queue_id: int, desk: _Desk, ask: Acquire) -> str:
        """From what was last seen; a sentence is worth no statement."""
        queue = self._standing.queues.get(queue_id)
        if self._stopped or queue is None:
            return "the server stops"
        if ask.remaining_s <= 0:
            return "the request had got no job before"
        waiting = max(queue.waiting, sum(len(lane.heads) for lane in desk.lanes))
        room = self._standing.room(queue_id)
        return refusal(offer_of(ask, queue), desk.lanes, waiting, room, queue.max_jobs)

    async def _withdraw(self, desk: _Desk, wish: _Wish) -> list[JobSpec]:
        """Take the wish back; one that a batch holds at this moment waits for that batch."""
        wish.leaving = True
        if wish in desk.wishes:
            desk.wishes.remove(wish)
            return []
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
                news = desk.news
                try:
                    served = await self._batch(queue_id, batch, len(desk.lanes))
                except asyncpg.UniqueViolationError:  # another server gave a job to one of these requests just now
                    desk.again(batch)
                    continue
                except asyncio.CancelledError:  # who stops us sends them home
                    desk.again(batch)
                    raise
                except Exception as error:  # whatever it was: a queue that nobody serves would stop all its pilots
                    for wish in batch:
                        if not wish.answer.done():
                            wish.answer.set_exception(error)
                    continue
                desk.saw(served, news)
                for wish in batch:
                    desk.give(wish, served.specs[wish.ask.pilot, wish.ask.request])

    async def _batch(self, queue_id: int, batch: list[_Wish], lanes: int) -> Served:
        # A request that came twice gets its jobs once.
        asks = {(wish.ask.pilot, wish.ask.request): wish.ask for wish in batch}
        fresh = {(wish.ask.pilot, wish.ask.request) for wish in batch if wish.fresh}
        async with self._pool.acquire() as conn, conn.transaction():
            standing = await self._stand(conn, queue_id)
            return await serve(
                conn, queue_id, list(asks.values()), fresh, standing, lease_s=self._lease_s, lanes=lanes
            )

    async def _stand(self, conn: Connection, queue_id: int) -> Standing:
        now = asyncio.get_running_loop().time()
        if now - self._read_at >= READ_S or queue_id not in self._standing.queues:
            self._read_at = now
            self._standing = await statements.standing(conn)
        return self._standing

    def _begin(self) -> None:
        for desk in self._desks.values():
            desk.ready()

    def _heard(self, payload: str) -> None:
        desk = self._desks.get(int(payload))
        if desk is not None:
            desk.ready()


def _checked(ask: Acquire) -> Acquire:
    """As the database takes it, and others bear it: one that a statement fails for fails for its whole batch."""
    pilot, request = storable(ask.pilot), storable(ask.request)
    for what, name in (("pilot", pilot), ("request", request)):
        if len(name.encode()) > NAME_BYTES:
            raise BadRequest(
                f"the name of the {what} has more than {NAME_BYTES} bytes",
                object=name[:50],
                hint="give it a shorter name",
            )
    return replace(
        ask,
        pilot=pilot,
        request=request,
        host=storable(ask.host),
        cores=_within(ask.cores),
        memory_mb=_within(ask.memory_mb),
        remaining_s=_within(ask.remaining_s),
        wait_s=min(max(0.0, ask.wait_s), MAX_WAIT_S),
        disk_mb=None if ask.disk_mb is None else _within(ask.disk_mb),
        gpus=None if ask.gpus is None else _within(ask.gpus),
        architecture=storable(ask.architecture),
        software=[storable(name) for name in ask.software],
    )


def _within(value: int) -> int:
    return max(0, min(value, 2**31 - 1))
