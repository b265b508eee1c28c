"""Paths that may hold a file nobody registered: deleted when it is certain that nobody counts on them."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from . import storage
from .connection import Connection
from .errors import StorageTimeout
from .names import Did, url_of

ADD = """
INSERT INTO garbage (storage_id, scope, name)
SELECT $1, scope, name FROM file WHERE id = ANY($2::bigint[]) ORDER BY id
"""
DUE_AT = """
SELECT id FROM storage s
WHERE deletable AND EXISTS (SELECT FROM garbage g WHERE g.storage_id = s.id AND g.not_before <= now()) ORDER BY id
"""
DUE = """
SELECT g.id, g.scope, g.name, s.url FROM garbage g JOIN storage s ON s.id = g.storage_id
WHERE g.storage_id = $1 AND g.not_before <= now() AND s.deletable
ORDER BY g.not_before, g.id LIMIT $2 FOR UPDATE OF g SKIP LOCKED
"""
# Unlike files.lock this also blocks new transfers of the files, whose rows point to them.
LOCK_FILES = """
SELECT id FROM file
WHERE (scope, name) IN (SELECT g.scope, g.name FROM garbage g WHERE g.id = ANY($1::bigint[]))
ORDER BY id FOR UPDATE
"""
LOCK_TRANSFERS = """
SELECT g.id FROM garbage g JOIN file f USING (scope, name)
JOIN transfer t ON t.file_id = f.id AND t.storage_id = g.storage_id
WHERE g.id = ANY($1::bigint[]) AND t.state = 'queued' ORDER BY t.file_id, t.storage_id FOR UPDATE OF t
"""
REGISTERED = """
SELECT g.id FROM garbage g JOIN file f USING (scope, name)
JOIN replica r ON r.file_id = f.id AND r.storage_id = g.storage_id
WHERE g.id = ANY($1::bigint[])
"""
SPARE = """
UPDATE garbage g SET not_before = now() + $4::interval
FROM (
    SELECT id FROM garbage JOIN unnest($2::text[], $3::text[]) AS brought (scope, name) USING (scope, name)
    WHERE storage_id = $1 AND not_before < now() + $4::interval ORDER BY id FOR UPDATE OF garbage
) spared
WHERE g.id = spared.id
"""
FORGET = "DELETE FROM garbage WHERE id = ANY($1::bigint[])"
LATER = """
UPDATE garbage g SET attempts = g.attempts + 1, error = late.error, not_before = now() + make_interval(mins => $3)
FROM unnest($1::bigint[], $2::text[]) AS late (id, error) WHERE g.id = late.id
"""
RETRY_MIN = 5
AT_ONCE = 8
"""Deletions that run side by side: one takes a round trip or more, whatever the file's size."""
SPARED = timedelta(days=1)
AWAKE_S = 10.0
"""The database ends sessions that are idle in a transaction; servers may be slower than it is patient."""


class Collected(NamedTuple):
    """How many paths were looked at; ``silent``: the storage did not answer."""

    paths: int
    silent: bool


async def add(conn: Connection, storage_id: int, file_ids: Sequence[int]) -> None:
    """Let the bytes of these files be deleted at the storage, unless copies are registered there again by then."""
    await conn.execute(ADD, storage_id, file_ids)


async def spare(conn: Connection, storage_id: int, dids: Sequence[Did]) -> None:
    """Somebody has put files there that are about to be registered: what is garbage of them waits for a day."""
    await conn.execute(SPARE, storage_id, [did.scope for did in dids], [did.name for did in dids], SPARED)


async def due(conn: Connection) -> list[int]:
    """The storages with paths that are due."""
    return [row["id"] for row in await conn.fetch(DUE_AT)]


async def collect(conn: Connection, storage_id: int, limit: int = 100) -> Collected:
    """Delete the next paths at a storage that are due, unless the catalog has a replica there.

    A path to which a transfer is under way waits, as does one whose deletion failed, with the reason in words. The
    files' rows are locked until the bytes are gone, so that no replica can be registered in between.
    """
    due = {row["id"]: row for row in await conn.fetch(DUE, storage_id, limit)}
    if not due:
        return Collected(0, False)
    ids = list(due)
    await conn.execute(LOCK_FILES, ids)
    under_way = {row["id"] for row in await conn.fetch(LOCK_TRANSFERS, ids)}
    registered = {row["id"] for row in await conn.fetch(REGISTERED, ids)}
    late: dict[int, str] = dict.fromkeys(under_way, "a transfer to this path is under way")
    work = asyncio.ensure_future(_delete([row for row in due.values() if row["id"] not in under_way | registered]))
    while not (await asyncio.wait([work], timeout=AWAKE_S))[0]:
        await conn.execute("SELECT")
    errors = work.result()
    late |= {number: str(error) for number, error in errors.items()}
    await conn.execute(LATER, list(late), list(late.values()), RETRY_MIN)
    await conn.execute(FORGET, [number for number in ids if number not in late])
    return Collected(len(due), any(isinstance(error, StorageTimeout) for error in errors.values()))


async def _delete(rows: Sequence[Any]) -> dict[int, Exception]:
    """Delete the paths side by side; by id, what could not be deleted. One in vain wait is enough for all."""
    turns = asyncio.Semaphore(AT_ONCE)
    silence: list[StorageTimeout] = []

    async def one(row: Any) -> None:
        async with turns:
            if silence:
                raise silence[0]
            try:
                await asyncio.to_thread(storage.delete, url_of(row["url"], Did(row["scope"], row["name"])))
            except StorageTimeout as error:
                silence.append(error)
                raise

    results = await asyncio.gather(*map(one, rows), return_exceptions=True)
    return {row["id"]: result for row, result in zip(rows, results, strict=True) if isinstance(result, Exception)}
