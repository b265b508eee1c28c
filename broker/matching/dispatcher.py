"""The desks where pilots ask for work: requests are served in batches, and wait until there is work for them."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import asyncpg

from prodchain.pilot_agent.messages import Acquire, JobSpec, decode

from ..database import Connection, Pool, listen
from ..errors import BadRequest
from ..pilots import Pilots
from ..texts import storable
from . import statements
from .heads import Heads
from .match import refusal
from .rounds import Asked, offer_of, serve, told
from .statements import Queue, Standing

BATCH = 256
MAX_WAIT_S = 60.0
NAME_BYTES = 500
"""Of pilots and requests, which an index has."""
READ_S = 1.0
"""How old shares, queues and the use of slots may be; what this server gives out counts at once."""
RETRY_S = 10.0
"""When a pilot that does not wait may ask again."""


Gone: TypeAlias = Callable[[], Awaitable[object]]
"""Returns when the pilot has hung up."""


@dataclass(frozen=True)
class Given:
    """The answer to a request: jobs, as they are stored, or none and why, and after how long to ask again."""

    specs: list[str]
    reason: str = ""
    retry_after_s: float = 0.0

    def document(self) -> bytes:
        """As messages.Acquired; the jobs are put in as they are, for they were JSON when they were stored."""
        jobs = ",".join(self.specs)
        return f'{{"jobs":[{jobs}],"reason":{json.dumps(self.reason)},"retry_after_s":{self.retry_after_s}}}'.encode()

    @property
    def jobs(self) -> list[JobSpec]:
        return [decode(JobSpec, json.loads(spec)) for spec in self.specs]


@dataclass(eq=False, slots=True)
class _Wish:
    ask: Acquire
    answer: "asyncio.Future[list[str] | None]"
    """None: it is parked, and ``answer`` is a new one."""
    parked: bool = False
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
    heads: Heads = field(default_factory=Heads)
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

    def give(self, wish: _Wish, specs: list[str]) -> None:
        """Answer the wish, or park it until there are news."""
        wish.fresh = False
        if wish.answer.done():  # the pilot hung up twice; its next request finds the lease
            return
        if specs or wish.leaving or wish.ask.wait_s <= 0:
            wish.answer.set_result(specs)
            return
        self.wishes.append(wish)
        if not wish.parked:
            wish.parked = True
            first, wish.answer = wish.answer, asyncio.get_running_loop().create_future()
            first.set_result(None)

    def again(self, batch: list[_Wish]) -> None:
        for wish in batch:
            wish.fresh = True
        self.wishes += batch

    def ready(self) -> None:
        self.news += 1
        self.wake.set()


class Dispatcher:
    """Serves the requests for each queue in batches, and parks those that find nothing until work arrives.

    What comes while a batch is written is the next one. A parked request costs no database work: NOTIFY wakes its
    queue. Several servers may have one.
    """

    def __init__(self, pool: Pool, lease_s: float, pilots: Pilots | None = None) -> None:
        self._pool = pool
        self._lease_s = lease_s
        self._pilots = pilots or Pilots(pool)
        self._desks: dict[int, _Desk] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._standing = Standing([], {}, {}, {})
        self._read_at = -READ_S
        self._hears = False
        """Whether we are told of jobs that become ready."""
        self._stopped = False

    async def start(self) -> None:
        heard = listen(self._pool, "prodchain_ready", self._heard, self._begin, self._deaf)
        self._tasks.append(asyncio.create_task(heard))

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
        await self._pilots.stop()

    async def acquire(self, queue_id: int, ask: Acquire, gone: Gone | None = None) -> Given:
        """Jobs for the pilot, or none after its ``wait_s`` (at most MAX_WAIT_S) with the reason.

        Raises BadRequest where a name is too long to be kept.
        """
        _checked(ask)
        desk = self._desk(queue_id)
        wish = _Wish(ask, asyncio.get_running_loop().create_future())
        desk.wishes.append(wish)
        desk.wake.set()
        try:
            specs = await wish.answer
            if specs is None:
                specs = await self._parked(desk, wish, gone)
        except asyncio.CancelledError:  # it must not be given a job any more
            await self._withdraw(desk, wish)
            raise
        if specs:
            return Given(specs)
        return Given([], self._reason(queue_id, desk, ask), 0.0 if ask.wait_s > 0 else RETRY_S)

    async def _parked(self, desk: _Desk, wish: _Wish, gone: Gone | None) -> list[str]:
        """Wait for an answer, the end of the pilot's patience, or its hanging up: a dead one must get no job."""
        answer = wish.answer
        hung_up = asyncio.ensure_future(gone()) if gone else None
        waits: list[asyncio.Future[Any]] = [answer, hung_up] if hung_up else [answer]
        try:
            await asyncio.wait(waits, timeout=wish.ask.wait_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if hung_up:
                hung_up.cancel()
        return (answer.result() or []) if answer.done() else await self._withdraw(desk, wish)

    def _reason(self, queue_id: int, desk: _Desk, ask: Acquire) -> str:
        """From what was last seen; a sentence is worth no statement."""
        queue = self._standing.queues.get(queue_id)
        if self._stopped or queue is None:
            return "the server stops"
        if ask.remaining_s <= 0:
            return "the request had got no job before"
        lanes = desk.heads.lanes.lanes()
        waiting = max(queue.waiting, sum(len(lane.heads) for lane in lanes))
        return refusal(offer_of(ask, queue), lanes, waiting, self._standing.room(queue_id), queue.max_jobs)

    async def _withdraw(self, desk: _Desk, wish: _Wish) -> list[str]:
        """Take the wish back; one that a batch holds at this moment waits for that batch."""
        wish.leaving = True
        if wish in desk.wishes:
            desk.wishes.remove(wish)
            return []
        return await wish.answer or []

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
                    specs = await self._batch(queue_id, desk, batch)
                except asyncpg.UniqueViolationError:  # another server gave a job to one of these requests just now
                    desk.heads.changed(None)
                    desk.again(batch)
                    continue
                except asyncio.CancelledError:  # who stops us sends them home
                    desk.again(batch)
                    raise
                except Exception as error:  # whatever it was: a queue that nobody serves would stop all its pilots
                    desk.heads.changed(None)
                    for wish in batch:
                        if not wish.answer.done():
                            wish.answer.set_exception(error)
                    continue
                if not all(specs) and desk.heads.lanes.spent():
                    desk.spent = news
                for wish, each in zip(batch, specs, strict=True):
                    desk.give(wish, each)

    async def _batch(self, queue_id: int, desk: _Desk, batch: list[_Wish]) -> list[list[str]]:
        """What each wish gets: specs of jobs."""
        async with self._pool.acquire() as conn:
            standing = await self._stand(conn, queue_id)
            facts = standing.queues[queue_id]
            # A request that came twice gets its jobs once.
            asked: dict[tuple[str, str], Asked] = {}
            keys = [(wish.ask.pilot, wish.ask.request) for wish in batch]
            for key, wish in zip(keys, batch, strict=True):
                known = asked.setdefault(key, Asked(wish.ask, offer_of(wish.ask, facts), wish.fresh))
                known.fresh = known.fresh or wish.fresh
            came = [each for each in asked.values() if each.fresh]
            trusted = self._hears
            await serve(
                conn, queue_id, list(asked.values()), standing, desk.heads, lease_s=self._lease_s, trusted=trusted
            )
            self._note(queue_id, facts, asked, came)
            await self._pilots.note_new(conn)
        return [asked[key].specs for key in keys]

    def _note(self, queue_id: int, facts: Queue, asked: dict[tuple[str, str], Asked], came: list[Asked]) -> None:
        for each in {*came, *(each for each in asked.values() if each.specs)}:
            offer = told(offer_of(each.ask, facts))
            self._pilots.asked(each.ask.pilot, queue_id, each.ask.host, offer, each.jobs)

    async def _stand(self, conn: Connection, queue_id: int) -> Standing:
        now = asyncio.get_running_loop().time()
        if now - self._read_at >= READ_S or queue_id not in self._standing.queues:
            self._read_at = now
            self._standing = await statements.standing(conn)
        return self._standing

    def _begin(self) -> None:
        self._hears = True
        for desk in self._desks.values():
            desk.heads.changed(None)
            desk.ready()

    def _deaf(self) -> None:
        self._hears = False

    def _heard(self, payload: str) -> None:
        queue, *lane = map(int, payload.split())
        desk = self._desks.get(queue)
        if desk is not None:
            desk.heads.changed((lane[0], lane[1]) if lane else None)
            desk.ready()


def _checked(ask: Acquire) -> None:
    """Make it what the database takes and others bear: one that a statement fails for fails for its whole batch."""
    pilot, request = storable(ask.pilot), storable(ask.request)
    for what, name in (("pilot", pilot), ("request", request)):
        if len(name) * 4 > NAME_BYTES and len(name.encode()) > NAME_BYTES:
            raise BadRequest(
                f"the name of the {what} has more than {NAME_BYTES} bytes",
                object=name[:50],
                hint="give it a shorter name",
            )
    ask.pilot, ask.request, ask.host = pilot, request, storable(ask.host)
    ask.architecture, ask.software = storable(ask.architecture), [storable(name) for name in ask.software]
    ask.cores, ask.memory_mb = _within(ask.cores), _within(ask.memory_mb)
    ask.remaining_s, ask.wait_s = _within(ask.remaining_s), min(max(0.0, ask.wait_s), MAX_WAIT_S)
    ask.disk_mb = None if ask.disk_mb is None else _within(ask.disk_mb)
    ask.gpus = None if ask.gpus is None else _within(ask.gpus)


def _within(value: int) -> int:
    return max(0, min(value, 2**31 - 1))
