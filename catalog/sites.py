"""Sites and their storages, as the operators declare them."""

from collections.abc import Sequence
from dataclasses import dataclass

from .connection import Connection
from .errors import BadStorage
from .models import Storage, StorageKind
from .names import STORAGE_NAME_MAX


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
INSERT INTO storage (name, site, url, kind, writable, home)
SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bool[], $6::bool[])
ON CONFLICT (name) DO UPDATE SET site = excluded.site, url = excluded.url, kind = excluded.kind,
    writable = excluded.writable, home = excluded.home
"""
STORAGES = "SELECT * FROM storage ORDER BY name"
STORAGE = "SELECT * FROM storage WHERE name = $1"
USAGE = """
SELECT s.name, count(f.id) AS files, coalesce(sum(f.bytes), 0)::bigint AS bytes
FROM storage s LEFT JOIN replica r ON r.storage_id = s.id LEFT JOIN file f ON f.id = r.file_id
GROUP BY s.name
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
    )


async def storages(conn: Connection) -> list[Storage]:
    """All storages by name."""
    return [Storage.model_validate(dict(row)) for row in await conn.fetch(STORAGES)]


async def storage(conn: Connection, name: str) -> Storage:
    """The storage of that name, or BadStorage."""
    row = await conn.fetchrow(STORAGE, name)
    if row is None:
        known = ", ".join(s.name for s in await storages(conn))
        raise BadStorage(f"there is no storage {name}", object=name, hint=f"known: {known or 'none'}")
    return Storage.model_validate(dict(row))


async def usage(conn: Connection) -> dict[str, Usage]:
    """Registered files and bytes by storage name; reads every replica."""
    return {row["name"]: Usage(row["files"], row["bytes"]) for row in await conn.fetch(USAGE)}
