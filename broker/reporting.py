"""Where the news of pilots come in: what comes while a transaction runs is applied by the next one, together."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from typing import Generic, TypeAlias, TypeVar

import asyncpg
import msgspec

from prodchain.pilot_agent.messages import Answers, Updates

from . import leases, reports
from .connections import connection
from .database import Connection, Pool
from .errors import Busy, Unavailable
from .pilots import Pilots
from .reports import FINAL, Report

BATCH = 2000
"""Updates in one transaction."""
REPORTING = 1024
"""Calls that are served at once: twice as many as ask for work, as what is done comes before what is to do."""
KNOWN = 500_000
"""Jobs whose last news are remembered."""
AWAY = (Unavailable, OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError)
"""What is the matter of no single report."""

TEXT_BYTES = 500
"""For each job, of a text that is remembered."""

encoded = msgspec.json.Encoder().encode
_decoded = msgspec.json.Decoder(Updates, strict=False).decode
_parts = msgspec.json.Decoder(list[msgspec.Raw]).decode
_Split: TypeAlias = Callable[[], Sequence[bytes]]
_Read: TypeAlias = Callable[[], Sequence[Updates]]

_Told = TypeVar("_Told")
_Answer = TypeVar("_Answer")


def parts(body: bytes) -> list[bytes]:
    """The text of each pilot's news in a bulk call; raises what msgspec does where it is no list of standard JSON."""
    return [bytes(part) for part in _parts(body)]


class _Waiting(Generic[_Told, _Answer]):
    __slots__ = ("answer", "told", "updates")

    def __init__(self, told: _Told, updates: int) -> None:
        self.told = told
        self.updates = updates
        self.answer: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()


_Apply: TypeAlias = Callable[[Connection, list[_Told], bool], Awaitable[list[_Answer]]]
"""Takes a batch, and whether to be careful (reports.apply)."""


class _Line(Generic[_Told, _Answer]):
    """News of one kind, applied batch by batch; where one fails, one by one, and carefully.

    Two batches at once would wait for each other: their jobs fill the same datasets.
    """

    def __init__(self, pool: Pool, apply: _Apply[_Told, _Answer]) -> None:
        self._pool = pool
        self._apply_all = apply
        self._waiting: list[_Waiting[_Told, _Answer]] = []
        self._serving: asyncio.Task[None] | None = None

    def put(self, told: _Told, updates: int) -> "asyncio.Future[_Answer]":
        waiting: _Waiting[_Told, _Answer] = _Waiting(told, updates)
        self._waiting.append(waiting)
        if self._serving is None or self._serving.done():
            self._serving = asyncio.get_running_loop().create_task(self._serve())
        return waiting.answer

    async def _serve(self) -> None:
        while self._waiting:
            batch = self._take()
            try:
                answers = await self._apply(batch)
            except asyncpg.DeadlockDetectedError:  # with another server, whose batch is through now
                self._waiting[:0] = batch
                continue
            except Exception as error:  # whatever it was: nobody may wait for ever
                await self._alone(batch, error)
                continue
            for each, answer in zip(batch, answers, strict=True):
                if not each.answer.done():
                    each.answer.set_result(answer)

    def _take(self) -> list[_Waiting[_Told, _Answer]]:
        updates, number = 0, 0
        while number < len(self._waiting) and updates < BATCH:
            updates += self._waiting[number].updates
            number += 1
        batch, self._waiting = self._waiting[:number], self._waiting[number:]
        return batch

    async def _apply(self, batch: Sequence[_Waiting[_Told, _Answer]], careful: bool = False) -> list[_Answer]:
        async with connection(self._pool) as conn:
            return await self._apply_all(conn, [each.told for each in batch], careful)

    async def _alone(self, batch: Sequence[_Waiting[_Told, _Answer]], error: Exception) -> None:
        """What went wrong may be the matter of one of them."""
        for each in batch:
            if each.answer.done():
                continue
            try:
                if isinstance(error, AWAY):
                    raise error
                [answer] = await self._apply([each], careful=True)
            except asyncpg.DeadlockDetectedError:
                self._waiting.append(each)
            except Exception as its_own:
                each.answer.set_exception(its_own)
            else:
                each.answer.set_result(answer)


class _Beat(msgspec.Struct, gc=False, frozen=True):
    """News that were answered with: go on. The same text again is a heartbeat, and has the same answer."""

    queue: int
    text: bytes
    pilot: str
    jobs: tuple[int, ...]
    answer: bytes


class Reports:
    """A line for heartbeats, one for what else is on the way, and one for what is over, which takes longest.

    A heartbeat says once more, word by word, what a pilot was told to go on with; it is known by its text and is not
    read again. Which pilot and queue a job has, once it has them, and how far it came at least, never changes: only
    its lease needs to be looked at, which goes when the job ends, wherever that is decided.
    """

    def __init__(self, pool: Pool, lease_s: float, pilots: Pilots) -> None:
        self._lease_s = lease_s
        self._pilots = pilots
        self._beats = _Line(pool, self._keep)
        self._on_the_way = _Line(pool, self._apply)
        self._over = _Line(pool, self._end)
        self._said: dict[int, dict[bytes, _Beat]] = defaultdict(dict)
        """By queue and text."""
        self._last: dict[int, _Beat] = {}
        """By job."""
        self._calls = 0

    async def report(self, queue: int, split: _Split, read: _Read) -> list[bytes]:
        """The answers to each pilot's news, encoded.

        ``split`` gives each one's text, or fails; then, and where a text cannot be read, ``read`` reads all or
        refuses. Raises BadRequest for a state that no pilot may report, Busy while too many others report.
        """
        said = self._said[queue]
        try:
            texts = split()
            beats = [said.get(text) for text in texts]
            news = {place: _decoded(texts[place]) for place, beat in enumerate(beats) if beat is None}
        except msgspec.MsgspecError:
            news = dict(enumerate(read()))
            texts, beats = [b""] * len(news), [None] * len(news)
        for each in news.values():
            reports.refuse(each)
        if self._calls >= REPORTING:
            raise Busy("too many pilots report at once", object="reports", hint="repeat it in a moment")
        self._calls += 1
        try:
            await self._beat(texts, beats, news)
            told = await self._tell(queue, news) if news else {}
        finally:
            self._calls -= 1
        answers = [beat.answer if beat else b"" for beat in beats]
        for place, answer in told.items():
            answers[place] = encoded(answer)
            self._learn(queue, texts[place], news[place], answer, answers[place])
        self._pilots.heard([beat.pilot for beat in beats if beat])
        return answers

    async def _beat(self, texts: Sequence[bytes], beats: list[_Beat | None], news: dict[int, Updates]) -> None:
        """Keep the leases; where one is gone, its pilot's heartbeat becomes news, which are answered with why."""
        jobs = [job for beat in beats if beat for job in beat.jobs]
        gone = await self._beats.put(jobs, len(jobs)) if jobs else frozenset()
        if not gone:
            return
        for place, beat in enumerate(beats):
            if beat and not gone.isdisjoint(beat.jobs):
                news[place], beats[place] = _decoded(texts[place]), None

    async def _tell(self, queue: int, news: Mapping[int, Updates]) -> dict[int, Answers]:
        told: dict[int, asyncio.Future[Answers]] = {}
        free: list[str] = []
        busy: list[str] = []
        for place, each in news.items():
            line, pilots = (self._over, free) if _is_over(each) else (self._on_the_way, busy)
            told[place] = line.put(Report(queue, each), len(each.updates))
            pilots.append(each.pilot)
        if len(told) > 1:
            await asyncio.gather(*told.values())
        answers = {place: await answer for place, answer in told.items()}
        self._pilots.heard(busy)
        self._pilots.heard(free, free=True)
        return answers

    def _learn(self, queue: int, text: bytes, news: Updates, answer: Answers, encoded_answer: bytes) -> None:
        jobs = tuple(update.job for update in news.updates)
        for job in jobs:
            self._forget(job)
        goes_on = all(each.command == "continue" and not each.reason for each in answer.answers)
        says_more = _is_over(news) or any(update.log for update in news.updates)
        if not goes_on or says_more or not 0 < len(text) <= TEXT_BYTES * len(jobs):
            return
        if len(self._last) > KNOWN:
            self._last.clear()
            self._said.clear()
        beat = self._said[queue][text] = _Beat(queue, text, news.pilot, jobs, encoded_answer)
        self._last |= dict.fromkeys(jobs, beat)

    def _forget(self, job: int) -> None:
        beat = self._last.pop(job, None)
        if beat:
            self._said[beat.queue].pop(beat.text, None)

    async def _keep(self, conn: Connection, beats: list[list[int]], _: bool) -> list[Set[int]]:
        gone = await leases.keep(conn, [job for jobs in beats for job in jobs], self._lease_s)
        for job in gone:
            self._forget(job)
        return [gone] * len(beats)

    async def _end(self, conn: Connection, told: list[Report], careful: bool) -> list[Answers]:
        async with conn.transaction():
            return await self._apply(conn, told, careful)

    async def _apply(self, conn: Connection, told: list[Report], careful: bool) -> list[Answers]:
        return await reports.apply(conn, told, self._lease_s, careful=careful)


def _is_over(news: Updates) -> bool:
    return any(update.state in FINAL for update in news.updates)
