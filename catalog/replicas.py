"""Verified copies: what changes in the one transaction in which a file has arrived at a storage."""

from collections.abc import Sequence

from . import files, holds, hooks, queueing, recovery, subscriptions
from . import garbage as rubbish
from .connection import Connection

# The files are locked: nobody else records copies of them meanwhile.
INSERT = """
INSERT INTO replica (file_id, storage_id)
SELECT id, $1::smallint FROM unnest($2::bigint[]) AS wanted (id)
EXCEPT SELECT file_id, storage_id FROM replica WHERE file_id = ANY ($2) AND storage_id = $1
ORDER BY id
RETURNING file_id
"""
# The LATERAL keeps to the index, as in datasets.JOIN.
COUNT = """
INSERT INTO dataset_replica (dataset_id, storage_id, files, bytes)
SELECT m.dataset_id, $1, count(*), sum(f.bytes)
FROM dataset_file m CROSS JOIN LATERAL (SELECT bytes FROM file WHERE id = m.file_id OFFSET 0) f
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
# What waits at another storage for its next try gets it now: there is a copy more.
WAKE = """
UPDATE transfer t SET not_before = now()
FROM (
    SELECT file_id, storage_id FROM transfer
    WHERE file_id = ANY($1::bigint[]) AND state = 'queued' AND phase = 'waiting'
    ORDER BY file_id, storage_id FOR UPDATE
) waiting
WHERE t.file_id = waiting.file_id AND t.storage_id = waiting.storage_id
"""
REMOVE = """
DELETE FROM replica r
USING (
    SELECT file_id FROM replica WHERE storage_id = $1 AND file_id = ANY($2::bigint[]) ORDER BY file_id FOR UPDATE
) gone
WHERE r.storage_id = $1 AND r.file_id = gone.file_id
RETURNING r.file_id
"""
UNCOUNT = """
UPDATE dataset_replica r SET files = r.files - gone.files, bytes = r.bytes - gone.bytes
FROM (
    SELECT r.dataset_id, counted.files, counted.bytes
    FROM dataset_replica r JOIN (
        SELECT m.dataset_id, count(*) AS files, sum(f.bytes) AS bytes
        FROM dataset_file m JOIN file f ON f.id = m.file_id WHERE m.file_id = ANY($2::bigint[]) GROUP BY m.dataset_id
    ) counted USING (dataset_id)
    WHERE r.storage_id = $1 ORDER BY r.dataset_id FOR UPDATE OF r
) gone
WHERE r.dataset_id = gone.dataset_id AND r.storage_id = $1
"""
# A wish for what was there once, in a dataset that grows, was fulfilled once: it does not begin again; nor does one
# for a container because of a part that others made a wish of their own meanwhile.
WISHED = """
SELECT s.id, m.file_id, s.standing FROM dataset_file m
JOIN subscription s ON s.dataset_id = m.dataset_id AND s.storage_id = $1
JOIN dataset d ON d.id = m.dataset_id
WHERE m.file_id = ANY($2::bigint[]) AND d.deleted_at IS NULL
  AND (s.state = 'active' OR s.state = 'done' AND (s.standing OR d.state = 'closed'))
"""
WISH_AGAIN = """
UPDATE subscription s SET state = 'active', done_at = NULL
FROM (
    SELECT id FROM subscription
    WHERE state = 'done' AND id IN (
        SELECT unnest($1::bigint[])
        UNION
        SELECT p.container_id FROM subscription_part p JOIN subscription part ON part.id = p.part_id
        WHERE p.part_id = ANY($1) AND part.state = 'done'
    ) ORDER BY id FOR UPDATE
) wished
WHERE s.id = wished.id
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
        await conn.execute(WAKE, new)
        await recovery.arrived(conn, storage_id, new)  # transfers, which come before subscriptions
        await subscriptions.settle(conn, [row["dataset_id"] for row in grown])
        holders = await holds.count_down(conn, storage_id, new)
        await hooks.tell_satisfied(conn, await subscriptions.fulfilled(conn, holders))
    return new


async def remove(conn: Connection, storage_id: int, file_ids: Sequence[int], garbage: bool = True) -> list[int]:
    """Forget copies, whoever needs them; the ids of those that were here. ``garbage``: their bytes are deleted too.

    Keeps every counter. Who wished for them wishes again (a subscription that was done becomes active), who waits at
    the storage for other files waits for these too, and both have a transfer queued.
    """
    await files.lock(conn, file_ids)
    gone = [row["file_id"] for row in await conn.fetch(REMOVE, storage_id, file_ids)]
    if not gone:
        return []
    await conn.execute(UNCOUNT, storage_id, gone)
    wished = await conn.fetch(WISHED, storage_id, gone)
    waits = await hooks.tell_removed(conn, storage_id, gone)
    waits += [(subscriptions.holder(row["id"]), row["file_id"]) for row in wished if not row["standing"]]
    await conn.execute(WISH_AGAIN, [row["id"] for row in wished])
    await holds.miss_again(conn, storage_id, waits)
    await queueing.again(conn, storage_id, gone)
    if garbage:
        await rubbish.add(conn, storage_id, gone)
    return gone
