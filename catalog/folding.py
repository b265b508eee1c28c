"""What storages and owners use is kept as changes; now and then they are summed up. Readers see the same amounts."""

from .connection import Connection

LOCK = "SELECT pg_try_advisory_xact_lock(hashtext('prodchain fold use'))"
STORAGES = """
WITH old AS (
    DELETE FROM storage_use WHERE storage_id IN (
        SELECT storage_id FROM storage_use GROUP BY storage_id HAVING count(*) > 1)
    RETURNING storage_id, files, bytes
), sums AS (
    INSERT INTO storage_use (storage_id, files, bytes)
    SELECT storage_id, sum(files), sum(bytes) FROM old GROUP BY storage_id
)
SELECT count(*) FROM old
"""
OWNERS = """
WITH old AS (
    DELETE FROM owner_use WHERE (owner, storage_id) IN (
        SELECT owner, storage_id FROM owner_use GROUP BY owner, storage_id HAVING count(*) > 1)
    RETURNING owner, storage_id, bytes
), sums AS (
    INSERT INTO owner_use (owner, storage_id, bytes)
    SELECT owner, storage_id, sum(bytes) FROM old GROUP BY owner, storage_id HAVING sum(bytes) <> 0
)
SELECT count(*) FROM old
"""


async def fold(conn: Connection) -> int:
    """Sum up the changes; the number of rows that were summed, none while another process does it."""
    if not await conn.fetchval(LOCK):
        return 0
    rows: int = await conn.fetchval(STORAGES) + await conn.fetchval(OWNERS)
    return rows
