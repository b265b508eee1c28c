"""Datasets: created by name, filled while open, never changed once closed; a new version is a dataset of its own."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from . import files, history, hooks, names, near, queueing, remarks, subscriptions
from .connection import Connection
from .errors import DatasetClosed, DatasetConflict, DatasetDeleted, DatasetNotFound
from .models import BOOKKEEPING, Dataset, DatasetKind, DatasetState
from .names import Did

LIFETIMES: Mapping[DatasetKind, timedelta] = {
    DatasetKind.DISPATCH: timedelta(days=14),
    DatasetKind.SUB: timedelta(days=30),
    DatasetKind.LOG: timedelta(days=365),
}
"""How long datasets of a kind live unless somebody says otherwise; the other kinds live until they are deleted."""

CREATE = """
INSERT INTO dataset (scope, name, kind, state, owner, expires_at, meta,
                     project, number, physics, step, format, tags)
VALUES ($1, $2, $3, 'open', $4, coalesce($5, now() + $6::interval), $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT DO NOTHING
"""
GET = """
SELECT * FROM dataset WHERE scope = $1 AND name = $2 AND CASE WHEN $3::int IS NULL THEN latest ELSE version = $3 END
"""
BY_ID = "SELECT * FROM dataset WHERE id = $1"
LOCK = "SELECT * FROM dataset WHERE id = $1 FOR NO KEY UPDATE"
STRANGERS = """
SELECT count(*) FROM unnest($2::bigint[]) AS wanted (id)
WHERE NOT EXISTS (SELECT FROM dataset_file m WHERE m.dataset_id = $1 AND m.file_id = wanted.id)
"""
LOCK_MANY = """
SELECT id, kind, state, deleted_at FROM dataset WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE
"""
# The datasets and files are locked: nobody else makes them members meanwhile. Rows are found by their ids (LATERAL,
# OFFSET 0): a join of 2,000 files was planned as a scan of a hundred thousand.
JOIN = """
WITH joined AS (
    INSERT INTO dataset_file (dataset_id, file_id)
    SELECT dataset_id, file_id FROM unnest($1::bigint[], $2::bigint[]) AS m (dataset_id, file_id)
    EXCEPT SELECT dataset_id, file_id FROM dataset_file WHERE file_id = ANY ($2)
    ORDER BY dataset_id, file_id
    RETURNING dataset_id, file_id
), sized AS (
    SELECT j.dataset_id, j.file_id, f.bytes, f.events
    FROM joined j CROSS JOIN LATERAL (SELECT bytes, events FROM file WHERE id = j.file_id OFFSET 0) f
), counted AS (
    UPDATE dataset d SET files = d.files + new.files, bytes = d.bytes + new.bytes, events = d.events + new.events
    FROM (
        SELECT dataset_id, count(*) AS files, sum(bytes) AS bytes, sum(events) AS events
        FROM sized GROUP BY dataset_id
    ) new
    WHERE d.id = new.dataset_id
), copies AS (
    INSERT INTO dataset_replica (dataset_id, storage_id, files, bytes)
    SELECT s.dataset_id, r.storage_id, count(*), sum(s.bytes)
    FROM sized s CROSS JOIN LATERAL (SELECT storage_id FROM replica WHERE file_id = s.file_id OFFSET 0) r
    GROUP BY s.dataset_id, r.storage_id ORDER BY s.dataset_id, r.storage_id
    ON CONFLICT (dataset_id, storage_id) DO UPDATE
    SET files = dataset_replica.files + excluded.files, bytes = dataset_replica.bytes + excluded.bytes
)
SELECT dataset_id, file_id FROM joined
"""
LOCK_MEMBERS = """
SELECT count(*) FROM (
    SELECT id FROM file WHERE id IN (SELECT file_id FROM dataset_file WHERE dataset_id = $1)
    ORDER BY id FOR NO KEY UPDATE
) locked
"""
RETIRE = "UPDATE dataset SET latest = false WHERE id = $1"
NEXT = """
INSERT INTO dataset (scope, name, version, kind, state, owner, charged, files, bytes, events, meta,
                     project, number, physics, step, format, tags)
SELECT scope, name, version + 1, kind, 'open', $2, charged, CASE WHEN $3 THEN 0 ELSE files END,
       CASE WHEN $3 THEN 0 ELSE bytes END, CASE WHEN $3 THEN 0 ELSE events END, meta,
       project, number, physics, step, format, tags
FROM dataset WHERE id = $1
RETURNING *
"""
COPY_MEMBERS = (
    "INSERT INTO dataset_file (dataset_id, file_id) SELECT $2, file_id FROM dataset_file WHERE dataset_id = $1"
)
COPY_CHILDREN = (
    "INSERT INTO dataset_child (parent_id, child_id) SELECT $2, child_id FROM dataset_child WHERE parent_id = $1"
)
FILL_LATER = "INSERT INTO version_filling (dataset_id, from_id) VALUES ($2, $1)"
FILLING = """
SELECT old.files FROM version_filling v JOIN dataset old ON old.id = v.from_id WHERE v.dataset_id = $1
"""
COPY_COUNTERS = """
INSERT INTO dataset_replica (dataset_id, storage_id, files, bytes)
SELECT $2, storage_id, files, bytes FROM dataset_replica WHERE dataset_id = $1 ORDER BY storage_id
"""
VERSIONS = "SELECT * FROM dataset WHERE scope = $1 AND name = $2 ORDER BY version"
CHARGE = "UPDATE dataset SET charged = $2 WHERE id = $1 RETURNING *"
SET_LIFETIME = "UPDATE dataset SET expires_at = $2 WHERE id = $1 RETURNING *"
CLOSE = "UPDATE dataset SET state = 'closed', closed_at = now() WHERE id = $1"
LOCK_REPLICAS = "SELECT storage_id FROM dataset_replica WHERE dataset_id = $1 ORDER BY storage_id FOR UPDATE"


async def create(
    conn: Connection,
    did: Did,
    kind: DatasetKind,
    owner: str,
    expires_at: datetime | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Dataset:
    """Make an open, empty dataset, or find the latest version again if kind and owner agree; else DatasetConflict.

    Without ``expires_at`` it lives as long as its kind does (LIFETIMES). DatasetDeleted if the name was deleted.
    """
    names.parse_did(str(did))
    if kind not in BOOKKEEPING:
        names.refuse_reserved(did)
    if meta is not None:
        remarks.check(did, meta)
    fields = names.facets(did.name)
    made = await conn.execute(
        CREATE,
        *did,
        kind,
        owner,
        expires_at,
        LIFETIMES.get(kind),
        meta,
        *(fields.get(field) for field in ("project", "number", "physics", "step", "format", "tags")),
    )
    dataset = await get(conn, did)
    if made == "INSERT 0 1" and kind not in BOOKKEEPING:
        await history.note(conn, "created", str(did), owner, f"a {kind} dataset")
    if (dataset.kind, dataset.owner) != (kind, owner):
        raise DatasetConflict(
            f"{did} is a {dataset.kind} dataset of {dataset.owner or 'nobody'},"
            f" not a {kind} dataset of {owner or 'nobody'}",
            object=str(did),
            hint="choose another name",
        )
    refuse_deleted(dataset)
    return dataset


async def charge(conn: Connection, dataset: Dataset, account: str | None) -> Dataset:
    """Put a dataset without files, or bookkeeping, on another account than its owner's; None: on its owner's.

    Its next versions are on the same one.
    """
    if dataset.charged == account:
        return dataset
    return Dataset.model_validate(dict((await conn.fetch(CHARGE, dataset.id, account))[0]))


async def get(conn: Connection, did: Did, version: int | None = None) -> Dataset:
    """The dataset of that name, its latest version unless one is named; also one that is deleted.

    DatasetNotFound tells which versions there are, or which names come near.
    """
    row = await conn.fetchrow(GET, *did, version)
    if row is not None:
        return Dataset.model_validate(dict(row))
    if version is not None and (known := await versions(conn, did)):
        raise DatasetNotFound(
            f"there is no version {version} of {did}",
            object=f"{did}@{version}",
            hint=f"versions are {', '.join(str(dataset.version) for dataset in known)}",
        )
    misses = await near.misses(conn, did)
    raise DatasetNotFound(
        f"there is no dataset {did}",
        object=str(did),
        hint=f"did you mean {' or '.join(map(str, misses))}?"
        if misses
        else "search with a pattern, as in 'mc26*EVNT*'",
    )


async def by_id(conn: Connection, dataset_id: int, *, lock: bool = False) -> Dataset:
    """The dataset of that id, kept to this transaction if ``lock``."""
    row = await conn.fetchrow(LOCK if lock else BY_ID, dataset_id)
    if row is None:
        raise DatasetNotFound(
            f"there is no dataset with id {dataset_id}", object=str(dataset_id), hint="ask for it by its name"
        )
    return Dataset.model_validate(dict(row))


async def versions(conn: Connection, did: Did) -> list[Dataset]:
    """All versions of a name, oldest first."""
    return [Dataset.model_validate(dict(row)) for row in await conn.fetch(VERSIONS, *did)]


async def new_version(conn: Connection, did: Did, owner: str) -> Dataset:
    """The next version of a closed dataset: open, with the same content, and from now on what the name means.

    The old version stays as it is, with its subscriptions: those of the new one are wishes of their own. Repeated
    before the new version is closed, it answers that one. Raises DatasetConflict if the first one is still open.
    Into a version of a large dataset the members come in slices (module slices); it cannot be closed before they are
    all in it.
    """
    old = await get(conn, did)
    assert old.id is not None
    large = await queueing.large(conn, [old.id])
    if not large:
        # As in add_files: with its files locked, no copy is counted for the old members and not for the new ones.
        await conn.fetchval(LOCK_MEMBERS, old.id)
    old = await by_id(conn, old.id, lock=True)
    if not old.latest:  # another caller was faster
        return await get(conn, did)
    refuse_deleted(old)
    if old.state == DatasetState.OPEN:
        if old.version > 1:
            return old
        raise DatasetConflict(f"{did} is open", object=str(did), hint="add the files to it, or close it first")
    await conn.execute(RETIRE, old.id)
    new = Dataset.model_validate(dict((await conn.fetch(NEXT, old.id, owner, large))[0]))
    if large:
        await conn.execute(FILL_LATER, old.id, new.id)
    else:
        await conn.execute(COPY_CHILDREN if old.kind == DatasetKind.CONTAINER else COPY_MEMBERS, old.id, new.id)
        await conn.execute(COPY_COUNTERS, old.id, new.id)
    await history.note(conn, "version", str(did), owner, f"version {new.version} begins with {old.files} files")
    return new


async def add_files(conn: Connection, dataset_id: int, file_ids: Sequence[int]) -> list[int]:
    """Let files join an open dataset; the ids of those that were not in it.

    Keeps the counters, queues transfers for standing subscriptions, tells ``hooks.files_added``. Members may join
    again even when the dataset is closed; anything else then raises DatasetClosed. A caller that fills several
    datasets in one transaction takes them in the order of their ids.
    """
    return (await fill(conn, {dataset_id: file_ids}))[dataset_id]


async def fill(conn: Connection, members: Mapping[int, Sequence[int]]) -> dict[int, list[int]]:
    """The same for several datasets: by dataset, the files that were not in it."""
    new: dict[int, list[int]] = {dataset_id: [] for dataset_id in members}
    # The files are locked against arrivals, which would count copies for the datasets they see.
    await files.lock(conn, {file_id for file_ids in members.values() for file_id in file_ids})
    datasets = await conn.fetch(LOCK_MANY, list(members))
    if len(datasets) < len(members):
        await by_id(conn, min(members.keys() - {row["id"] for row in datasets}))  # which says that there is none
    open_ = [row["id"] for row in datasets if is_plain(row) or await _takes(conn, row["id"], members[row["id"]])]
    pairs = [(dataset_id, file_id) for dataset_id in open_ for file_id in members[dataset_id]]
    if not pairs:
        return new
    for dataset_id, file_id in await conn.fetch(JOIN, *zip(*pairs, strict=True)):
        new[dataset_id].append(file_id)
    grown = {dataset_id: file_ids for dataset_id, file_ids in new.items() if file_ids}
    if grown:
        await subscriptions.follow(conn, grown)
        await hooks.tell_files_added(conn, grown)
    return new


def is_plain(row: asyncpg.Record) -> bool:
    """Whether any file may join the dataset, a locked row: of most no more needs to be known."""
    return row["state"] == DatasetState.OPEN and row["deleted_at"] is None and row["kind"] != DatasetKind.CONTAINER


async def _takes(conn: Connection, dataset_id: int, file_ids: Sequence[int]) -> bool:
    """Whether the files may join it; False if they are in it, and it is closed."""
    dataset = await by_id(conn, dataset_id)
    did = Did(dataset.scope, dataset.name)
    refuse_deleted(dataset)
    if dataset.kind == DatasetKind.CONTAINER:
        raise DatasetConflict(f"{did} is a container", object=str(did), hint="it takes datasets, not files")
    if dataset.state != DatasetState.CLOSED:
        return True
    if await conn.fetchval(STRANGERS, dataset.id, file_ids):
        raise closed(did)
    return False


async def close(conn: Connection, dataset_id: int, actor: str = "") -> bool:
    """Freeze the content for ever, and tell ``hooks.closed``; False if it was closed already."""
    dataset = await by_id(conn, dataset_id, lock=True)
    refuse_deleted(dataset)
    if dataset.state == DatasetState.CLOSED:
        return False
    await _refuse_filling(conn, dataset)
    await conn.execute(CLOSE, dataset_id)
    if dataset.kind not in BOOKKEEPING:
        await history.note(conn, "closed", versioned(dataset), actor, f"{dataset.files} files, for ever")
    # An arrival that counts now either has counted before the next statement, or will see the dataset closed.
    await conn.execute(LOCK_REPLICAS, dataset_id)
    await subscriptions.settle(conn, [dataset_id], closed=True)
    await hooks.tell_closed(conn, dataset_id)
    return True


async def _refuse_filling(conn: Connection, dataset: Dataset) -> None:
    """Raises DatasetConflict while members of the version before still join a large one."""
    files_before = await conn.fetchval(FILLING, dataset.id)
    if files_before is not None:
        raise DatasetConflict(
            f"{versioned(dataset)} has {dataset.files} files so far: the {files_before} of version"
            f" {dataset.version - 1} are still joining it",
            object=versioned(dataset),
            hint="close it when they are all in it, which takes about a minute for each million",
        )


async def set_lifetime(conn: Connection, dataset_id: int, expires_at: datetime | None, actor: str) -> Dataset:
    """When it is deleted by itself, unless somebody needs it then; None: never."""
    dataset = await by_id(conn, dataset_id, lock=True)
    refuse_deleted(dataset)
    words = f"it lives until {expires_at:%Y-%m-%d %H:%M} UTC" if expires_at else "it lives until somebody deletes it"
    await history.note(conn, "lifetime", versioned(dataset), actor, words)
    return Dataset.model_validate(dict((await conn.fetch(SET_LIFETIME, dataset_id, expires_at))[0]))


def versioned(dataset: Dataset) -> str:
    """Its name as documents have it: with its version, unless that is the latest."""
    return f"{dataset.scope}:{dataset.name}" + ("" if dataset.latest else f"@{dataset.version}")


def closed(did: Did) -> DatasetClosed:
    """The refusal of new files; it says how to go on."""
    return DatasetClosed(
        f"{did} is closed, its content never changes",
        object=str(did),
        hint=f"`prodchain dataset reopen-as-new-version {did}` begins a new version; or choose a new name",
    )


def refuse_deleted(dataset: Dataset) -> None:
    """Raises DatasetDeleted, which says whether it can be brought back."""
    if dataset.deleted_at is None and dataset.state != DatasetState.DELETED:
        return
    name = versioned(dataset)
    raise DatasetDeleted(
        f"{name} is deleted",
        object=name,
        hint="choose another name: its files are let go"
        if dataset.state == DatasetState.DELETED
        else f"bring it back before {dataset.purge_at:%Y-%m-%d %H:%M} UTC: `prodchain dataset undelete {name}`",
    )
