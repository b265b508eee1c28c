"""Storages, links and quotas as API, monitor and CLI show them."""

from prodchain.catalog import sites
from prodchain.catalog.models import Storage
from prodchain.catalog.names import near_misses

from .database import Connection
from .errors import NotFound
from .marks import part_of
from .task_views import View

# Both sums are kept by the statements that change them; an agent folds their rows. Whole minutes, so that a page on
# which nothing changed is not sent again all the time.
_STORAGES = """
SELECT s.name, s.site, s.url, s.kind, s.home, s.readable, s.writable, s.deletable,
       used.files, used.bytes, s.capacity_bytes, s.capacity_bytes - used.bytes AS free_bytes, s.min_free_bytes,
       moving.files AS moving_files, moving.bytes AS moving_bytes, moving.failing,
       s.max_transfers, coalesce(s.attributes, '{}') AS attributes,
       date_trunc('minute', now()) AS as_of
FROM storage s
CROSS JOIN LATERAL (
    SELECT coalesce(sum(files), 0)::bigint AS files, coalesce(sum(bytes), 0)::bigint AS bytes
    FROM storage_use WHERE storage_id = s.id) AS used
CROSS JOIN LATERAL (
    SELECT coalesce(sum(files), 0)::bigint AS files, coalesce(sum(bytes), 0)::bigint AS bytes,
           coalesce(sum(failing), 0)::bigint AS failing
    FROM transfer_count WHERE storage_id = s.id) AS moving
WHERE ($1::text IS NULL OR s.name > $1) AND ($2::text IS NULL OR s.name = $2) ORDER BY s.name LIMIT $3
"""


async def storages(conn: Connection, *, limit: int = 1000, after: str | None = None) -> tuple[list[View], str | None]:
    """``bytes`` are what it holds, ``moving`` what is on its way; free is None where no capacity is declared."""
    rows = await conn.fetch(_STORAGES, after, None, limit + 1)
    views = [dict(row) for row in rows[:limit]]
    return views, views[-1]["name"] if len(rows) > limit else None


async def storage(conn: Connection, name: str) -> View:
    await named(conn, name)
    rows = await conn.fetch(_STORAGES, None, name, 1)
    return dict(rows[0])


async def named(conn: Connection, name: str) -> Storage:
    """The storage of that name; NotFound names near misses."""
    known = {storage.name: storage for storage in await sites.storages(conn)}
    if name not in known:
        near = near_misses(name, known)
        hint = f"did you mean {' or '.join(near)}?" if near else "`prodchain storage ls` lists the storages"
        raise NotFound(f"there is no storage {name}", object=f"storage {name}", hint=hint)
    return known[name]


# Links that nobody used lately, but that are limited, are told too.
_LINKS = """
SELECT source.name AS source, target.name AS destination, coalesce(k.files, 0) AS files,
       coalesce(k.bytes, 0) AS bytes, k.bytes / nullif(k.seconds, 0) AS rate, coalesce(k.failures, 0) AS failures,
       l.max_transfers
FROM (SELECT source_id, storage_id, sum(files)::bigint AS files, sum(bytes)::bigint AS bytes,
             sum(seconds) AS seconds, sum(failures)::bigint AS failures
      FROM link WHERE hour >= date_trunc('hour', now() - $1 * interval '1 h') GROUP BY source_id, storage_id) AS k
FULL JOIN link_limit l USING (source_id, storage_id)
JOIN storage source ON source.id = source_id JOIN storage target ON target.id = storage_id
"""
LINK_H = 24
"""Hours of which the links' facts are told."""


async def links(conn: Connection, *, limit: int = 1000, after: str | None = None) -> tuple[list[View], str | None]:
    """What went from one storage to another in the last day, and what was tried in vain."""
    found = [dict(row) for row in await conn.fetch(_LINKS, LINK_H)]
    return part_of(found, ("source", "destination"), limit, after)
