"""Datasets and files as API, monitor and CLI show them: the catalog's facts and the tasks around them."""

from collections.abc import Sequence
from dataclasses import asdict, replace

from prodchain.catalog import containers, diffs, lookup, names
from prodchain.catalog import datasets as catalog
from prodchain.catalog.lookup import Query
from prodchain.catalog.models import Dataset, DatasetKind
from prodchain.catalog.names import Did

from .access import ways_in
from .database import Connection, one
from .kinds import kinds
from .task_views import View

_AROUND = """
SELECT ARRAY(SELECT id FROM task WHERE output_id = $1 ORDER BY id) AS made_by,
       ARRAY(SELECT id FROM task WHERE input_id = $1 ORDER BY id) AS used_by,
       ARRAY(SELECT o.version FROM dataset o JOIN dataset d ON d.scope = o.scope AND d.name = o.name
             WHERE d.id = $1 ORDER BY o.version) AS versions,
       ARRAY(SELECT p.scope || ':' || p.name || CASE WHEN p.latest THEN '' ELSE '@' || p.version END
             FROM dataset_child c JOIN dataset p ON p.id = c.parent_id
             WHERE c.child_id = $1 ORDER BY p.name, p.scope, p.version) AS parents
"""
_SITES = """
SELECT r.dataset_id, array_agg(DISTINCT s.site ORDER BY s.site) AS sites
FROM dataset_replica r JOIN storage s ON s.id = r.storage_id
WHERE r.dataset_id = ANY($1) AND r.files > 0 GROUP BY r.dataset_id
"""
_STORY = """
SELECT id, at, kind, object, actor, text FROM catalog_event
WHERE object = ANY($1) AND ($2::bigint IS NULL OR id < $2) ORDER BY id DESC LIMIT $3
"""
_MORE = "SELECT id, md5, meta FROM file WHERE id = ANY($1::bigint[])"
_HIDDEN = {"id", "charged"}
ALL = Query()
LOOKED_AT = 20
"""Files in which a copy is looked for, to show how to read one."""


async def find(conn: Connection, text: str) -> Dataset:
    """The dataset that ``NAME``, ``scope:name`` or ``NAME@2`` means; DatasetNotFound."""
    return await catalog.get(conn, *names.parse_versioned(text))


async def dataset(conn: Connection, text: str) -> View:
    """One dataset with its copies, the tasks and containers around it, and how to read it."""
    return await one_view(conn, await find(conn, text))


async def one_view(conn: Connection, found: Dataset) -> View:
    around = await one(conn, _AROUND, id_of(found))
    sums, copies = await _sums(conn, found)
    files = await lookup.files(conn, id_of(found), limit=LOOKED_AT)
    return {
        **_view(found, sorted({copy["site"] for copy in copies})),
        **sums,
        "replicas": copies,
        **around,
        "access": await ways_in(catalog.versioned(found), files),
    }


async def _sums(conn: Connection, found: Dataset) -> tuple[View, list[View]]:
    """What a container's counters would be, and the copies: of a container those of all that is below it."""
    if found.kind != DatasetKind.CONTAINER:
        return {}, [asdict(copy) for copy in await lookup.replicas(conn, id_of(found))]
    totals = await containers.totals(conn, id_of(found))
    copies = [asdict(copy) for copy in await containers.completeness(conn, id_of(found))]
    for copy in copies:
        del copy["datasets"]
    return {"files": totals.files, "bytes": totals.bytes, "events": totals.events}, copies


def _view(dataset: Dataset, sites: Sequence[str]) -> View:
    return {"did": catalog.versioned(dataset), **dataset.model_dump(exclude=_HIDDEN), "sites": list(sites)}


async def datasets(
    conn: Connection, wanted: Query = ALL, *, sort: str = "name", limit: int = 100, after: str | None = None
) -> tuple[list[View], str | None]:
    """What fits, with the sites that have files of it; the second value continues the list, none at its end."""
    found = await lookup.find(conn, replace(wanted, sort=sort, limit=limit, after=after))
    return [await _found(conn, row) for row in found.rows], found.after


async def _found(conn: Connection, row: lookup.Row) -> View:
    """As ``_listed``; without an object for each row, which takes longer than finding it."""
    if row.fields["kind"] == DatasetKind.CONTAINER:
        return await _listed(conn, row.dataset, row.sites)
    shown = {name: value for name, value in row.fields.items() if name not in _HIDDEN}
    return {"did": row.did, **shown, "sites": row.sites}


async def facets(conn: Connection, wanted: Query) -> View:
    """For each field its values with the number of datasets, the most frequent first; ``kinds`` are of all."""
    counts = await lookup.facet_counts(conn, wanted)
    return {
        "fields": counts.fields,
        "kinds": await kinds(conn),
        "datasets": counts.datasets,
        "exact": counts.exact,
    }


async def _listed(conn: Connection, dataset: Dataset, sites: Sequence[str]) -> View:
    """As a list shows it. A container has no counters of its own: a question for each, as they are few."""
    if dataset.kind != DatasetKind.CONTAINER:
        return _view(dataset, sites)
    sums, copies = await _sums(conn, dataset)
    return _view(dataset, sorted({copy["site"] for copy in copies})) | sums


async def content(
    conn: Connection, text: str, *, limit: int = 100, after: int | None = None
) -> tuple[list[View], int | None]:
    """What is directly in a container; nothing is in a dataset."""
    found = await find(conn, text)
    children = await containers.children(conn, id_of(found), limit + 1, after or 0)
    rows = await conn.fetch(_SITES, [child.id for child in children])
    sites = {row["dataset_id"]: row["sites"] for row in rows}
    shown = [await _listed(conn, child, sites.get(child.id, ())) for child in children[:limit]]
    return shown, children[limit - 1].id if len(children) > limit else None


async def files(
    conn: Connection, text: str, *, limit: int = 100, after: int | None = None
) -> tuple[list[View], int | None]:
    """The files of a dataset with their copies' URLs."""
    found = await find(conn, text)
    rows = await lookup.files(conn, id_of(found), limit=limit + 1, after=after or 0)
    more = {row["id"]: row for row in await conn.fetch(_MORE, [file.id for file in rows[:limit]])}
    views = [
        {
            "did": str(file.did),
            "name": file.did.name,
            "guid": file.guid,
            "bytes": file.bytes,
            "adler32": file.adler32,
            "md5": more[file.id]["md5"],
            "events": file.events,
            "meta": more[file.id]["meta"],
            "replicas": [{"storage": copy.storage, "site": copy.site, "url": copy.url} for copy in file.replicas],
        }
        for file in rows[:limit]
    ]
    return views, rows[limit - 1].id if len(rows) > limit else None


async def story(
    conn: Connection, text: str, *, limit: int = 100, after: int | None = None
) -> tuple[list[View], int | None]:
    """What happened to all versions of the name, newest first."""
    found = await find(conn, text)
    known = await catalog.versions(conn, Did(found.scope, found.name))
    name = f"{found.scope}:{found.name}"
    # An event bears the name that the version had then, which is the bare one as long as it is the latest.
    objects = [name, *(f"{name}@{dataset.version}" for dataset in known)]
    rows = await conn.fetch(_STORY, objects, after, limit + 1)
    shown = [dict(row) for row in rows[:limit]]
    for event in shown:
        del event["id"]  # a page's mark, not part of the story
    return shown, rows[limit - 1]["id"] if len(rows) > limit else None


async def diff(conn: Connection, text: str, other: str, *, limit: int = 1000, after: int = 0) -> View:
    """What ``other`` has more (added) and less (removed): the sums, and the files page by page."""
    a, b = id_of(await find(conn, text)), id_of(await find(conn, other))
    sums = await diffs.diff(conn, a, b)
    rows = await diffs.changes(conn, a, b, limit + 1, after)
    items = [
        {"change": "added" if row.added else "removed", "file": str(row.did), "bytes": row.bytes}
        for row in rows[:limit]
    ]
    return asdict(sums) | {"items": items, "next": rows[limit - 1].id if len(rows) > limit else None}


def id_of(dataset: Dataset) -> int:
    assert dataset.id is not None
    return dataset.id
