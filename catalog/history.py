"""What happened to datasets, files, storages and quotas, in words: kept for ever, beside what is true now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from .connection import Connection

INSERT = "INSERT INTO catalog_event (kind, object, actor, text) VALUES ($1, $2, $3, $4)"
INSERT_MANY = "INSERT INTO catalog_event (kind, object, actor, text) SELECT $1, unnest($2::text[]), $3, $4"
OF = """
SELECT id, at, kind, object, actor, text FROM catalog_event
WHERE object = $1 AND ($2::bigint IS NULL OR id < $2)
ORDER BY id DESC LIMIT $3
"""
LAST = """
SELECT id, kind, actor, text, at > now() - interval '1 hour' AS fresh FROM catalog_event
WHERE object = $1 ORDER BY id DESC LIMIT 1
"""
RETELL = "UPDATE catalog_event SET text = $2 WHERE id = $1"
RECENT = """
SELECT id, at, kind, object, actor, text FROM catalog_event
WHERE $1::bigint IS NULL OR id < $1
ORDER BY id DESC LIMIT $2
"""


@dataclass(frozen=True)
class CatalogEventView:
    """One thing that happened; ``object`` is the name of what it happened to, ``actor`` empty for the system."""

    id: int
    at: datetime
    kind: str
    object: str
    actor: str
    text: str


async def note(conn: Connection, kind: str, object: str, actor: str, text: str) -> None:  # noqa: A002
    """Keep it, in the transaction of what happened. ``kind`` is one word for it: closed, deleted, lost, quota."""
    await conn.execute(INSERT, kind, object, actor, text)


async def note_many(conn: Connection, kind: str, objects: Sequence[str], actor: str, text: str) -> None:
    """The same words of many objects."""
    await conn.execute(INSERT_MANY, kind, objects, actor, text)


async def note_added(conn: Connection, object: str, actor: str, files: int) -> None:  # noqa: A002
    """Files have joined a dataset, whose row the caller has locked: one entry for what one actor adds in an hour."""
    if files:
        last = await conn.fetchrow(LAST, object)
        if last is not None and (last["kind"], last["actor"]) == ("added", actor) and last["fresh"]:
            before = int(last["text"].split()[0])
            await conn.execute(RETELL, last["id"], f"{before + files} files in all")
        else:
            await note(conn, "added", object, actor, f"{files} files")


async def of(
    conn: Connection,
    object: str,  # noqa: A002
    limit: int = 100,
    before: int | None = None,
) -> list[CatalogEventView]:
    """What happened to one object, newest first; ``before`` is the id of the last one of the page before."""
    return [CatalogEventView(**dict(row)) for row in await conn.fetch(OF, object, before, limit)]


async def recent(conn: Connection, limit: int = 100, before: int | None = None) -> list[CatalogEventView]:
    """What happened to anything, newest first, paged in the same way."""
    return [CatalogEventView(**dict(row)) for row in await conn.fetch(RECENT, before, limit)]
