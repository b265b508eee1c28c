"""The mover: takes transfers that are due, copies in threads, records what became of each."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import asyncpg

from . import garbage, transfers
from .connection import Pool
from .copy import copy
from .errors import BadStorage, CatalogError, FileMissing
from .transfers import Leased

LOOK_S = 1.0
"""How long a step waits for a copy to end before it looks for new work for its free slots."""
RECORD_TRIES = 5


class Mover:
    """Moves up to ``slots`` files at a time under leases of ``lease_s`` seconds that it keeps extending."""

    def __init__(self, pool: Pool, worker: str, slots: int = 4, lease_s: float = 60.0) -> None:
        self._pool = pool
        self._worker = worker
        self._slots = slots
        self._lease = timedelta(seconds=lease_s)
        self._threads = ThreadPoolExecutor(slots, thread_name_prefix="copy")
        self._running: set[asyncio.Task[None]] = set()

    async def step(self) -> int:
        """Fill the free slots and wait until a copy ends, a second at most; the number of copies in hand.

        0 means that nothing is due. A long copy does not keep short ones waiting: call again at once.
        """
        free = self._slots - len(self._running)
        if free:
            async with self._pool.acquire() as conn, conn.transaction():
                leased = await transfers.lease(conn, self._worker, free, self._lease)
            self._running |= {asyncio.create_task(self._run(transfer)) for transfer in leased}
        in_hand = len(self._running)
        if in_hand:
            ended, self._running = await asyncio.wait(
                self._running, timeout=LOOK_S, return_when=asyncio.FIRST_COMPLETED
            )
            for task in ended:
                task.result()
        return in_hand

    async def clean(self, limit: int = 100) -> int:
        """Delete up to ``limit`` paths that are garbage; the number looked at."""
        async with self._pool.acquire() as conn, conn.transaction():
            return await garbage.collect(conn, limit)

    async def close(self) -> None:
        """Wait for the copies in hand and record them."""
        await asyncio.gather(*self._running)
        self._threads.shutdown()

    async def _run(self, transfer: Leased) -> None:
        try:
            await self._copy(transfer)
        except Exception as error:  # whatever a backend raises is this transfer's, not the mover's
            words = str(error) if isinstance(error, CatalogError) else f"{type(error).__name__}: {error}"
            async with self._pool.acquire() as conn:
                await transfers.failed(conn, self._worker, transfer.file_id, transfer.storage_id, words)
            return
        await self._record(transfer)

    async def _copy(self, transfer: Leased) -> None:
        if not transfer.writable:
            raise BadStorage(
                f"nothing may be written to {transfer.target_url}",
                object=transfer.target_url,
                hint="set writable in the sites file",
            )
        if transfer.source_url is None:
            raise FileMissing(
                f"there is no copy of {transfer.did} at any other storage",
                object=str(transfer.did),
                hint="it may still be on its way from the job that makes it",
            )
        copying = asyncio.get_running_loop().run_in_executor(
            self._threads, copy, transfer.source_url, transfer.target_url, transfer.bytes, transfer.adler32
        )
        while not (await asyncio.wait([copying], timeout=self._lease.total_seconds() / 3))[0]:
            async with self._pool.acquire() as conn:
                await transfers.extend(conn, self._worker, transfer.file_id, transfer.storage_id, self._lease)
        copying.result()

    async def _record(self, transfer: Leased) -> None:
        for last in [False] * (RECORD_TRIES - 1) + [True]:
            try:
                async with self._pool.acquire() as conn, conn.transaction():
                    await transfers.done(conn, transfer.storage_id, [transfer.file_id])
                return
            except asyncpg.DeadlockDetectedError:  # a release met another writer crosswise: this side repeats
                if last:
                    raise
