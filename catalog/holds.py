"""Holds: somebody waits for files at a storage, and is told in the transaction of the last one's arrival."""

from collections.abc import Sequence
from dataclasses import dataclass

from . import files, tombstones
from .connection import Connection


@dataclass(frozen=True)
class NewHold:
    """A wait of one holder (unique; the catalog does not read it) for files at a storage."""

    holder: str
    storage_id: int
    file_ids: Sequence[int]
    dataset_id: int | None = None


INSERT = """
INSERT INTO hold (holder, storage_id, dataset_id, missing)
SELECT holder, storage_id, dataset_id, 0
FROM unnest($1::text[], $2::smallint[], $3::bigint[]) AS wish (holder, storage_id, dataset_id)
ORDER BY holder
ON CONFLICT (holder) DO NOTHING
RETURNING id
"""
MISS = """
WITH lacking AS (
    INSERT INTO hold_file (hold_id, file_id, storage_id)
    SELECT h.id, wish.file_id, h.storage_id
    FROM unnest($2::text[], $3::bigint[]) AS wish (holder, file_id) JOIN hold h USING (holder)
    WHERE h.id = ANY($1::bigint[])
      AND NOT EXISTS (SELECT FROM replica r WHERE r.file_id = wish.file_id AND r.storage_id = h.storage_id)
    ON CONFLICT DO NOTHING
    RETURNING hold_id
)
UPDATE hold h SET missing = h.missing + counted.missing
FROM (SELECT hold_id, count(*) AS missing FROM lacking GROUP BY hold_id) counted
WHERE h.id = counted.hold_id
"""
OF = "SELECT id FROM hold WHERE holder = $1 FOR UPDATE"
MISSING = "SELECT holder, missing FROM hold WHERE holder = ANY($1::text[])"
LOCK_WAITING = """
SELECT id FROM hold
WHERE id IN (SELECT hold_id FROM hold_file WHERE storage_id = $1 AND file_id = ANY($2::bigint[]))
ORDER BY id FOR UPDATE
"""
COUNT_DOWN = """
WITH arrived AS (
    DELETE FROM hold_file
    WHERE hold_id = ANY($3::bigint[]) AND storage_id = $1 AND file_id = ANY($2::bigint[])
    RETURNING hold_id
)
UPDATE hold h SET missing = h.missing - counted.files
FROM (SELECT hold_id, count(*) AS files FROM arrived GROUP BY hold_id) counted
WHERE h.id = counted.hold_id
RETURNING h.holder, h.missing
"""
MISS_AGAIN = """
WITH wish AS (
    SELECT h.id, wish.file_id FROM unnest($2::text[], $3::bigint[]) AS wish (holder, file_id)
    JOIN hold h USING (holder) WHERE h.missing > 0 AND h.storage_id = $1
), lacking AS (
    INSERT INTO hold_file (hold_id, file_id, storage_id) SELECT id, file_id, $1 FROM wish ORDER BY id, file_id
    ON CONFLICT DO NOTHING
    RETURNING hold_id
)
UPDATE hold h SET missing = h.missing + counted.files
FROM (SELECT hold_id, count(*) AS files FROM lacking GROUP BY hold_id) counted
WHERE h.id = counted.hold_id
"""
LOCK_HOLDERS = "SELECT holder FROM hold WHERE holder = ANY($1::text[]) ORDER BY id FOR UPDATE"
DROP = "DELETE FROM hold WHERE holder = ANY($1::text[])"


async def place(
    conn: Connection, holder: str, storage_id: int, file_ids: Sequence[int], dataset_id: int | None = None
) -> int:
    """Wait for the files at the storage; the number still missing there (0: all there, and no hook is called).

    Placing again under the same holder changes nothing: for other files drop the old hold first.
    """
    return (await place_many(conn, [NewHold(holder, storage_id, file_ids, dataset_id)]))[holder]


async def place_many(conn: Connection, new: Sequence[NewHold]) -> dict[str, int]:
    """The same for many holders at once: all files are locked in one order, so bunches never deadlock."""
    # An arrival takes the same locks: it is either seen here as a replica, or sees the hold.
    await files.lock(conn, {file_id for hold in new for file_id in hold.file_ids})
    placed = await conn.fetch(
        INSERT, [h.holder for h in new], [h.storage_id for h in new], [h.dataset_id for h in new]
    )
    pairs = [(hold.holder, file_id) for hold in new for file_id in hold.file_ids]
    await conn.execute(MISS, [row["id"] for row in placed], [p[0] for p in pairs], [p[1] for p in pairs])
    await tombstones.move_on(conn, [(file_id, hold.storage_id) for hold in new for file_id in hold.file_ids])
    rows = await conn.fetch(MISSING, [h.holder for h in new])
    return {row["holder"]: row["missing"] for row in rows}


async def extend(conn: Connection, holder: str, file_ids: Sequence[int]) -> int:
    """Wait for more files under the same holder; the number still missing. The caller has locked the files."""
    rows = await conn.fetch(OF, holder)
    await conn.execute(MISS, [row["id"] for row in rows], [holder] * len(file_ids), file_ids)
    missing: int = await conn.fetchval("SELECT coalesce(sum(missing), 0) FROM hold WHERE holder = $1", holder)
    return missing


async def count_down(conn: Connection, storage_id: int, file_ids: Sequence[int]) -> list[str]:
    """Take arrived files off all holds at the storage; the holders that miss nothing any more."""
    waiting = [row["id"] for row in await conn.fetch(LOCK_WAITING, storage_id, file_ids)]
    if not waiting:
        return []
    rows = await conn.fetch(COUNT_DOWN, storage_id, file_ids, waiting)
    return sorted(row["holder"] for row in rows if row["missing"] == 0)


async def miss_again(conn: Connection, storage_id: int, waits: Sequence[tuple[str, int]]) -> None:
    """Copies are gone: put the files back on the lists of the holders that still wait there for others.

    A holder that had all its files was told so, and is not called back.
    """
    holders, file_ids = [holder for holder, _ in waits], [file_id for _, file_id in waits]
    await lock(conn, holders)
    await conn.execute(MISS_AGAIN, storage_id, holders, file_ids)


async def drop(conn: Connection, holders: Sequence[str]) -> None:
    """Let go, whether satisfied or not; unknown holders are none."""
    await lock(conn, holders)
    await conn.execute(DROP, holders)


async def lock(conn: Connection, holders: Sequence[str]) -> list[str]:
    """Keep arrivals from counting these down until the transaction ends; those that wait for files, or did."""
    return [row["holder"] for row in await conn.fetch(LOCK_HOLDERS, holders)]
