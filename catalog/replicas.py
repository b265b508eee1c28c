"""Verified copies: what changes in the one transaction in which a file has arrived at a storage."""

from collections.abc import Sequence

from . import files, holds, hooks, subscriptions
from .connection import Connection

INSERT = """
INSERT INTO replica (file_id, storage_id) SELECT unnest($2::bigint[]), $1
ON CONFLICT DO NOTHING
RETURNING file_id
"""
COUNT = """
INSERT INTO dataset_replica (dataset_id, storage_id, files, bytes)
SELECT m.dataset_id, $1, count(*), sum(f.bytes)
FROM dataset_file m JOIN file f ON f.id = m.file_id
WHERE m.file_id = ANY($2::bigint[])
GROUP BY m.dataset_id ORDER BY m.dataset_id
ON CONFLICT (dataset_id, storage_id) DO UPDATE
SET files = dataset_replica.files + excluded.files, bytes = dataset_replica.bytes + excluded.bytes
RETURNING dataset_id
"""
FINISH_TRANSFERS = """
UPDATE transfer t SET state = 'done', done_at = now(), error = NULL, lease_until = NULL
FROM (
    SELECT file_id FROM transfer
    WHERE storage_id = $1 AND file_id = ANY($2::bigint[]) AND state = 'queued'
    ORDER BY file_id FOR UPDATE
) arrived
WHERE t.storage_id = $1 AND t.file_id = arrived.file_id
"""


async def arrive(conn: Connection, storage_id: int, file_ids: Sequence[int]) -> list[int]:
    """Record verified copies; the ids of those that were new here.

    Counts datasets' replicas up, ends transfers and subscriptions, counts holds down and tells
    ``hooks.satisfied`` about those at zero. Reporting an arrival again changes nothing. Raises HookMissing.
    """
    await files.lock(conn, file_ids)
    new = [row["file_id"] for row in await conn.fetch(INSERT, storage_id, file_ids)]
    grown = await conn.fetch(COUNT, storage_id, new) if new else []
    await conn.execute(FINISH_TRANSFERS, storage_id, file_ids)
    if new:
        await subscriptions.settle(conn, [row["dataset_id"] for row in grown])
        await hooks.tell_satisfied(conn, await holds.count_down(conn, storage_id, new))
    return new
