"""Tombstones: from when on a copy may be deleted. A wish for the copy takes it away, a use moves it on.

Copies of files that are in no dataset have the time ``-infinity``, so that they are found among any number of others
that go only when space is wanted.
"""

from collections.abc import Sequence
from datetime import timedelta

from .connection import Connection

USED = timedelta(days=1)
"""How long a copy is kept after somebody began to use it: what was used last goes last."""

KEEP = """
UPDATE replica r SET tombstone_at = NULL
FROM (
    SELECT r.file_id FROM dataset_file m JOIN replica r ON r.file_id = m.file_id AND r.storage_id = $2
    WHERE m.dataset_id = $1 AND r.tombstone_at IS NOT NULL ORDER BY r.file_id FOR UPDATE OF r
) kept
WHERE r.file_id = kept.file_id AND r.storage_id = $2
"""
KEEP_FILES = """
UPDATE replica r SET tombstone_at = NULL
FROM (
    SELECT file_id FROM replica WHERE file_id = ANY($2::bigint[]) AND storage_id = $1 AND tombstone_at IS NOT NULL
    ORDER BY file_id FOR UPDATE
) kept
WHERE r.file_id = kept.file_id AND r.storage_id = $1
"""
MOVE_ON = """
UPDATE replica r SET tombstone_at = now() + $3::interval
FROM (
    SELECT DISTINCT file_id, storage_id FROM unnest($1::bigint[], $2::smallint[]) AS used (file_id, storage_id)
    JOIN replica USING (file_id, storage_id) WHERE tombstone_at > '-infinity'
) used
WHERE r.file_id = used.file_id AND r.storage_id = used.storage_id
"""
# A copy is wanted where a living dataset of its file is subscribed; ``r`` is the replica.
WANTED = """
EXISTS (
    SELECT FROM dataset_file m JOIN dataset d ON d.id = m.dataset_id
    JOIN subscription s ON s.dataset_id = m.dataset_id AND s.storage_id = r.storage_id
    WHERE m.file_id = r.file_id AND d.deleted_at IS NULL AND s.state IN ('active', 'done')
)
"""
# Of a dataset that lets files go: copies of files that are in no other, and what was brought for it alone. What was
# brought for a sub-dataset went to its destination, and stays; where the files were made, they are not wanted.
PUT = f"""
UPDATE replica r SET tombstone_at = CASE WHEN idle.nobodys THEN '-infinity' ELSE now() END
FROM (
    SELECT DISTINCT r.file_id, r.storage_id, n.nobodys
    FROM unnest($1::bigint[], $2::bigint[]) AS gone (dataset_id, file_id)
    JOIN dataset d ON d.id = gone.dataset_id JOIN replica r ON r.file_id = gone.file_id
    CROSS JOIN LATERAL (
        SELECT NOT EXISTS (SELECT FROM dataset_file m WHERE m.file_id = r.file_id) AS nobodys
    ) n
    LEFT JOIN subscription s ON s.dataset_id = d.id AND s.storage_id = r.storage_id
    WHERE n.nobodys OR r.tombstone_at IS NULL AND NOT {WANTED} AND CASE
        WHEN d.kind = 'sub' THEN s.id IS NULL
        ELSE s.id IS NOT NULL AND EXISTS (
            SELECT FROM transfer t WHERE t.file_id = r.file_id AND t.storage_id = r.storage_id)
    END
) idle
WHERE r.file_id = idle.file_id AND r.storage_id = idle.storage_id
"""  # noqa: S608 - text of this module
# Of wishes that have ended: what was brought for them, and is not wished for in another dataset. Rows that somebody
# has in hand are left alone: nobody waits here for who deletes, or the other way round.
RELEASE = f"""
UPDATE replica r SET tombstone_at = now()
FROM (
    SELECT r.file_id, r.storage_id
    FROM subscription s JOIN dataset_file m ON m.dataset_id = s.dataset_id
    JOIN replica r ON r.file_id = m.file_id AND r.storage_id = s.storage_id
    WHERE s.id = ANY($1::bigint[]) AND m.file_id = ANY($2::bigint[]) AND r.tombstone_at IS NULL AND NOT {WANTED}
      AND EXISTS (SELECT FROM transfer t WHERE t.file_id = r.file_id AND t.storage_id = r.storage_id)
    ORDER BY r.file_id, r.storage_id FOR UPDATE OF r SKIP LOCKED
) idle
WHERE r.file_id = idle.file_id AND r.storage_id = idle.storage_id
"""  # noqa: S608 - text of this module


async def keep(conn: Connection, dataset_id: int, storage_id: int) -> None:
    """A wish for a dataset at a storage: its copies there stay. Called before it looks what lacks there."""
    await conn.execute(KEEP, dataset_id, storage_id)


async def keep_files(conn: Connection, storage_id: int, file_ids: Sequence[int]) -> None:
    """The same for files that join a dataset that is wished for."""
    await conn.execute(KEEP_FILES, storage_id, file_ids)


async def move_on(conn: Connection, uses: Sequence[tuple[int, int]]) -> None:
    """Files that are about to be used, with the storages where; their rows are locked by the caller."""
    await conn.execute(MOVE_ON, [file for file, _ in uses], [storage for _, storage in uses], USED)


async def put(conn: Connection, gone: Sequence[tuple[int, int]]) -> None:
    """Datasets have let these files go: copies that nobody wishes for may be deleted from now on."""
    await conn.execute(PUT, [dataset for dataset, _ in gone], [file for _, file in gone])


async def release(conn: Connection, wish_ids: Sequence[int], file_ids: Sequence[int]) -> None:
    """These wishes have ended: copies of the files that were made for them may go when space is wanted."""
    await conn.execute(RELEASE, wish_ids, file_ids)
