"""What was deleted lets its files go, and copies that nobody wishes for go: in bunches, and never a last copy."""

from collections.abc import Sequence
from typing import Any

import asyncpg

from . import files, history, hooks, queueing, replicas, tombstones
from .connection import Connection
from .datasets import versioned
from .models import BOOKKEEPING, Dataset

BUNCH = 5000
"""Members that leave their datasets in one transaction."""
DATASETS = 500

# People's own storages (attribute ``owner``) come and go: a copy there is no reason to delete one elsewhere.
ELSEWHERE = """
EXISTS (SELECT FROM replica o JOIN storage at ON at.id = o.storage_id
        WHERE o.file_id = r.file_id AND o.storage_id <> r.storage_id AND NOT coalesce(at.attributes ? 'owner', false))
"""
DUE = "SELECT id FROM dataset WHERE purge_at <= now() ORDER BY purge_at, id LIMIT $1"
MEMBERS = """
SELECT file_id FROM dataset_file WHERE dataset_id = ANY($1::bigint[]) ORDER BY dataset_id, file_id LIMIT $2
"""
LOCK = """
SELECT id FROM dataset WHERE id = ANY($1::bigint[]) AND purge_at <= now() ORDER BY id FOR UPDATE SKIP LOCKED
"""
LET_GO = "UPDATE dataset SET state = 'deleted' WHERE id = ANY($1::bigint[]) AND state <> 'deleted'"
LEAVE = """
DELETE FROM dataset_file WHERE dataset_id = ANY($1::bigint[]) AND file_id = ANY($2::bigint[])
RETURNING dataset_id, file_id
"""
UNCOUNT = """
UPDATE dataset d SET files = d.files - gone.files, bytes = d.bytes - gone.bytes, events = d.events - gone.events
FROM (
    SELECT dataset_id, count(*) AS files, sum(f.bytes) AS bytes, sum(f.events) AS events
    FROM unnest($1::bigint[], $2::bigint[]) AS gone (dataset_id, file_id) JOIN file f ON f.id = gone.file_id
    GROUP BY dataset_id
) gone
WHERE d.id = gone.dataset_id
"""
UNCOUNT_REPLICAS = """
UPDATE dataset_replica r SET files = r.files - gone.files, bytes = r.bytes - gone.bytes
FROM (
    SELECT r.dataset_id, r.storage_id, counted.files, counted.bytes
    FROM dataset_replica r JOIN (
        SELECT gone.dataset_id, c.storage_id, count(*) AS files, sum(f.bytes) AS bytes
        FROM unnest($1::bigint[], $2::bigint[]) AS gone (dataset_id, file_id)
        JOIN file f ON f.id = gone.file_id JOIN replica c ON c.file_id = gone.file_id
        GROUP BY gone.dataset_id, c.storage_id
    ) counted USING (dataset_id, storage_id)
    ORDER BY r.dataset_id, r.storage_id FOR UPDATE OF r
) gone
WHERE r.dataset_id = gone.dataset_id AND r.storage_id = gone.storage_id
"""
QUEUED = """
SELECT storage_id, array_agg(file_id ORDER BY file_id) AS file_ids FROM transfer
WHERE file_id = ANY($1::bigint[]) AND state = 'queued' GROUP BY storage_id ORDER BY storage_id
"""
EMPTY = """
SELECT * FROM dataset d WHERE id = ANY($1::bigint[])
  AND NOT EXISTS (SELECT FROM dataset_file m WHERE m.dataset_id = d.id)
ORDER BY id
"""
DROP_COUNTERS = "DELETE FROM dataset_replica WHERE dataset_id = ANY($1::bigint[])"
DROP_CHILDREN = "DELETE FROM dataset_child WHERE parent_id = ANY($1::bigint[])"
END_WISHES = """
UPDATE subscription SET state = 'cancelled', done_at = now() WHERE dataset_id = ANY($1::bigint[]) AND state = 'active'
"""
DONE = "UPDATE dataset SET purge_at = NULL WHERE id = ANY($1::bigint[])"
REMOVE = (
    "DELETE FROM subscription WHERE dataset_id = ANY($1::bigint[])",
    "DELETE FROM dataset WHERE id = ANY($1::bigint[])",
)
REAPABLE = """
SELECT id FROM storage s WHERE deletable
  AND EXISTS (SELECT FROM replica r WHERE r.storage_id = s.id AND r.tombstone_at <= now())
ORDER BY id
"""
STORAGE = """
SELECT deletable, capacity_bytes, min_free_bytes,
       (SELECT coalesce(sum(u.bytes), 0) FROM storage_use u WHERE u.storage_id = s.id)::bigint AS used
FROM storage s WHERE id = $1
"""
# Nobody's: the file is in no dataset.
IDLE = """
SELECT r.file_id FROM replica r
WHERE r.storage_id = $1 AND r.tombstone_at = '-infinity'
  AND NOT EXISTS (SELECT FROM dataset_file m WHERE m.file_id = r.file_id)
LIMIT $2
"""
CACHED = f"""
SELECT r.file_id, f.bytes FROM replica r JOIN file f ON f.id = r.file_id
WHERE r.storage_id = $1 AND r.tombstone_at <= now()
  AND EXISTS (SELECT FROM dataset_file m WHERE m.file_id = r.file_id)
  AND {ELSEWHERE}
ORDER BY r.tombstone_at, r.file_id LIMIT $2
"""  # noqa: S608 - text of this module
# Asked again when the files are locked. Nothing is deleted while a mover reads it.
MAY_GO = f"""
SELECT r.file_id FROM replica r
WHERE r.storage_id = $1 AND r.file_id = ANY($2::bigint[]) AND r.tombstone_at <= now() AND NOT {tombstones.WANTED}
  AND (NOT EXISTS (SELECT FROM dataset_file m WHERE m.file_id = r.file_id)
       OR {ELSEWHERE})
  AND NOT EXISTS (SELECT FROM transfer t WHERE t.file_id = r.file_id AND t.source_id = $1
                                           AND t.state = 'queued' AND t.lease_until > now())
ORDER BY r.file_id FOR UPDATE OF r
"""  # noqa: S608 - text of this module


async def purge(conn: Connection, limit: int = BUNCH) -> int:
    """Let up to ``limit`` members leave datasets whose time has come; the number of members and datasets gone.

    A dataset without members any more is done: what the system made for itself is removed with its rows.
    """
    ids = [row["id"] for row in await conn.fetch(DUE, DATASETS)]
    if not ids:
        return 0
    members = [row["file_id"] for row in await conn.fetch(MEMBERS, ids, min(limit, BUNCH))]
    await files.lock(conn, members)
    ids = [row["id"] for row in await conn.fetch(LOCK, ids)]
    await conn.execute(LET_GO, ids)
    gone = await leave(conn, ids, members)
    empty = [Dataset.model_validate(dict(row)) for row in await conn.fetch(EMPTY, ids)]
    await _end(conn, empty)
    return gone + len(empty)


async def leave(conn: Connection, dataset_ids: Sequence[int], file_ids: Sequence[int]) -> int:
    """Let files leave datasets that are open or deleted; the memberships gone. Files and datasets are locked.

    Copies that nobody wishes for any more may be deleted, and queued ones are taken back.
    """
    rows = await conn.fetch(LEAVE, dataset_ids, file_ids)
    gone = [(row["dataset_id"], row["file_id"]) for row in rows]
    if gone:
        columns = [dataset for dataset, _ in gone], [file for _, file in gone]
        await conn.execute(UNCOUNT, *columns)
        await tombstones.put(conn, gone)
        await conn.execute(UNCOUNT_REPLICAS, *columns)
        for row in await conn.fetch(QUEUED, columns[1]):
            await queueing.withdraw(conn, row["storage_id"], row["file_ids"])
    return len(gone)


async def _end(conn: Connection, empty: Sequence[Dataset]) -> None:
    """Datasets that have let everything go: the name stays taken, except what the system made for itself."""
    ids = [dataset.id for dataset in empty]
    await conn.execute(DROP_COUNTERS, ids)
    await conn.execute(DROP_CHILDREN, ids)
    await conn.execute(END_WISHES, ids)
    await conn.execute(DONE, ids)
    made = [dataset.id for dataset in empty if dataset.kind in BOOKKEEPING]
    if made and not await _remove(conn, made):
        for number in made:
            await _remove(conn, [number])
    kept = [versioned(dataset) for dataset in empty if dataset.id not in made]
    if kept:
        await history.note_many(conn, "purged", kept, "", "its files were let go")


async def _remove(conn: Connection, ids: Sequence[int | None]) -> bool:
    """Remove datasets with their rows; False, and nothing removed, if a row of somebody else's refers to one."""
    try:
        async with conn.transaction():
            for statement in REMOVE:
                await conn.execute(statement, ids)
    except asyncpg.ForeignKeyViolationError:
        return False
    return True


async def reapable(conn: Connection) -> list[int]:
    """Storages with copies whose tombstone says that they may go."""
    return [row["id"] for row in await conn.fetch(REAPABLE)]


async def reap(conn: Connection, storage_id: int, limit: int = 1000) -> int:
    """Delete up to ``limit`` copies at a storage that may go; their number. The bytes go as garbage.

    Copies of files in no dataset go when their tombstone says so. Others are a cache: they go where less than
    ``min_free_bytes`` is free, and only if there is another copy, the one that was used longest ago first. Nothing
    goes that is wished for there, that ``hooks.reads`` names (its turn comes a day later), or that is being copied
    from there.
    """
    storage = await conn.fetchrow(STORAGE, storage_id)
    if storage is None or not storage["deletable"]:
        return 0
    chosen = [row["file_id"] for row in await conn.fetch(IDLE, storage_id, limit)]
    chosen += await _for_space(conn, storage_id, storage, limit - len(chosen))
    if not chosen:
        return 0
    await files.lock(conn, chosen)
    free = [row["file_id"] for row in await conn.fetch(MAY_GO, storage_id, chosen)]
    read = await hooks.ask_reads(conn, storage_id, free)
    await tombstones.move_on(conn, [(file, storage_id) for file in read])
    gone = await replicas.remove(conn, storage_id, [file for file in free if file not in read])
    if gone:
        await conn.execute("SELECT pg_notify('prodchain_work', 'clean')")
    return len(gone)


async def _for_space(conn: Connection, storage_id: int, storage: Any, limit: int) -> list[int]:
    """Cached copies, as many as make the storage's least free space."""
    if storage["capacity_bytes"] is None or limit <= 0:
        return []
    lacking = storage["min_free_bytes"] - (storage["capacity_bytes"] - storage["used"])
    chosen = []
    for row in await conn.fetch(CACHED, storage_id, limit) if lacking > 0 else []:
        if lacking <= 0:
            break
        chosen.append(row["file_id"])
        lacking -= row["bytes"]
    return chosen
