"""Paths that may hold a file nobody registered: deleted when it is certain that nobody counts on them."""

import asyncio

from . import storage
from .connection import Connection
from .names import Did, url_of

DUE = """
SELECT g.id, g.storage_id, g.scope, g.name, s.url FROM garbage g JOIN storage s ON s.id = g.storage_id
WHERE g.not_before <= now()
ORDER BY g.not_before, g.id LIMIT 1 FOR UPDATE OF g SKIP LOCKED
"""
# Unlike files.lock this also blocks new transfers of the file, whose rows point to it.
LOCK_FILE = "SELECT id FROM file WHERE scope = $1 AND name = $2 FOR UPDATE"
LOCK_TRANSFER = "SELECT state = 'queued' FROM transfer WHERE file_id = $1 AND storage_id = $2 FOR UPDATE"
REGISTERED = "SELECT EXISTS (SELECT FROM replica WHERE file_id = $1 AND storage_id = $2)"
FORGET = "DELETE FROM garbage WHERE id = $1"
LATER = """
UPDATE garbage SET attempts = attempts + 1, error = $2, not_before = now() + make_interval(mins => $3) WHERE id = $1
"""
RETRY_MIN = 5


async def collect(conn: Connection) -> bool:
    """Delete the next path that is due, unless the catalog has a replica there; False if none is due.

    A path to which a transfer is under way waits. The file's row is locked until the file is gone, so that no
    replica can be registered in between.
    """
    row = await conn.fetchrow(DUE)
    if row is None:
        return False
    file_id = await conn.fetchval(LOCK_FILE, row["scope"], row["name"])
    if await conn.fetchval(LOCK_TRANSFER, file_id, row["storage_id"]):
        await conn.execute(LATER, row["id"], "a transfer to this path is under way", RETRY_MIN)
        return True
    if not await conn.fetchval(REGISTERED, file_id, row["storage_id"]):
        try:
            await asyncio.to_thread(storage.delete, url_of(row["url"], Did(row["scope"], row["name"])))
        except Exception as error:
            await conn.execute(LATER, row["id"], str(error), RETRY_MIN)
            return True
    await conn.execute(FORGET, row["id"])
    return True
