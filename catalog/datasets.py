"""Datasets: created by name, filled while open, never changed once closed."""

from collections.abc import Sequence
from datetime import datetime

from . import files, hooks, names, near, subscriptions
from .connection import Connection
from .errors import DatasetClosed, DatasetConflict, DatasetNotFound
from .models import BOOKKEEPING, Dataset, DatasetKind, DatasetState
from .names import Did

CREATE = """
INSERT INTO dataset (scope, name, kind, state, owner, expires_at, project, number, physics, step, format, tags)
VALUES ($1, $2, $3, 'open', $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT DO NOTHING
"""
GET = "SELECT * FROM dataset WHERE scope = $1 AND name = $2 AND latest"
LOCK = "SELECT scope, name, state FROM dataset WHERE id = $1 FOR NO KEY UPDATE"
STRANGERS = """
SELECT count(*) FROM unnest($2::bigint[]) AS wanted (id)
WHERE NOT EXISTS (SELECT FROM dataset_file m WHERE m.dataset_id = $1 AND m.file_id = wanted.id)
"""
JOIN = """
INSERT INTO dataset_file (dataset_id, file_id) SELECT $1, unnest($2::bigint[])
ON CONFLICT DO NOTHING
RETURNING file_id
"""
COUNT = """
UPDATE dataset d SET files = d.files + new.files, bytes = d.bytes + new.bytes, events = d.events + new.events
FROM (
    SELECT count(*) AS files, sum(bytes) AS bytes, sum(events) AS events FROM file WHERE id = ANY($2::bigint[])
) new
WHERE d.id = $1
"""
COUNT_REPLICAS = """
INSERT INTO dataset_replica (dataset_id, storage_id, files, bytes)
SELECT $1, r.storage_id, count(*), sum(f.bytes)
FROM replica r JOIN file f ON f.id = r.file_id
WHERE r.file_id = ANY($2::bigint[])
GROUP BY r.storage_id ORDER BY r.storage_id
ON CONFLICT (dataset_id, storage_id) DO UPDATE
SET files = dataset_replica.files + excluded.files, bytes = dataset_replica.bytes + excluded.bytes
"""
CLOSE = "UPDATE dataset SET state = 'closed', closed_at = now() WHERE id = $1"
LOCK_REPLICAS = "SELECT storage_id FROM dataset_replica WHERE dataset_id = $1 ORDER BY storage_id FOR UPDATE"


async def create(
    conn: Connection, did: Did, kind: DatasetKind, owner: str, expires_at: datetime | None = None
) -> Dataset:
    """Make an open, empty dataset, or find it again if kind and owner agree; else DatasetConflict."""
    names.parse_did(str(did))
    if kind not in BOOKKEEPING:
        names.refuse_reserved(did)
    fields = names.facets(did.name)
    await conn.execute(
        CREATE,
        *did,
        kind,
        owner,
        expires_at,
        *(fields.get(field) for field in ("project", "number", "physics", "step", "format", "tags")),
    )
    dataset = await get(conn, did)
    if (dataset.kind, dataset.owner) != (kind, owner):
        raise DatasetConflict(
            f"{did} is a {dataset.kind} dataset of {dataset.owner or 'nobody'},"
            f" not a {kind} dataset of {owner or 'nobody'}",
            object=str(did),
            hint="choose another name",
        )
    return dataset


async def get(conn: Connection, did: Did) -> Dataset:
    """The dataset of that name; DatasetNotFound tells which names come near."""
    row = await conn.fetchrow(GET, *did)
    if row is not None:
        return Dataset.model_validate(dict(row))
    misses = await near.misses(conn, did)
    raise DatasetNotFound(
        f"there is no dataset {did}",
        object=str(did),
        hint=f"did you mean {' or '.join(map(str, misses))}?"
        if misses
        else "search with a pattern, as in 'mc26*EVNT*'",
    )


async def add_files(conn: Connection, dataset_id: int, file_ids: Sequence[int]) -> list[int]:
    """Let files join an open dataset; the ids of those that were not in it.

    Keeps the counters, queues transfers for standing subscriptions, tells ``hooks.files_added``. Members may join
    again even when the dataset is closed; anything else then raises DatasetClosed. A caller that fills several
    datasets in one transaction takes them in the order of their ids.
    """
    # The files are locked against arrivals, which would count copies for the datasets they see.
    await files.lock(conn, file_ids)
    dataset = await conn.fetchrow(LOCK, dataset_id)
    if dataset is None:
        raise _unknown(dataset_id)
    if dataset["state"] == DatasetState.CLOSED:
        if await conn.fetchval(STRANGERS, dataset_id, file_ids):
            did = Did(dataset["scope"], dataset["name"])
            raise DatasetClosed(f"{did} is closed", object=str(did), hint="put the files into a new dataset")
        return []
    new = [row["file_id"] for row in await conn.fetch(JOIN, dataset_id, file_ids)]
    if new:
        await conn.execute(COUNT, dataset_id, new)
        await conn.execute(COUNT_REPLICAS, dataset_id, new)
        await subscriptions.follow(conn, dataset_id, new)
        await hooks.tell_files_added(conn, dataset_id, new)
    return new


async def close(conn: Connection, dataset_id: int) -> bool:
    """Freeze the content for ever, and tell ``hooks.closed``; False if it was closed already."""
    dataset = await conn.fetchrow(LOCK, dataset_id)
    if dataset is None:
        raise _unknown(dataset_id)
    if dataset["state"] == DatasetState.CLOSED:
        return False
    await conn.execute(CLOSE, dataset_id)
    # An arrival that counts now either has counted before the next statement, or will see the dataset closed.
    await conn.execute(LOCK_REPLICAS, dataset_id)
    await subscriptions.settle(conn, [dataset_id])
    await hooks.tell_closed(conn, dataset_id)
    return True


def _unknown(dataset_id: int) -> DatasetNotFound:
    return DatasetNotFound(
        f"there is no dataset with id {dataset_id}", object=str(dataset_id), hint="ask for it by its name"
    )
