"""Keeps Rucio up to date with what our mover moves: changes wait in the table until Rucio was told of them.

Nothing waits for Rucio. While it is down, changes pile up as one row for each dataset; when it is back it is told of
what the datasets have become.
"""

import logging
import time

from ..connection import Connection, Pool
from ..errors import CatalogError
from .catalog import RucioCatalog
from .client import Client
from .export import Export

BATCH = 50
"""Datasets that are told of at a time."""
RETRY_S = (1, 5, 15, 60)
"""Pauses after failures: of Rucio as a whole in seconds, of one dataset in minutes; the last one for ever after."""

LOCK_WRITERS = "LOCK TABLE dataset, dataset_child, dataset_replica IN SHARE MODE"
SWITCH_ON = "INSERT INTO recording (url) VALUES ($1) ON CONFLICT DO NOTHING"
OTHERS = "DELETE FROM recording WHERE url <> $1"
EVERYTHING = "INSERT INTO unrecorded (dataset_id) SELECT id FROM dataset WHERE kind NOT IN ('dispatch', 'sub')"
DUE = """
SELECT DISTINCT dataset_id FROM (
    SELECT dataset_id FROM unrecorded WHERE not_before <= now() ORDER BY not_before LIMIT 10 * $1
) due LIMIT $1
"""
TAKE = """
SELECT dataset_id, array_agg(id) AS ids, max(attempts) AS attempts
FROM unrecorded WHERE dataset_id = ANY($1::bigint[]) GROUP BY dataset_id
"""
TOLD = "DELETE FROM unrecorded WHERE id = ANY($1::bigint[])"
AGAIN = """
INSERT INTO unrecorded (dataset_id, attempts, error, not_before)
VALUES ($1, $2, $3, now() + $4 * interval '1 minute')
"""
FOLD = """
DELETE FROM unrecorded u USING unrecorded newer WHERE newer.dataset_id = u.dataset_id AND newer.id > u.id
"""
ONE_RECORDER = "SELECT pg_try_advisory_lock(hashtext('prodchain recorder'))"
NO_RECORDER = "SELECT pg_advisory_unlock(hashtext('prodchain recorder'))"

log = logging.getLogger("prodchain.recorder")


async def switch(pool: Pool, url: str) -> None:
    """Let changes be noted for the Rucio of this URL from now on, and tell it of all that is there; "": no more."""
    async with pool.acquire() as conn:
        async with conn.transaction():
            await conn.execute(OTHERS, url)
            if not url:
                await conn.execute("DELETE FROM unrecorded")
                return
            if not await conn.fetchval("SELECT true FROM recording WHERE url = $1", url):
                # Who changes datasets now is waited for; who comes after us finds recording switched on.
                await conn.execute(LOCK_WRITERS)
                await conn.execute(SWITCH_ON, url)
        async with conn.transaction():
            if await conn.fetchval("UPDATE recording SET caught_up = true WHERE NOT caught_up RETURNING true"):
                await conn.execute(EVERYTHING)


class Recorder:
    """The agent. Several processes may run it: one at a time works."""

    def __init__(self, pool: Pool, client: Client) -> None:
        self._pool = pool
        self._rucio = RucioCatalog(client)
        self._failures = 0
        self._quiet_until = 0.0

    async def step(self) -> int:
        """Tell Rucio of some changed datasets; how many it was told of. What fails is tried again later."""
        if time.monotonic() < self._quiet_until:
            return 0
        async with self._pool.acquire() as conn:
            if not await conn.fetchval(ONE_RECORDER):
                return 0
            try:
                return await self._step(conn)
            finally:
                await conn.execute(NO_RECORDER)

    async def _step(self, conn: Connection) -> int:
        due = [row["dataset_id"] for row in await conn.fetch(DUE, BATCH)]
        if not due:
            return 0
        # Taken before the datasets are read: what changes from now on adds rows that stay.
        taken = {row["dataset_id"]: (row["ids"], row["attempts"]) for row in await conn.fetch(TAKE, due)}
        export = Export(self._pool, self._rucio)
        try:
            await export.prepare()
            await export.run(due)
        except CatalogError as error:
            await self._be_quiet(conn, error)
            return 0
        self._failures = 0
        failed: dict[int, list[str]] = {}
        for difference in export.report.differences:
            failed.setdefault(difference.dataset_id, []).append(f"{difference.object}: {difference.words}")
        async with conn.transaction():
            await conn.execute(TOLD, [number for ids, _ in taken.values() for number in ids])
            for dataset_id in failed.keys() & taken.keys():
                attempts = taken[dataset_id][1] + 1
                await conn.execute(AGAIN, dataset_id, attempts, "; ".join(failed[dataset_id]), _pause(attempts))
        for words in (each for some in failed.values() for each in some):
            log.warning("not recorded: %s", words)
        return len(due) - len(failed)

    async def _be_quiet(self, conn: Connection, error: CatalogError) -> None:
        self._failures += 1
        pause = _pause(self._failures)
        self._quiet_until = time.monotonic() + pause
        log.warning("Rucio is not told of changes for %s s: %s (%s)", pause, error, error.hint)
        await conn.execute(FOLD)


def _pause(failures: int) -> int:
    return RETRY_S[min(failures, len(RETRY_S)) - 1]
