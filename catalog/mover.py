"""The mover: takes copies that limits allow, makes them in threads, records what became of them."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from itertools import groupby
from typing import TypeAlias, TypeVar

import asyncpg

from . import badreplicas, garbage, transfers
from .connection import Connection, Pool
from .copy import Method, Outcome, Side, attempt
from .errors import BadStorage, ChecksumMismatch, FileMissing, StorageDenied, StorageFull, StorageTimeout
from .links import Link, Share
from .transfers import Copied, Failed, Leased

log = logging.getLogger("prodchain.mover")

T = TypeVar("T")
Ended: TypeAlias = tuple[Leased, Outcome]

LOOK_S = 1.0
"""How long a step waits for a copy to end before it looks for new work for its free slots."""
RECORD_S = 0.5
"""How long small files that arrived are gathered, to be recorded together."""
RECORD_TRIES = 5
SILENT_S = 300.0
"""How long nothing is deleted at a storage that did not answer."""
GONE = (asyncpg.PostgresConnectionError, asyncpg.InterfaceError, asyncpg.CannotConnectNowError, OSError)


class LeaseLost(Exception):
    """Stops a copy that is no longer this mover's."""


class Mover:
    """Makes up to ``slots`` copies at a time under leases of ``lease_s`` seconds that it keeps extending.

    A batch of small files is one copy: one thread makes them in turn, so that they share a connection.
    """

    def __init__(self, pool: Pool, worker: str, slots: int = 4, lease_s: float = 60.0) -> None:
        self._pool = pool
        self._worker = worker
        self._slots = slots
        self._lease = timedelta(seconds=lease_s)
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="copy")
        self._running: dict[asyncio.Task[None], _Batch] = {}
        self._silent: set[Link] = set()
        self._unclean: dict[int, float] = {}
        self._closing = False

    async def step(self) -> int:
        """Fill the free slots and wait until a batch ends, a second at most; the number of batches in hand.

        0 means that nothing may be copied now. A long copy does not keep short ones waiting: call again at once.
        """
        free = self._slots - len(self._running)
        if free and not self._closing:
            held = Counter(batch.link for batch in self._running.values())
            share = Share(self._slots, held, self._silent)
            leased = await self._transaction(
                lambda conn: transfers.lease(conn, self._worker, free, self._lease, share), tries=1
            )
            batches = [_Batch(list(batch)) for _, batch in groupby(leased, key=lambda each: each.batch)]
            self._running |= {asyncio.create_task(self._run(batch)): batch for batch in batches}
        in_hand = len(self._running)
        if in_hand:
            ended, _ = await asyncio.wait(self._running, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                del self._running[task]
            for task in ended:
                task.result()
        return in_hand

    async def clean(self, limit: int = 100) -> int:
        """Delete up to ``limit`` paths at each storage that are garbage; the number looked at.

        A storage that did not answer is left alone for a while, so that the others' turn comes.
        """
        count, clock = 0, asyncio.get_running_loop().time
        async with self._pool.acquire() as conn:
            due = await garbage.due(conn)
        for storage_id in due:
            if self._unclean.get(storage_id, 0.0) > clock():
                continue
            async with self._pool.acquire() as conn, conn.transaction():
                collected = await garbage.collect(conn, storage_id, limit)
            count += collected.paths
            if collected.silent:
                self._unclean[storage_id] = clock() + SILENT_S
        return count

    async def close(self) -> None:
        """Wait for the files that are being copied and record them; give back those not begun."""
        self._closing = True
        try:
            await asyncio.gather(*self._running)
        finally:
            self._threads.shutdown()

    async def _run(self, batch: "_Batch") -> None:
        """Copy the files of a batch, record them as they end, keep the lease."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Queue[Ended | None] = asyncio.Queue()

        def tell(news: Ended | None) -> None:
            loop.call_soon_threadsafe(ended.put_nowait, news)

        work = loop.run_in_executor(self._threads, batch.work, tell, lambda: self._closing)
        keeping = asyncio.create_task(self._keep(batch))
        try:
            while not batch.over:
                news = await _gather(ended, batch)
                await self._record(batch, news)
            rest = batch.not_begun()
            if rest and not batch.lost:
                ids = [each.file_id for each in rest]
                await self._transaction(lambda conn: transfers.release(conn, batch.id, ids))
        finally:
            batch.lost = True  # whatever ended this ends the thread too
            keeping.cancel()
            await work

    async def _keep(self, batch: "_Batch") -> None:
        """Extend the lease until it is lost; without a database it is lost when its time is over."""
        left = self._lease.total_seconds()
        pause = left / 3
        while left > 0:
            await asyncio.sleep(pause)
            left -= pause
            try:
                mine = await self._transaction(
                    lambda conn: transfers.extend(conn, self._worker, [batch.id], self._lease), tries=1
                )
            except GONE as error:
                log.warning("cannot extend a lease: %s", error)
                continue
            if batch.id not in mine:
                break
            left = self._lease.total_seconds()
        batch.lost = True

    async def _record(self, batch: "_Batch", news: Sequence[Ended]) -> None:
        """Write down what became of files; while the database is gone, as long as the lease lasts."""
        for transfer, outcome in news:
            if _blames_source(outcome):
                await self._persist(batch, partial(_suspect, transfer, str(outcome.error)))
        for _, outcome in news:
            (self._silent.add if isinstance(outcome.error, StorageTimeout) else self._silent.discard)(batch.link)
        first = batch.files[0]
        copies = [_copied(transfer, outcome) for transfer, outcome in news if outcome.error is None]
        failures = [_failed(transfer, outcome) for transfer, outcome in news if outcome.error is not None]
        if failures:
            await self._persist(batch, lambda conn: transfers.failed(conn, first.storage_id, batch.id, failures))
        if copies:
            await self._persist(batch, lambda conn: transfers.done(conn, first.source_id, first.storage_id, copies))

    async def _persist(self, batch: "_Batch", work: Callable[[Connection], Awaitable[object]]) -> None:
        while True:
            try:
                await self._transaction(work)
                return
            except GONE as error:
                if batch.lost:
                    raise
                log.warning("cannot record what was copied: %s", error)
                await asyncio.sleep(LOOK_S)

    async def _transaction(self, work: Callable[[Connection], Awaitable[T]], tries: int = RECORD_TRIES) -> T:
        for last in [False] * (tries - 1) + [True]:
            try:
                async with self._pool.acquire() as conn, conn.transaction():
                    return await work(conn)
            except asyncpg.DeadlockDetectedError:  # a release met another writer crosswise: this side repeats
                if last:
                    raise
        raise AssertionError("unreachable")  # pragma: no cover


class _Batch:
    """Files of one link that one thread copies in turn; ``lost`` stops it."""

    def __init__(self, files: Sequence[Leased]) -> None:
        self.files = files
        self.id = files[0].batch
        self.link: Link = (files[0].source_id, files[0].storage_id)
        self.lost = False
        self.over = False
        self._begun = 0

    def work(self, tell: Callable[[Ended | None], None], closing: Callable[[], bool]) -> None:
        """In a thread: copy one after the other, until one waited in vain: the others would too."""
        try:
            for transfer in self.files:
                if self.lost or closing():
                    return
                self._begun += 1
                outcome = self._copy(transfer)
                tell((transfer, outcome))
                if isinstance(outcome.error, StorageTimeout):
                    return
        except LeaseLost:
            log.warning("the lease of %s ran out: somebody else copies them now", self.files[0].did)
        finally:
            tell(None)

    def not_begun(self) -> Sequence[Leased]:
        return self.files[self._begun :]

    def _copy(self, transfer: Leased) -> Outcome:
        try:
            return attempt(
                transfer.source_url,
                transfer.target_url,
                transfer.bytes,
                transfer.adler32,
                told=self._told,
                first=transfer.attempts == 1,
                links=transfer.links,
            )
        except LeaseLost:
            raise
        except Exception as error:  # whatever a backend raises is this transfer's, not the mover's
            log.exception("%s", transfer.target_url)
            words = BadStorage(
                f"{type(error).__name__}: {error}", object=transfer.target_url, hint="this is a defect: report it"
            )
            return Outcome(Method.STREAM, 0, 0.0, words)

    def _told(self, _: int) -> None:
        if self.lost:
            raise LeaseLost


async def _gather(ended: "asyncio.Queue[Ended | None]", batch: _Batch) -> list[Ended]:
    """What ended within RECORD_S of the first that did."""
    news: list[Ended] = []
    latest: float | None = None
    clock = asyncio.get_running_loop().time
    while latest is None or clock() < latest:
        try:
            one = await asyncio.wait_for(ended.get(), None if latest is None else latest - clock())
        except TimeoutError:
            break
        if one is None:
            batch.over = True
            break
        news.append(one)
        latest = latest or clock() + RECORD_S
    return news


async def _suspect(transfer: Leased, words: str, conn: Connection) -> None:
    await badreplicas.suspect(conn, transfer.source_id, transfer.file_id, words)


def _copied(transfer: Leased, outcome: Outcome) -> Copied:
    method = f"{outcome.method} ({outcome.note})" if outcome.note else str(outcome.method)
    return Copied(transfer.file_id, method, outcome.bytes, outcome.seconds)


def _failed(transfer: Leased, outcome: Outcome) -> Failed:
    hopeless = isinstance(outcome.error, StorageFull | StorageDenied) and outcome.side == Side.TARGET
    return Failed(transfer.file_id, str(outcome.error), hopeless)


def _blames_source(outcome: Outcome) -> bool:
    """Whether the copy at the source is not what the catalog knows."""
    return outcome.side == Side.SOURCE and isinstance(outcome.error, FileMissing | ChecksumMismatch)
