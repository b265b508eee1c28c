"""Where the news of pilots come in: what comes while a transaction runs is applied by the next one, together."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence, Set
from typing import Generic, TypeAlias, TypeVar

import asyncpg
import msgspec

from prodchain.pilot_agent.messages import Answer, Answers, Updates

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

GO_ON = b'{"job":%d,"command":"continue","reason":""}'
"""The answer to a heartbeat, encoded."""
encoded = msgspec.json.Encoder().encode

_Told = TypeVar("_Told")
_Answer = TypeVar("_Answer")


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
        waiting = _Waiting[_Told, _Answer](told, updates)
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


class Reports:
    """A line for heartbeats, one for what else is on the way, and one for what is over, which takes longest.

    A heartbeat says once more what a pilot was told to go on with. Which pilot and queue a job has, once it has them,
    and how far it came at least, never changes: only its lease needs to be looked at, which goes when the job ends.
    """

    def __init__(self, pool: Pool, lease_s: float, pilots: Pilots) -> None:
        self._lease_s = lease_s
        self._pilots = pilots
        self._beats = _Line(pool, self._keep)
        self._on_the_way = _Line(pool, self._apply)
        self._over = _Line(pool, self._end)
        self._said: dict[int, tuple[int, str, str]] = {}
        """By job: the queue, pilot and state of the last news that were answered with: go on."""
        self._calls = 0

    async def report(self, queue: int, news: Sequence[Updates]) -> list[bytes]:
        """The answers to each pilot's news, encoded.

        Raises BadRequest for a state that no pilot may report, Busy while too many others report.
        """
        beats = [self._beats_of(queue, each) for each in news]
        for each, jobs in zip(news, beats, strict=True):
            if not jobs:
                reports.refuse(each)
        if self._calls >= REPORTING:
            raise Busy("too many pilots report at once", object="reports", hint="repeat it in a moment")
        self._calls += 1
        try:
            return await self._answers(queue, news, beats)
        finally:
            self._calls -= 1

    def _beats_of(self, queue: int, news: Updates) -> list[int]:
        """The jobs, if all that the pilot says are heartbeats."""
        jobs, pilot, said = [], news.pilot, self._said
        for update in news.updates:
            if said.get(update.job) != (queue, pilot, update.state) or update.log:
                return []
            jobs.append(update.job)
        return jobs

    async def _answers(self, queue: int, news: Sequence[Updates], beats: Sequence[list[int]]) -> list[bytes]:
        beating = [job for jobs in beats for job in jobs]
        gone = await self._beats.put(beating, len(beating)) if beating else frozenset()
        answers: list[bytes] = []
        rest: list[tuple[int, asyncio.Future[Answers]]] = []
        living: list[str] = []
        free: list[str] = []
        for each, jobs in zip(news, beats, strict=True):
            if jobs and (not gone or gone.isdisjoint(jobs)):
                living.append(each.pilot)
                answers.append(b'{"answers":[%b]}' % b",".join([GO_ON % job for job in jobs]))
                continue
            is_over = any(update.state in FINAL for update in each.updates)
            (free if is_over else living).append(each.pilot)
            line = self._over if is_over else self._on_the_way
            rest.append((len(answers), line.put(Report(queue, each), len(each.updates))))
            answers.append(b"")
        if len(rest) > 1:
            await asyncio.gather(*(told for _, told in rest))
        for place, told in rest:
            answers[place] = encoded(await told)
        self._pilots.heard(living)
        self._pilots.heard(free, free=True)
        return answers

    async def _keep(self, conn: Connection, beats: list[list[int]], _: bool) -> list[Set[int]]:
        gone = await leases.keep(conn, [job for jobs in beats for job in jobs], self._lease_s)
        for job in gone:
            self._said.pop(job, None)
        return [gone] * len(beats)

    async def _end(self, conn: Connection, told: list[Report], careful: bool) -> list[Answers]:
        async with conn.transaction():
            return await self._apply(conn, told, careful)

    async def _apply(self, conn: Connection, told: list[Report], careful: bool) -> list[Answers]:
        answers = await reports.apply(conn, told, self._lease_s, careful=careful)
        if len(self._said) > KNOWN:
            self._said.clear()
        for report, answer in zip(told, answers, strict=True):
            for update, its_own in zip(report.news.updates, answer.answers, strict=True):
                if update.state in FINAL:
                    self._said.pop(update.job, None)
                elif its_own == Answer(update.job, "continue"):
                    self._said[update.job] = (report.queue, report.news.pilot, update.state)
        return answers
