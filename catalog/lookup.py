"""What people ask the catalog: which datasets there are, which files are in them, where copies are."""

from dataclasses import dataclass
from uuid import UUID

from . import names
from .connection import Connection
from .facets import FacetCounts as FacetCounts
from .facets import facet_counts as facet_counts
from .names import Did
from .query import Query as Query
from .search import Page as Page
from .search import Row as Row
from .search import find as find


@dataclass(frozen=True)
class FileReplica:
    storage: str
    site: str
    url: str


@dataclass(frozen=True)
class FileView:
    """A file and its verified copies; ``id`` is also the cursor of a listing."""

    id: int
    did: Did
    guid: UUID
    bytes: int
    adler32: str
    events: int
    replicas: list[FileReplica]


@dataclass(frozen=True)
class DatasetCopy:
    """How much of a dataset a storage has; of an open dataset, complete so far."""

    storage: str
    site: str
    files: int
    bytes: int
    complete: bool


FILES = """
SELECT f.*, copies.storages, copies.sites, copies.urls
FROM dataset_file m
JOIN file f ON f.id = m.file_id
CROSS JOIN LATERAL (
    SELECT array_agg(s.name ORDER BY s.name) AS storages, array_agg(s.site ORDER BY s.name) AS sites,
           array_agg(s.url ORDER BY s.name) AS urls
    FROM replica r JOIN storage s ON s.id = r.storage_id WHERE r.file_id = f.id
) copies
WHERE m.dataset_id = $1 AND m.file_id > $2
ORDER BY m.file_id LIMIT $3
"""
REPLICAS = """
SELECT s.name, s.site, r.files, r.bytes, r.files = d.files AS complete
FROM dataset_replica r JOIN storage s ON s.id = r.storage_id JOIN dataset d ON d.id = r.dataset_id
WHERE r.dataset_id = $1 AND (r.files > 0 OR d.files = 0) ORDER BY s.name
"""


async def files(conn: Connection, dataset_id: int, *, limit: int = 100, after: int = 0) -> list[FileView]:
    """Files of a dataset with their copies' URLs, in the order of their ids; ``after`` is the last id."""
    return [
        FileView(
            id=row["id"],
            did=(did := Did(row["scope"], row["name"])),
            guid=row["guid"],
            bytes=row["bytes"],
            adler32=row["adler32"],
            events=row["events"],
            replicas=[
                FileReplica(storage, site, names.url_of(url, did))
                for storage, site, url in zip(
                    row["storages"] or (), row["sites"] or (), row["urls"] or (), strict=True
                )
            ],
        )
        for row in await conn.fetch(FILES, dataset_id, after, limit)
    ]


async def replicas(conn: Connection, dataset_id: int) -> list[DatasetCopy]:
    """Where copies of a dataset are, whole or in part."""
    return [DatasetCopy(*row.values()) for row in await conn.fetch(REPLICAS, dataset_id)]
