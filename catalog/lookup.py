"""What people ask the catalog: which datasets there are, which files are in them, where copies are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from . import names
from .connection import Connection
from .facets import FacetCounts as FacetCounts
from .facets import facet_counts as facet_counts
from .names import Did
from .pages import Page as Page
from .pages import Row as Row
from .query import Query as Query
from .search import find as find


class FileReplica(NamedTuple):
    storage: str
    site: str
    url: str


class FileView(NamedTuple):
    """A file and its verified copies; ``id`` is also the cursor of a listing.

    A tuple, as datasets have many files: making a dataclass of each takes longer than finding them.
    """

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
SELECT f.id, f.scope, f.name, f.guid, f.bytes, f.adler32, f.events,
       (CASE WHEN at.some IS NULL THEN at.every ELSE at.every || ARRAY(
           SELECT storage_id FROM replica r WHERE r.file_id = f.id AND r.storage_id = ANY(at.some)) END)::text
           AS storages
FROM (SELECT coalesce(array_agg(r.storage_id) FILTER (WHERE r.files = d.files), '{}') AS every,
             array_agg(r.storage_id) FILTER (WHERE r.files < d.files) AS some
      FROM dataset d JOIN dataset_replica r ON r.dataset_id = d.id WHERE d.id = $1 AND r.files > 0) at
CROSS JOIN dataset_file m JOIN file f ON f.id = m.file_id
WHERE m.dataset_id = $1 AND m.file_id > $2
ORDER BY m.file_id LIMIT $3
"""
"""Copies are looked for one by one only at storages that have a part of the dataset."""
STORAGES = "SELECT id, name, site, url FROM storage WHERE id = ANY($1::smallint[]) ORDER BY name"
REPLICAS = """
SELECT s.name, s.site, r.files, r.bytes, r.files = d.files AS complete
FROM dataset_replica r JOIN storage s ON s.id = r.storage_id JOIN dataset d ON d.id = r.dataset_id
WHERE r.dataset_id = $1 AND (r.files > 0 OR d.files = 0) ORDER BY s.name
"""


async def files(conn: Connection, dataset_id: int, *, limit: int = 100, after: int = 0) -> list[FileView]:
    """Files of a dataset with their copies' URLs, in the order of their ids; ``after`` is the last id."""
    rows = await conn.fetch(FILES, dataset_id, after, limit)
    found = {row["storages"] for row in rows}  # few, however many files there are
    used = {text: [int(key) for key in text.strip("{}").split(",") if key] for text in found}
    # The text that all URLs at a storage begin with is made once, not for each copy.
    places = [
        (row["id"], row["name"], row["site"], names.url_prefix(row["url"]))
        for row in await conn.fetch(STORAGES, {key for keys in used.values() for key in keys})
    ]
    where = {text: [place for at, *place in places if at in keys] for text, keys in used.items()}
    return [_file(row, where) for row in rows]


def _file(row: Sequence[Any], where: Mapping[str, Sequence[Sequence[str]]]) -> FileView:
    key, scope, name, guid, size, adler32, events, storages = row
    did = Did(scope, name)
    path = names.path_of(did)
    copies = [FileReplica(storage, site, prefix + path) for storage, site, prefix in where[storages]]
    return FileView(key, did, guid, size, adler32, events, copies)


async def replicas(conn: Connection, dataset_id: int) -> list[DatasetCopy]:
    """Where copies of a dataset are, whole or in part."""
    return [DatasetCopy(*row.values()) for row in await conn.fetch(REPLICAS, dataset_id)]
