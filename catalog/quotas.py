"""Quotas of owners and space at storages: how much is there and on its way, and whether more fits.

Each dataset is on one account: that of the group whose task made it, else its owner's. A quota at a storage bounds
what the datasets on an account have there, and what is on its way because its owner wishes for it or because it is a
dataset on the account. What the system makes for itself (dispatch, sub) is nobody's, but for outputs on their way.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from . import history
from .connection import Connection
from .errors import QuotaExceeded, StorageFull
from .models import Dataset

SET = """
INSERT INTO quota (owner, storage_id, limit_bytes) VALUES ($1, $2, $3)
ON CONFLICT (owner, storage_id) DO UPDATE SET limit_bytes = excluded.limit_bytes
"""
REMOVE = "DELETE FROM quota WHERE owner = $1 AND storage_id = $2 RETURNING true"
# Two who ask at once ask one after the other.
LOCK = "SELECT owner FROM quota WHERE owner = ANY($1::text[]) AND storage_id = $2 ORDER BY owner FOR NO KEY UPDATE"
LOCK_STORAGE = "SELECT id FROM storage WHERE id = $1 AND capacity_bytes IS NOT NULL FOR NO KEY UPDATE"
# One statement: a file that arrives meanwhile counts once. A wish for what was there misses what its hold does.
USE = """
WITH asked AS MATERIALIZED (
    SELECT q.owner, q.storage_id, q.limit_bytes, at.name FROM quota q JOIN storage at ON at.id = q.storage_id
    WHERE ($1::text[] IS NULL OR q.owner = ANY($1)) AND ($2::smallint IS NULL OR q.storage_id = $2)
), moving AS (
    SELECT payer.owner, s.storage_id,
           sum(CASE WHEN h.id IS NULL THEN d.bytes - coalesce(r.bytes, 0) ELSE
               (SELECT coalesce(sum(f.bytes), 0) FROM hold_file w JOIN file f ON f.id = w.file_id
                WHERE w.hold_id = h.id) END)::bigint AS bytes
    FROM subscription s JOIN dataset d ON d.id = s.dataset_id
    CROSS JOIN LATERAL (
        SELECT coalesce(d.charged, d.owner) AS owner UNION ALL SELECT s.owner WHERE s.owner <> d.owner
    ) payer
    LEFT JOIN dataset_replica r ON r.dataset_id = d.id AND r.storage_id = s.storage_id
    LEFT JOIN hold h ON NOT s.standing AND h.holder = 'subscription:' || s.id
    WHERE s.storage_id IN (SELECT storage_id FROM asked) AND s.state = 'active'
      AND payer.owner IN (SELECT owner FROM asked) AND d.kind <> 'container'
      AND (d.kind NOT IN ('dispatch', 'sub') OR d.charged IS NOT NULL) AND d.id <> ALL($3::bigint[])
    GROUP BY payer.owner, s.storage_id
)
SELECT q.owner, q.name AS storage, q.storage_id, q.limit_bytes AS limit,
       (SELECT coalesce(sum(u.bytes), 0)::bigint FROM owner_use u
        WHERE u.owner = q.owner AND u.storage_id = q.storage_id) AS used, coalesce(m.bytes, 0) AS moving
FROM asked q LEFT JOIN moving m USING (owner, storage_id)
ORDER BY q.owner, q.name
"""
SPACE = """
SELECT at.name, at.capacity_bytes - at.min_free_bytes AS usable,
       (SELECT coalesce(sum(u.bytes), 0)::bigint FROM storage_use u WHERE u.storage_id = at.id) AS used,
       (SELECT coalesce(sum(c.bytes), 0)::bigint FROM transfer_count c WHERE c.storage_id = at.id) AS moving
FROM storage at WHERE at.id = $1 AND at.capacity_bytes IS NOT NULL
"""
MISSING = """
SELECT coalesce(sum(d.bytes - coalesce(r.bytes, 0)), 0)::bigint FROM dataset d
LEFT JOIN dataset_replica r ON r.dataset_id = d.id AND r.storage_id = $2 WHERE d.id = ANY($1::bigint[])
"""
QUEUED = """
SELECT coalesce(sum(bytes), 0)::bigint FROM (
    SELECT DISTINCT t.file_id, t.bytes FROM dataset_file m
    JOIN transfer t ON t.file_id = m.file_id AND t.storage_id = $2 AND t.state = 'queued'
    WHERE m.dataset_id = ANY($1::bigint[])
) queued
"""
FULL = """
SELECT q.owner, q.storage_id, at.name AS storage, q.limit_bytes AS limit,
       (SELECT coalesce(sum(u.bytes), 0)::bigint FROM owner_use u
        WHERE u.owner = q.owner AND u.storage_id = q.storage_id) AS used,
       (SELECT coalesce(sum(t.bytes), 0)::bigint FROM transfer t
        WHERE t.storage_id = q.storage_id AND t.owner = q.owner
          AND t.state = 'queued' AND t.phase = 'active') AS moving
FROM quota q JOIN storage at ON at.id = q.storage_id
UNION ALL
SELECT NULL, at.id, at.name, at.capacity_bytes - at.min_free_bytes,
       (SELECT coalesce(sum(u.bytes), 0)::bigint FROM storage_use u WHERE u.storage_id = at.id),
       (SELECT coalesce(sum(t.bytes), 0)::bigint FROM transfer t
        WHERE t.storage_id = at.id AND t.state = 'queued' AND t.phase = 'active')
FROM storage at WHERE at.capacity_bytes IS NOT NULL
"""


@dataclass(frozen=True)
class QuotaUse:
    """An account's quota at a storage in bytes: what is there, and what is on its way."""

    owner: str
    storage: str
    storage_id: int
    limit: int
    used: int
    moving: int


@dataclass(frozen=True)
class Space:
    """Bytes at a storage whose capacity is known: those that may be used, are used, and are on their way."""

    storage: str
    usable: int
    used: int
    moving: int

    @property
    def free(self) -> int:
        return self.usable - self.used - self.moving


@dataclass(frozen=True)
class Room:
    """What may still be copied to a storage, for an owner or (None) for anybody, and why it is no more."""

    owner: str | None
    storage_id: int
    bytes: int
    words: str


def account(dataset: Dataset) -> str:
    """Whose quotas what the dataset has counts in."""
    return dataset.charged or dataset.owner


def payer(wisher: str, dataset: Dataset) -> str:
    """Whose quotas copies of the dataset count in while they are made, because somebody wishes for them.

    Who wishes for a dataset of their own does so for the account that it is on.
    """
    return account(dataset) if wisher == dataset.owner else wisher


def payers(wisher: str, dataset: Dataset) -> frozenset[str]:
    """All whose quotas a wish is charged to."""
    return frozenset({payer(wisher, dataset), account(dataset)})


async def set(conn: Connection, owner: str, storage_id: int, limit_bytes: int, actor: str) -> None:  # noqa: A001
    """Bound what the owner may have at the storage; what is there already stays, whatever the limit."""
    await conn.execute(SET, owner, storage_id, limit_bytes)
    await _note(conn, owner, storage_id, actor, f"{in_words(limit_bytes)} at most")


async def remove(conn: Connection, owner: str, storage_id: int, actor: str) -> bool:
    """Let the owner have any amount there; False if there was no quota."""
    gone = bool(await conn.fetchval(REMOVE, owner, storage_id))
    if gone:
        await _note(conn, owner, storage_id, actor, "no limit any more")
    return gone


async def of(conn: Connection, owner: str | None = None, storage_id: int | None = None) -> list[QuotaUse]:
    """Quotas and their use by owner and storage."""
    return await of_many(conn, None if owner is None else [owner], storage_id)


async def of_many(conn: Connection, owners: Collection[str] | None, storage_id: int | None = None) -> list[QuotaUse]:
    """The same of several owners; None: all."""
    rows = await conn.fetch(USE, owners, storage_id, [])
    return [QuotaUse(**dict(row)) for row in rows]


async def check(
    conn: Connection,
    owner: str,
    storage_id: int,
    bytes: int,  # noqa: A002
    apart_from: Sequence[int] = (),
) -> None:
    """QuotaExceeded if the owner cannot have so much more at the storage; datasets ``apart_from`` are in ``bytes``.

    Until the transaction ends nobody else is told that the same room is free.
    """
    await conn.execute(LOCK, [owner], storage_id)
    await _check(conn, {owner}, storage_id, bytes, apart_from)


async def check_space(conn: Connection, storage_id: int, bytes: int) -> None:  # noqa: A002
    """StorageFull if the storage, with what is on its way to it, does not take so much more."""
    await conn.execute(LOCK_STORAGE, storage_id)
    await _check_space(conn, storage_id, bytes)


async def check_wish(conn: Connection, dataset_ids: Sequence[int], storage_id: int, owners: Collection[str]) -> None:
    """Whether complete copies of the datasets fit, for their owners and for the storage; raises as above.

    The caller has locked the datasets, which come first.
    """
    await conn.execute(LOCK, list(owners), storage_id)
    await conn.execute(LOCK_STORAGE, storage_id)
    await fits(conn, dataset_ids, storage_id, owners)


async def fits(conn: Connection, dataset_ids: Sequence[int], storage_id: int, owners: Collection[str]) -> None:
    """The same of this moment: others may be told that the same room is free."""
    wanted: int = await conn.fetchval(MISSING, dataset_ids, storage_id)
    if not wanted:
        return
    await _check(conn, owners, storage_id, wanted, dataset_ids)
    if await conn.fetchval("SELECT capacity_bytes IS NOT NULL FROM storage WHERE id = $1", storage_id):
        room = await space(conn, storage_id)
        if room is not None and wanted > max(room.free, 0):  # else it need not be known what is on its way already
            wanted -= await conn.fetchval(QUEUED, dataset_ids, storage_id)
        await _check_space(conn, storage_id, wanted)


async def _check_space(conn: Connection, storage_id: int, bytes: int) -> None:  # noqa: A002
    room = await space(conn, storage_id)
    if room is not None and bytes > max(room.free, 0):
        raise StorageFull(
            f"{room.storage} takes {in_words(max(room.free, 0))} more, {in_words(bytes)} are needed:"
            f" {in_words(room.used)} of {in_words(room.usable)} are used, {in_words(room.moving)} on their way",
            object=room.storage,
            hint="delete what is no longer needed there, or choose another storage",
        )


async def space(conn: Connection, storage_id: int) -> Space | None:
    """How much a storage may hold, holds and is about to; None where no capacity is declared."""
    row = await conn.fetchrow(SPACE, storage_id)
    return None if row is None else Space(row["name"], row["usable"], row["used"], row["moving"])


async def room(conn: Connection) -> list[Room]:
    """How much may be copied now, with what movers have in hand; owners with quotas, storages with a capacity."""
    return [
        Room(
            row["owner"],
            row["storage_id"],
            max(row["limit"] - row["used"] - row["moving"], 0),
            (f"the quota of {row['owner']}" if row["owner"] is not None else "the space")
            + f" at {row['storage']} is used: {in_words(row['used'])} of {in_words(row['limit'])} are there,"
            f" {in_words(row['moving'])} on their way",
        )
        for row in await conn.fetch(FULL)
    ]


async def full(conn: Connection) -> dict[tuple[str | None, int], str]:
    """Why nothing more is copied to a storage, by owner (None: anybody) and storage; what is not named has room."""
    return {(each.owner, each.storage_id): each.words for each in await room(conn) if not each.bytes}


def in_words(count: float) -> str:
    """Bytes with the unit that leaves a number below 1000."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(count) < 999.95:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} PB"


async def _check(
    conn: Connection, owners: Collection[str], storage_id: int, wanted: int, apart_from: Sequence[int]
) -> None:
    for row in await conn.fetch(USE, list(owners), storage_id, apart_from):
        use = QuotaUse(**dict(row))
        if wanted > 0 and use.used + use.moving + wanted > use.limit:
            raise QuotaExceeded(
                f"{use.owner} may have {in_words(use.limit)} at {use.storage}: {in_words(use.used)} are there,"
                f" {in_words(use.moving)} on their way, {in_words(wanted)} more are wanted",
                object=f"{use.owner} at {use.storage}",
                hint="delete or cancel something there, choose another storage, or ask for a higher quota",
            )


async def _note(conn: Connection, owner: str, storage_id: int, actor: str, text: str) -> None:
    name = await conn.fetchval("SELECT name FROM storage WHERE id = $1", storage_id)
    await history.note(conn, "quota", f"{owner} at {name}", actor, text)
