"""What a verified copy means to those that were bad: it replaces them, and a lost file is found again."""

from collections.abc import Sequence

from . import history
from .connection import Connection
from .queueing import RECOVERY, Terms, queue

OPEN = """
SELECT b.id, b.file_id, b.storage_id, b.state, f.scope || ':' || f.name AS did, f.lost_at IS NOT NULL AS lost
FROM bad_replica b JOIN file f ON f.id = b.file_id
WHERE b.file_id = ANY($1::bigint[]) AND b.state <> 'recovered' ORDER BY b.id
"""
SET = "UPDATE bad_replica SET state = $2 WHERE id = ANY($1::bigint[])"
FOUND = "UPDATE file SET lost_at = NULL WHERE id = ANY($1::bigint[])"


async def arrived(conn: Connection, storage_id: int, file_ids: Sequence[int]) -> None:
    """Copies are at the storage: bad ones there are replaced, and those of lost files elsewhere can be.

    The caller keeps the files locked.
    """
    bad = await conn.fetch(OPEN, file_ids)
    if not bad:
        return
    await conn.execute(SET, [row["id"] for row in bad if row["storage_id"] == storage_id], "recovered")
    if found := {row["file_id"]: row["did"] for row in bad if row["lost"]}:
        await conn.execute(FOUND, list(found))
        await history.note_many(conn, "found", sorted(found.values()), "", "a good copy of the lost file turned up")
    elsewhere = [row for row in bad if row["storage_id"] != storage_id and row["state"] == "lost"]
    await conn.execute(SET, [row["id"] for row in elsewhere], "recovering")
    for row in sorted(elsewhere, key=lambda row: (row["file_id"], row["storage_id"])):
        await queue(conn, row["storage_id"], [row["file_id"]], Terms(priority=RECOVERY))
