"""Sites and their storages, as the operators declare them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from datetime import datetime
from typing import Any

from .connection import Connection
from .errors import BadStorage, StorageUnknown
from .models import Storage, StorageKind
from .names import STORAGE_NAME_MAX, near_misses


@dataclass(frozen=True)
class SiteSpec:
    name: str
    description: str = ""


@dataclass(frozen=True)
class StorageSpec:
    """A storage; ``url`` is an fsspec URL that is absolute for every process of the system."""

    name: str
    site: str
    url: str
    kind: StorageKind = StorageKind.DISK
    writable: bool = True
    home: bool = False
    readable: bool = True
    deletable: bool = True
    capacity_bytes: int | None = None
    min_free_bytes: int = 0
    max_transfers: int = 8
    attributes: Mapping[str, str] = field(default_factory=dict)
    tape_api: str | None = None


@dataclass(frozen=True)
class LinkSpec:
    """The most copies at a time from one storage to another, by their names."""

    source: str
    target: str
    max_transfers: int


@dataclass(frozen=True)
class Revision:
    """One applied declaration: when, by whom, what it changed."""

    id: int
    at: datetime
    actor: str
    changes: list[str]
    text: str


@dataclass(frozen=True)
class Usage:
    files: int
    bytes: int


UPSERT_SITES = """
INSERT INTO site (name, description) SELECT * FROM unnest($1::text[], $2::text[])
ON CONFLICT (name) DO UPDATE SET description = excluded.description
"""
CLEAR_HOME = "UPDATE storage SET home = false WHERE home AND name <> ALL($1::text[])"
UPSERT_STORAGES = """
INSERT INTO storage (name, site, url, kind, writable, home, readable, deletable, capacity_bytes, min_free_bytes,
                     max_transfers, attributes, tape_api)
SELECT name, site, url, kind, writable, home, readable, deletable, capacity, min_free, transfers, attributes::jsonb,
       tape_api
FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bool[], $6::bool[], $7::bool[], $8::bool[],
            $9::bigint[], $10::bigint[], $11::int[], $12::text[], $13::text[])
     AS s (name, site, url, kind, writable, home, readable, deletable, capacity, min_free, transfers, attributes,
           tape_api)
ON CONFLICT (name) DO UPDATE SET site = excluded.site, url = excluded.url, kind = excluded.kind,
    writable = excluded.writable, home = excluded.home, readable = excluded.readable, deletable = excluded.deletable,
    capacity_bytes = excluded.capacity_bytes, min_free_bytes = excluded.min_free_bytes,
    max_transfers = excluded.max_transfers, attributes = excluded.attributes, tape_api = excluded.tape_api
"""
CLEAR_LINKS = "DELETE FROM link_limit"
LINKS = """
INSERT INTO link_limit (source_id, storage_id, max_transfers)
SELECT source.id, target.id, l.most FROM unnest($1::text[], $2::text[], $3::int[]) AS l (source, target, most)
JOIN storage source ON source.name = l.source JOIN storage target ON target.name = l.target
"""
REVISE = "INSERT INTO site_revision (actor, text, changes) VALUES ($1, $2, $3::text::jsonb)"
REVISIONS = """
SELECT id, at, actor, changes::text AS changes, text FROM site_revision
WHERE $1::bigint IS NULL OR id < $1 ORDER BY id DESC LIMIT $2
"""
STORAGES = "SELECT * FROM storage ORDER BY name"
STORAGE = "SELECT * FROM storage WHERE name = $1"
USAGE = """
SELECT s.name, coalesce(sum(u.files), 0)::bigint AS files, coalesce(sum(u.bytes), 0)::bigint AS bytes
FROM storage s LEFT JOIN storage_use u ON u.storage_id = s.id GROUP BY s.name
"""


async def upsert(conn: Connection, sites: Sequence[SiteSpec], storages: Sequence[StorageSpec]) -> None:
    """Make the tables say what is declared; what is not mentioned stays, but is no home beside a new one."""
    for long in (s.name for s in storages if len(s.name) > STORAGE_NAME_MAX):
        raise BadStorage(
            f"the name {long} has {len(long)} characters, {STORAGE_NAME_MAX} at most",
            object=long,
            hint="shorten it: it becomes part of the names of datasets",
        )
    sites = sorted(sites, key=lambda site: site.name)
    storages = sorted(storages, key=lambda storage: storage.name)
    await conn.execute(UPSERT_SITES, [s.name for s in sites], [s.description for s in sites])
    if homes := [s.name for s in storages if s.home]:
        await conn.execute(CLEAR_HOME, homes)
    await conn.execute(
        UPSERT_STORAGES,
        [s.name for s in storages],
        [s.site for s in storages],
        [s.url for s in storages],
        [s.kind for s in storages],
        [s.writable for s in storages],
        [s.home for s in storages],
        [s.readable for s in storages],
        [s.deletable for s in storages],
        [s.capacity_bytes for s in storages],
        [s.min_free_bytes for s in storages],
        [s.max_transfers for s in storages],
        [json.dumps(dict(s.attributes)) for s in storages],
        [s.tape_api for s in storages],
    )


async def limit_links(conn: Connection, links: Sequence[LinkSpec]) -> None:
    """Make these the only links with a limit of their own."""
    await conn.execute(CLEAR_LINKS)
    if links:
        await conn.execute(LINKS, *zip(*(astuple(link) for link in links), strict=True))


async def revise(conn: Connection, actor: str, text: str, changes: Sequence[str]) -> None:
    """Keep what was declared, by whom, and what it changed."""
    await conn.execute(REVISE, actor, text, json.dumps(list(changes)))


async def revisions(conn: Connection, *, limit: int = 100, before: int | None = None) -> list[Revision]:
    """What was declared, newest first; ``before`` is the last id of the page before."""
    return [
        Revision(row["id"], row["at"], row["actor"], json.loads(row["changes"]), row["text"])
        for row in await conn.fetch(REVISIONS, before, limit)
    ]


async def storages(conn: Connection) -> list[Storage]:
    """All storages by name."""
    return [_storage(row) for row in await conn.fetch(STORAGES)]


async def storage(conn: Connection, name: str) -> Storage:
    """The storage of that name; StorageUnknown names those that come near."""
    row = await conn.fetchrow(STORAGE, name)
    if row is None:
        known = [s.name for s in await storages(conn)]
        near = near_misses(name, known)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known) or 'none'}"
        raise StorageUnknown(f"there is no storage {name}", object=name, hint=hint)
    return _storage(row)


def _storage(row: Any) -> Storage:
    """Connections with a codec for JSON give attributes as a dict, others as text."""
    attributes = row["attributes"]
    return Storage.model_validate(
        dict(row) | {"attributes": json.loads(attributes) if isinstance(attributes, str) else attributes}
    )


async def usage(conn: Connection) -> dict[str, Usage]:
    """Registered copies and their bytes by storage name, from the counters."""
    return {row["name"]: Usage(row["files"], row["bytes"]) for row in await conn.fetch(USAGE)}
