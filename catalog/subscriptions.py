"""Subscriptions: wishes for complete copies; what joins an open dataset later follows by itself."""

from collections.abc import Sequence

from .connection import Connection
from .models import Subscription

LOCK_DATASET = "SELECT id FROM dataset WHERE id = $1 FOR NO KEY UPDATE"
LOCK_REPLICA = """
INSERT INTO dataset_replica (dataset_id, storage_id, files, bytes) VALUES ($1, $2, 0, 0)
ON CONFLICT (dataset_id, storage_id) DO UPDATE SET files = dataset_replica.files
"""
LACKING = """
SELECT m.file_id FROM dataset_file m
WHERE m.dataset_id = $1
  AND NOT EXISTS (SELECT FROM replica r WHERE r.file_id = m.file_id AND r.storage_id = $2)
"""
QUEUE = """
INSERT INTO transfer (file_id, storage_id, state, bytes, attempts)
SELECT f.id, $2, 'queued', f.bytes, 0 FROM file f
WHERE f.id = ANY($1::bigint[])
  AND NOT EXISTS (SELECT FROM replica r WHERE r.file_id = f.id AND r.storage_id = $2)
ORDER BY f.id
ON CONFLICT (file_id, storage_id) DO UPDATE
SET state = 'queued', attempts = 0, error = NULL, worker = NULL, source_id = NULL, lease_until = NULL,
    not_before = now(), queued_at = now(), started_at = NULL, done_at = NULL
WHERE transfer.state = 'done'
"""
INSERT = """
INSERT INTO subscription (dataset_id, storage_id, state) VALUES ($1, $2, 'active')
ON CONFLICT (dataset_id, storage_id) DO NOTHING
"""
SETTLE = """
UPDATE subscription s SET state = 'done', done_at = now()
FROM (
    SELECT s.id FROM subscription s
    JOIN dataset d ON d.id = s.dataset_id
    JOIN dataset_replica r ON r.dataset_id = s.dataset_id AND r.storage_id = s.storage_id
    WHERE s.dataset_id = ANY($1::bigint[]) AND s.state = 'active' AND d.state = 'closed' AND r.files = d.files
    ORDER BY s.id FOR UPDATE OF s
) complete
WHERE s.id = complete.id
"""
ACTIVE = "SELECT storage_id FROM subscription WHERE dataset_id = $1 AND state = 'active' ORDER BY storage_id"
GET = "SELECT * FROM subscription WHERE dataset_id = $1 AND storage_id = $2"


async def subscribe(conn: Connection, dataset_id: int, storage_id: int) -> Subscription:
    """Wish for a complete copy: queues transfers of what lacks there now. Repeating it changes nothing.

    Done when the copy is complete and the dataset closed; of an empty closed dataset at once.
    """
    # With the dataset locked no file joins it unseen; with its replica locked no arrival is counted unseen.
    await conn.execute(LOCK_DATASET, dataset_id)
    await conn.execute(LOCK_REPLICA, dataset_id, storage_id)
    lacking = [row["file_id"] for row in await conn.fetch(LACKING, dataset_id, storage_id)]
    await queue(conn, storage_id, lacking)
    await conn.execute(INSERT, dataset_id, storage_id)
    await settle(conn, [dataset_id])
    (row,) = await conn.fetch(GET, dataset_id, storage_id)
    return Subscription.model_validate(dict(row))


async def queue(conn: Connection, storage_id: int, file_ids: Sequence[int]) -> None:
    """Queue copies of the files to the storage, except those that are there; what is queued stays as it is."""
    if file_ids:
        await conn.execute(QUEUE, file_ids, storage_id)


async def follow(conn: Connection, dataset_id: int, file_ids: Sequence[int]) -> None:
    """Queue new members of a dataset to everybody who subscribes to it."""
    for row in await conn.fetch(ACTIVE, dataset_id):
        await queue(conn, row["storage_id"], file_ids)


async def settle(conn: Connection, dataset_ids: Sequence[int]) -> None:
    """End the subscriptions of closed datasets whose copy is complete."""
    await conn.execute(SETTLE, dataset_ids)
