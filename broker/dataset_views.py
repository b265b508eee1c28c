"""Datasets and files as API, monitor and CLI show them: the catalog's facts and the tasks around them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from prodchain.catalog import datasets as catalog
from prodchain.catalog import lookup
from prodchain.catalog.models import Dataset, DatasetKind
from prodchain.catalog.names import Did, parse_did

from .database import Connection
from .task_views import View

_AROUND = """
SELECT ARRAY(SELECT id FROM task WHERE output_id = $1 ORDER BY id) AS made_by,
       ARRAY(SELECT id FROM task WHERE input_id = $1 ORDER BY id) AS used_by
"""
_HIDDEN = {"id", "expires_at", "version", "latest", "deleted_at", "purge_at", "meta"}


async def datasets(
    conn: Connection,
    *,
    pattern: str = "*",
    kinds: Sequence[DatasetKind] = (),
    bookkeeping: bool = False,
    facets: Mapping[str, str] | None = None,
    limit: int = 100,
    after: str | None = None,
) -> tuple[list[View], str | None]:
    """Datasets that match ``*`` and ``?``, by name; the second value continues the list, none at its end."""
    found = await lookup.find(
        conn,
        pattern,
        kinds=kinds or None,
        bookkeeping=bookkeeping,
        facets=facets,
        limit=limit + 1,
        after=parse_did(after) if after else None,
    )
    views = [_view(dataset) for dataset in found[:limit]]
    return views, views[-1]["did"] if len(found) > limit else None


async def dataset(conn: Connection, did: Did) -> View:
    """One dataset with its replicas and the tasks that make or use it."""
    found = await catalog.get(conn, did)
    assert found.id is not None
    around = await conn.fetchrow(_AROUND, found.id)
    assert around is not None
    replicas = [asdict(copy) for copy in await lookup.replicas(conn, found.id)]
    return _view(found) | {"replicas": replicas} | dict(around)


def _view(dataset: Dataset) -> View:
    did = Did(dataset.scope, dataset.name)
    return {"did": str(did)} | dataset.model_dump(exclude=_HIDDEN)


async def files(
    conn: Connection, did: Did, *, limit: int = 100, after: int | None = None
) -> tuple[list[View], int | None]:
    """The files of a dataset with their copies' URLs."""
    found = await catalog.get(conn, did)
    assert found.id is not None
    rows = await lookup.files(conn, found.id, limit=limit + 1, after=after or 0)
    views = [
        {
            "did": str(file.did),
            "name": file.did.name,
            "guid": file.guid,
            "bytes": file.bytes,
            "adler32": file.adler32,
            "events": file.events,
            "replicas": [asdict(copy) for copy in file.replicas],
        }
        for file in rows[:limit]
    ]
    return views, rows[limit - 1].id if len(rows) > limit else None
