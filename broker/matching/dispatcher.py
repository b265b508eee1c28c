"""The desks where pilots ask for work: requests are served in batches, and wait until there is work for them."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import asyncpg
import msgspec

from prodchain.pilot_agent.messages import Acquire, JobSpec, decode

from ..connections import connection
from ..database import Connection, Pool, listen
from ..errors import BadRequest, Busy
from ..pilots import Pilots
from ..texts import storable
from .heads import Heads
from .match import refusal
from .rounds import Asked, offer_of, serve
from .standing import Current, join

BATCH = 256
SMALL = 16
"""Whatever comes up to this is one batch; of more, half: the others are answered while the database writes these."""
WOKEN = 32
"""Of the parked ones, in a batch: most news are of a few jobs, and who gets one need not wait for all others."""
ASKING = 512
"""Requests that are not parked, at once: who comes then is served sooner by coming again."""
MAX_WAIT_S = 60.0
NAME_BYTES = 500
"""Of pilots and requests, which an index has."""
RETRY_S = 10.0
"""When a pilot that does not wait may ask again."""
LARGEST = 2**31 - 1
"""What the database takes of cores, megabytes and seconds."""
STOPS = "the server stops"
DOUBT_S = 1.0
"""After that time jobs that another transaction had locked are looked at again: it may have been rolled back."""


ANOTHER = (asyncpg.UniqueViolationError, asyncpg.DeadlockDetectedError)
"""Another server gave a job to one of these requests just now, or gives jobs to several of them."""
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
        reason = json.dumps(self.reason) if self.reason else '""'
        return f'{{"jobs":[{",".join(self.specs)}],"reason":{reason},"retry_after_s":{self.retry_after_s}}}'.encode()

    @property
    def jobs(self) -> list[JobSpec]:
        return [decode(JobSpec, json.loads(spec)) for spec in self.specs]


class _Wish(msgspec.Struct, eq=False):
    ask: Acquire
    key: tuple[str, str]
    """The same for a request that is repeated."""
    answer: "asyncio.Future[list[str] | None]"
    """None: it is parked, and ``answer`` is a new one."""
    waits: bool = False
    """Its pilot knows that it is parked."""
    fresh: bool = True
    """It may have been answered before it came here."""
    leaving: bool = False


@dataclass
class _Desk:
    """A queue's wishes; ``news`` counts the times that jobs became ready there, ``spent`` those that are used up."""

    asking: list[_Wish] = field(default_factory=list)
    parked: dict[_Wish, int] = field(default_factory=dict)
    """With the news at which they were tried last, longest ago first."""
    news: int = 0
    spent: int = -1
    served: int = 0
    """How many of those who came were in the batch before: they may come again."""
    heads: Heads = field(default_factory=Heads)
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    doubt: asyncio.TimerHandle | None = None

    def put(self, wish: _Wish) -> None:
        self.asking.append(wish)
        self.wake.set()

    def take(self) -> list[_Wish]:
        """The next batch: who asks, and who was not tried since the last news, unless nothing is left of these."""
        due: list[_Wish] = []
        for wish, tried in self.parked.items():
            if tried == self.news or self.spent == self.news or len(due) == WOKEN:
                break
            due.append(wish)
        for wish in due:
            del self.parked[wish]
        size = min(max((len(self.asking) + self.served) // 2, SMALL), BATCH - len(due))
        came, self.asking = self.asking[:size], self.asking[size:]
        self.served = len(came)
        return due + came

    def give(self, wish: _Wish, specs: list[str], news: int) -> None:
        """Answer the wish, or park it until there are others than these news."""
        wish.fresh = False
        if wish.answer.done():  # the pilot hung up twice; its next request finds the lease
            return
        if specs or wish.leaving or wish.ask.wait_s <= 0:
            wish.answer.set_result(specs)
            return
        self.parked[wish] = news
        if not wish.waits:
            wish.waits = True
            first, wish.answer = wish.answer, asyncio.get_running_loop().create_future()
            first.set_result(None)

    def again(self, batch: list[_Wish]) -> None:
        self.heads.changed(None)
        for wish in batch:
            wish.fresh = True
        self.asking += batch

    def fail(self, batch: list[_Wish], error: Exception) -> None:
        self.heads.changed(None)
        for wish in batch:
            if not wish.answer.done():
                wish.answer.set_exception(error)

    def ready(self) -> None:
        self.news += 1
        self.wake.set()

    def look_again(self) -> None:
        """At the jobs that were locked by others, once they had their time."""
        if self.doubt is None and self.heads.doubtful:
            self.doubt = asyncio.get_running_loop().call_later(DOUBT_S, self._doubt)

    def _doubt(self) -> None:
        self.doubt = None
        self.heads.trust_no_more()
        self.ready()

    def close(self) -> None:
        """Send everybody home with no job."""
        if self.doubt:
            self.doubt.cancel()
        for wish in [*self.asking, *self.parked]:
            if not wish.answer.done():
                wish.answer.set_result([])
        self.asking.clear()
        self.parked.clear()


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
        self._asking = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._current = Current(pool)
        self._hears = False
        """Whether we are told of jobs that become ready."""
        self._number: int | None = None
        """Which of the servers this is."""
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
            desk.close()
        await self._current.stop()
        await self._pilots.stop()

    async def acquire(self, queue_id: int, ask: Acquire, gone: Gone | None = None) -> Given:
        """Jobs for the pilot, or none after its ``wait_s`` (at most MAX_WAIT_S) with the reason.

        Raises BadRequest where a name is too long to be kept, Busy while too many others ask.
        """
        _checked(ask)
        if self._stopped:
            return Given([], STOPS, 0.0 if ask.wait_s > 0 else RETRY_S)
        desk = self._desk(queue_id)
        specs = await self._ask(desk, ask, gone)
        if specs:
            return Given(specs)
        return Given([], self._reason(queue_id, desk, ask), 0.0 if ask.wait_s > 0 else RETRY_S)

    async def _ask(self, desk: _Desk, ask: Acquire, gone: Gone | None) -> list[str]:
        if self._asking >= ASKING:
            raise Busy(
                "too many pilots ask for work at once", object="requests for work", hint="ask again in a moment"
            )
        wish = _Wish(ask, (ask.pilot, ask.request), asyncio.get_running_loop().create_future())
        desk.put(wish)
        self._asking += 1
        try:
            specs = await wish.answer
        except asyncio.CancelledError:  # it must not be given a job any more
            await self._withdraw(desk, wish)
            raise
        finally:
            self._asking -= 1
        return await self._parked(desk, wish, gone) if specs is None else specs

    async def _parked(self, desk: _Desk, wish: _Wish, gone: Gone | None) -> list[str]:
        """Wait for an answer, the end of the pilot's patience, or its hanging up: a dead one must get no job."""
        answer = wish.answer
        hung_up = asyncio.ensure_future(gone()) if gone else None
        waits: list[asyncio.Future[Any]] = [answer, hung_up] if hung_up else [answer]
        try:
            await asyncio.wait(waits, timeout=wish.ask.wait_s, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            await self._withdraw(desk, wish)
            raise
        finally:
            if hung_up:
                hung_up.cancel()
        return (answer.result() or []) if answer.done() else await self._withdraw(desk, wish)

    def _reason(self, queue_id: int, desk: _Desk, ask: Acquire) -> str:
        """From what was last seen; a sentence is worth no statement."""
        now = self._current.standing
        queue = now.queues.get(queue_id)
        if self._stopped or queue is None:
            return STOPS
        if ask.remaining_s <= 0:
            return "the request had got no job before"
        lanes = desk.heads.lanes.lanes()
        waiting = max(queue.waiting, sum(len(lane.heads) for lane in lanes))
        return refusal(offer_of(ask, queue), lanes, waiting, now.room(queue_id), queue.max_jobs)

    async def _withdraw(self, desk: _Desk, wish: _Wish) -> list[str]:
        """Take the wish back; one that a batch holds at this moment waits for that batch."""
        wish.leaving = True
        if desk.parked.pop(wish, None) is not None:
            return []
        if wish in desk.asking:
            desk.asking.remove(wish)
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
                except ANOTHER:
                    desk.again(batch)
                    continue
                except asyncio.CancelledError:  # who stops us sends them home
                    desk.again(batch)
                    raise
                except Exception as error:  # whatever it was: a queue that nobody serves would stop all its pilots
                    desk.fail(batch, error)
                    continue
                if not all(specs) and desk.heads.lanes.spent():
                    desk.spent = news
                for wish, each in zip(batch, specs, strict=True):
                    desk.give(wish, each, news)
                desk.look_again()

    async def _batch(self, queue_id: int, desk: _Desk, batch: list[_Wish]) -> list[list[str]]:
        """What each wish gets: specs of jobs."""
        async with connection(self._pool) as conn:
            now = await self._current.of(conn, queue_id)
            facts = now.queues[queue_id]
            # A request that came twice gets its jobs once.
            asked: dict[tuple[str, str], Asked] = {}
            for wish in batch:
                known = asked.get(wish.key)
                if known is None:
                    offer = offer_of(wish.ask, facts)
                    known = asked[wish.key] = Asked(wish.ask, offer, offer)
                known.fresh = known.came = known.fresh or wish.fresh
            desk.heads.divide(*self._part(now.servers))
            wishes, trusted = list(asked.values()), self._hears
            await serve(conn, queue_id, wishes, self._current, desk.heads, lease_s=self._lease_s, trusted=trusted)
            for each in wishes:
                if each.came or each.specs:
                    self._pilots.asked(each.ask.pilot, queue_id, each.ask.host, each.whole, each.jobs)
            await self._pilots.note_new(conn)
        return [asked[wish.key].specs for wish in batch]

    def _part(self, servers: list[int]) -> tuple[int, int]:
        return (servers.index(self._number), len(servers)) if self._number in servers else (0, 1)

    async def _begin(self, conn: Connection) -> None:
        self._number = await join(conn)
        self._hears = True
        for desk in self._desks.values():
            desk.heads.changed(None)
            desk.ready()

    def _deaf(self) -> None:
        self._hears, self._number = False, None

    def _heard(self, payload: str) -> None:
        queue, *lane = map(int, payload.split())
        desk = self._desks.get(queue)
        if desk is not None:
            desk.heads.changed((lane[0], lane[1]) if lane else None)
            desk.ready()


def _checked(ask: Acquire) -> None:
    """Make it what the database takes and others bear: one that a statement fails for fails for its whole batch."""
    texts = "".join((ask.pilot, ask.request, ask.host, ask.architecture, *ask.software))
    if not (texts.isascii() and len(texts) < NAME_BYTES) or "\0" in texts:
        _check_texts(ask)
    disk_mb, gpus = ask.disk_mb or 0, ask.gpus or 0
    amounts = ask.cores, ask.memory_mb, ask.remaining_s, disk_mb, gpus
    if min(amounts) < 0 or max(amounts) > LARGEST:
        ask.cores, ask.memory_mb, ask.remaining_s, disk_mb, gpus = (max(0, min(n, LARGEST)) for n in amounts)
        ask.disk_mb = None if ask.disk_mb is None else disk_mb
        ask.gpus = None if ask.gpus is None else gpus
    ask.wait_s = min(max(0.0, ask.wait_s), MAX_WAIT_S)


def _check_texts(ask: Acquire) -> None:
    pilot, request = storable(ask.pilot), storable(ask.request)
    for what, name in (("pilot", pilot), ("request", request)):
        if len(name.encode()) > NAME_BYTES:
            raise BadRequest(
                f"the name of the {what} has more than {NAME_BYTES} bytes",
                object=name[:50],
                hint="give it a shorter name",
            )
    ask.pilot, ask.request, ask.host = pilot, request, storable(ask.host)
    ask.architecture, ask.software = storable(ask.architecture), [storable(name) for name in ask.software]
