"""Where the news of pilots come in: what comes while a transaction runs is applied by the next one, together."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import asyncpg

from prodchain.pilot_agent.messages import Answers, Updates

from . import reports
from .connections import connection
from .database import Pool
from .errors import Busy, Unavailable
from .pilots import Pilots
from .reports import FINAL, Report

BATCH = 2000
"""Updates in one transaction."""
REPORTING = 1024
"""Calls that are served at once: twice as many as ask for work, as what is done comes before what is to do."""
AWAY = (Unavailable, OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError)
"""What is the matter of no single report."""


@dataclass(eq=False)
class _Waiting:
    report: Report
    answer: "asyncio.Future[Answers]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class _Line:
    """Reports of one kind, applied batch by batch."""

    def __init__(self, pool: Pool, lease_s: float) -> None:
        self._pool = pool
        self._lease_s = lease_s
        self._waiting: list[_Waiting] = []
        self._serving: asyncio.Task[None] | None = None

    def put(self, found: Sequence[_Waiting]) -> None:
        self._waiting += found
        if self._serving is None or self._serving.done():
            self._serving = asyncio.get_running_loop().create_task(self._serve())

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

    def _take(self) -> list[_Waiting]:
        updates, number = 0, 0
        while number < len(self._waiting) and updates < BATCH:
            updates += len(self._waiting[number].report.news.updates)
            number += 1
        batch, self._waiting = self._waiting[:number], self._waiting[number:]
        return batch

    async def _apply(self, batch: Sequence[_Waiting]) -> list[Answers]:
        async with connection(self._pool) as conn, conn.transaction():
            return await reports.apply(conn, [each.report for each in batch], self._lease_s)

    async def _alone(self, batch: Sequence[_Waiting], error: Exception) -> None:
        """What went wrong may be the matter of one of them."""
        for each in batch:
            if each.answer.done():
                continue
            try:
                if len(batch) == 1 or isinstance(error, AWAY):
                    raise error
                [answer] = await self._apply([each])
            except Exception as its_own:
                each.answer.set_exception(its_own)
            else:
                each.answer.set_result(answer)


class Reports:
    """A line for what is on the way, heartbeats too, and one for what is over, which takes longer."""

    def __init__(self, pool: Pool, lease_s: float, pilots: Pilots) -> None:
        self._pilots = pilots
        self._on_the_way = _Line(pool, lease_s)
        self._over = _Line(pool, lease_s)
        self._calls = 0

    async def report(self, queue: int, news: Sequence[Updates]) -> list[Answers]:
        """The answers to each pilot's news.

        Raises BadRequest for a state that no pilot may report, Busy while too many others report.
        """
        over, found = [], []
        for each in news:
            reports.refuse(each)
            over.append(any(update.state in FINAL for update in each.updates))
            found.append(_Waiting(Report(queue, each)))
        if self._calls >= REPORTING:
            raise Busy("too many pilots report at once", object="reports", hint="repeat it in a moment")
        self._on_the_way.put([each for each, final in zip(found, over, strict=True) if not final])
        self._over.put([each for each, final in zip(found, over, strict=True) if final])
        self._calls += 1
        try:
            answers = await asyncio.gather(*(each.answer for each in found))
        finally:
            self._calls -= 1
        self._pilots.heard([each.pilot for each, final in zip(news, over, strict=True) if not final])
        self._pilots.heard([each.pilot for each, final in zip(news, over, strict=True) if final], free=True)
        return answers
