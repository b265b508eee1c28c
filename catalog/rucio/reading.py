"""What the export reads of our catalog, in Rucio's words."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from .. import names
from ..connection import Connection, Pool
from ..files import NewFile
from ..models import BOOKKEEPING, Dataset, DatasetKind, DatasetState
from ..names import Did

SLICE = 200
"""Files in one call: Rucio updates the metadata of each by statements of its own, 8 ms a key."""

DATASETS = "SELECT * FROM dataset WHERE id = ANY($1::bigint[]) ORDER BY id"
CHILDREN = """
SELECT c.parent_id, d.* FROM dataset_child c JOIN dataset d ON d.id = c.child_id
WHERE c.parent_id = ANY($1::bigint[]) ORDER BY c.parent_id, d.id
"""
TAKEN = """
SELECT d.scope, d.name FROM unnest($1::text[], $2::text[]) AS wanted (scope, name)
JOIN dataset d ON (d.scope, d.name, d.version) = (wanted.scope, wanted.name, 1)
"""
MEMBERS = """
SELECT f.id, f.scope, f.name, f.guid, f.bytes, f.adler32, f.md5, f.events,
       array(SELECT r.storage_id FROM replica r WHERE r.file_id = f.id ORDER BY r.storage_id) AS storages
FROM dataset_file m JOIN file f ON f.id = m.file_id
WHERE m.dataset_id = $1 AND m.file_id > $2
ORDER BY m.file_id LIMIT $3
"""
MATCHING = """
SELECT id FROM dataset
WHERE id > $1 AND name LIKE $2 AND scope LIKE $3 AND (state <> 'deleted') AND ($4 OR kind <> ALL($5::text[]))
ORDER BY id LIMIT 200
"""
COLUMNS = {
    "project": ("project", 50),
    "number": ("run_number", 10),
    "physics": ("stream_name", 70),
    "step": ("prod_step", 50),
    "format": ("datatype", 50),
    "tags": ("version", 50),
}
"""Our fields of the nomenclature -> Rucio's columns and how long they are; what is longer is left out."""


@dataclass(frozen=True)
class Source:
    """A dataset or container, as Rucio is to know it."""

    dataset: Dataset
    did: Did

    @property
    def container(self) -> bool:
        return self.dataset.kind == DatasetKind.CONTAINER

    @property
    def open(self) -> bool:
        return self.dataset.state == DatasetState.OPEN

    @property
    def ends_at(self) -> datetime | None:
        """When it goes away: its end of life, or that of the grace after it was deleted."""
        return self.dataset.purge_at or self.dataset.deleted_at or self.dataset.expires_at

    def new(self) -> dict[str, Any]:
        """The document that makes it in Rucio."""
        fields: dict[str, Any] = {
            "scope": self.did.scope,
            "name": self.did.name,
            "type": "CONTAINER" if self.container else "DATASET",
            "meta": self._meta(),
        }
        if self.ends_at is not None:
            fields["lifetime"] = lifetime(self.ends_at)
        return fields

    def _meta(self) -> dict[str, Any]:
        values = {field: getattr(self.dataset, field) or "" for field in COLUMNS}
        meta: dict[str, Any] = {
            column: int(values[field]) if field == "number" else values[field]
            for field, (column, longest) in COLUMNS.items()
            if 0 < len(values[field]) <= longest
        }
        meta |= {"kind": str(self.dataset.kind), "owner": self.dataset.owner}
        return meta | ({"meta": self.dataset.meta} if self.dataset.meta else {})


@dataclass(frozen=True)
class Member:
    """A file of a dataset, and the ids of the storages that have it."""

    file: NewFile
    md5: str | None
    storages: list[int]


def lifetime(ends_at: datetime) -> int:
    """Seconds from now; one at least, since Rucio takes 0 for no end."""
    return max(1, round((ends_at - datetime.now(UTC)).total_seconds()))


def recorded_name(dataset: Dataset) -> Did:
    """The first version keeps the name, later ones get one each: what a name in Rucio holds does not change."""
    version = dataset.version
    return Did(dataset.scope, dataset.name if version == 1 else f"{dataset.name}.version{version}")


async def sources(conn: Connection, dataset_ids: Sequence[int]) -> list[Source]:
    """The datasets that there are of these, by id."""
    return [_source(dict(row)) for row in await conn.fetch(DATASETS, dataset_ids)]


async def children(conn: Connection, container_ids: Sequence[int]) -> dict[int, list[Source]]:
    """What is directly in each container."""
    found: dict[int, list[Source]] = {number: [] for number in container_ids}
    for row in await conn.fetch(CHILDREN, container_ids):
        fields = dict(row)
        found[fields.pop("parent_id")].append(_source(fields))
    return found


async def taken(conn: Connection, found: Sequence[Source]) -> set[Did]:
    """Names of later versions that a dataset of its own has already."""
    later = [source.did for source in found if source.dataset.version > 1]
    rows = await conn.fetch(TAKEN, [did.scope for did in later], [did.name for did in later])
    return {Did(row["scope"], row["name"]) for row in rows}


async def matching(pool: Pool, pattern: str, bookkeeping: bool) -> AsyncIterator[list[int]]:
    """The ids of all versions of the datasets that match, in slices; what the system makes for itself if asked."""
    wanted, after = names.parse_pattern(pattern), 0
    like = names.like(wanted.name), names.like(wanted.scope)
    while rows := await pool.fetch(MATCHING, after, *like, bookkeeping, BOOKKEEPING):
        after = rows[-1]["id"]
        yield [row["id"] for row in rows]


async def members(pool: Pool, dataset_id: int) -> AsyncIterator[list[Member]]:
    """The files of a dataset in slices; no connection is held between them."""
    after = 0
    while rows := await pool.fetch(MEMBERS, dataset_id, after, SLICE):
        after = rows[-1]["id"]
        yield [
            Member(
                NewFile(Did(row["scope"], row["name"]), row["guid"], row["bytes"], row["adler32"], row["events"]),
                row["md5"],
                row["storages"],
            )
            for row in rows
        ]


def _source(fields: dict[str, Any]) -> Source:
    dataset = Dataset.model_validate(fields)
    return Source(dataset, recorded_name(dataset))
