"""The counters against the rows that they count: proven every night, in slices, mended if asked.

Each slice is one statement, which sees counters and rows as of one moment; transactions change both together, so
that nothing needs to be locked. What is mended is the difference: changes that happen meanwhile count as well.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from . import history, hooks, subscriptions
from .connection import Connection, Pool

T = TypeVar("T")
SLICE = 1000
LONG_S = 3600.0
"""A storage's copies are counted by one statement, which takes minutes when they are many millions."""
EVERY = timedelta(hours=24)
NIGHT = "catalog"
"""The object whose history tells when the last recount was."""
FORGOTTEN = timedelta(days=7)
"""When copies go whose files are in no dataset: none of ours registers one without the other, but others may."""

NEXT_DATASETS = "SELECT id FROM dataset WHERE id > $1 ORDER BY id LIMIT $2"
NEXT_FILES = "SELECT id FROM file WHERE id > $1 ORDER BY id LIMIT $2"
DATASETS = """
SELECT d.id, d.scope || ':' || d.name || CASE WHEN d.latest THEN '' ELSE '@' || d.version END AS object,
       unnest(ARRAY['files', 'bytes', 'events']) AS what,
       unnest(ARRAY[d.files, d.bytes, d.events]) AS counted,
       unnest(ARRAY[rows.files, rows.bytes, rows.events]) AS found
FROM dataset d CROSS JOIN LATERAL (
    SELECT count(*) AS files, coalesce(sum(f.bytes), 0)::bigint AS bytes, coalesce(sum(f.events), 0)::bigint AS events
    FROM dataset_file m JOIN file f ON f.id = m.file_id WHERE m.dataset_id = d.id
) rows
WHERE d.id = ANY($1::bigint[]) AND (d.files, d.bytes, d.events) IS DISTINCT FROM (rows.files, rows.bytes, rows.events)
"""
REPLICAS = """
SELECT dataset_id AS id, storage_id, d.scope || ':' || d.name AS object, s.name AS storage,
       unnest(ARRAY['replica files', 'replica bytes']) AS what,
       unnest(ARRAY[coalesce(c.files, 0), coalesce(c.bytes, 0)]) AS counted,
       unnest(ARRAY[coalesce(rows.files, 0), coalesce(rows.bytes, 0)]) AS found
FROM (SELECT * FROM dataset_replica WHERE dataset_id = ANY($1::bigint[])) c
FULL JOIN (
    SELECT m.dataset_id, r.storage_id, count(*) AS files, sum(f.bytes)::bigint AS bytes
    FROM dataset_file m JOIN replica r ON r.file_id = m.file_id JOIN file f ON f.id = m.file_id
    WHERE m.dataset_id = ANY($1::bigint[]) GROUP BY m.dataset_id, r.storage_id
) rows USING (dataset_id, storage_id)
JOIN dataset d ON d.id = dataset_id JOIN storage s ON s.id = storage_id
WHERE (coalesce(c.files, 0), coalesce(c.bytes, 0)) <> (coalesce(rows.files, 0), coalesce(rows.bytes, 0))
"""
STORAGE_USE = """
SELECT s.id, s.name AS object, s.name AS storage, unnest(ARRAY['files', 'bytes']) AS what,
       unnest(ARRAY[counted.files, counted.bytes]) AS counted, unnest(ARRAY[rows.files, rows.bytes]) AS found
FROM storage s
CROSS JOIN LATERAL (
    SELECT coalesce(sum(u.files), 0)::bigint AS files, coalesce(sum(u.bytes), 0)::bigint AS bytes
    FROM storage_use u WHERE u.storage_id = s.id
) counted
CROSS JOIN LATERAL (
    SELECT count(*) AS files, coalesce(sum(f.bytes), 0)::bigint AS bytes
    FROM replica r JOIN file f ON f.id = r.file_id WHERE r.storage_id = s.id
) rows
WHERE s.id = $1 AND (counted.files, counted.bytes) <> (rows.files, rows.bytes)
"""
OWNER_USE = """
SELECT owner AS object, s.id, s.name AS storage, 'bytes' AS what, coalesce(counted.bytes, 0) AS counted,
       coalesce(rows.bytes, 0) AS found
FROM (SELECT owner, sum(bytes)::bigint AS bytes FROM owner_use WHERE storage_id = $1 GROUP BY owner) counted
FULL JOIN (
    SELECT coalesce(d.charged, d.owner) AS owner, sum(r.bytes)::bigint AS bytes
    FROM dataset_replica r JOIN dataset d ON d.id = r.dataset_id
    WHERE r.storage_id = $1 AND d.kind NOT IN ('dispatch', 'sub') GROUP BY 1
) rows USING (owner)
JOIN storage s ON s.id = $1
WHERE coalesce(counted.bytes, 0) <> coalesce(rows.bytes, 0) ORDER BY owner
"""
HOLDS = """
SELECT h.id, h.holder AS object, s.name AS storage, 'missing' AS what, h.missing AS counted, rows.files AS found
FROM hold h JOIN storage s ON s.id = h.storage_id
CROSS JOIN LATERAL (SELECT count(*) AS files FROM hold_file f WHERE f.hold_id = h.id) rows
WHERE h.missing <> rows.files ORDER BY h.id
"""
# Files in no dataset, with copies that nobody lets go: at first they get a tombstone, when its time has come they go.
STRAYS = """
SELECT f.id, r.storage_id, f.scope || ':' || f.name AS object, s.name AS storage,
       'copies that stay for ever' AS what, 1 AS counted, 0 AS found
FROM replica r JOIN file f ON f.id = r.file_id JOIN storage s ON s.id = r.storage_id
WHERE r.file_id > $1 AND r.file_id <= $2 AND (r.tombstone_at IS NULL OR r.tombstone_at BETWEEN '1970-01-01' AND now())
  AND NOT EXISTS (SELECT FROM dataset_file m WHERE m.file_id = r.file_id)
ORDER BY r.file_id
"""
MEND_DATASET = """
UPDATE dataset SET files = files + CASE $2::text WHEN 'files' THEN $3::bigint ELSE 0 END,
                   bytes = bytes + CASE $2 WHEN 'bytes' THEN $3 ELSE 0 END,
                   events = events + CASE $2 WHEN 'events' THEN $3 ELSE 0 END
WHERE id = $1
"""
MEND_REPLICA = """
INSERT INTO dataset_replica AS r (dataset_id, storage_id, files, bytes)
VALUES ($1, $2, CASE $3::text WHEN 'replica files' THEN $4::bigint ELSE 0 END,
        CASE $3 WHEN 'replica bytes' THEN $4 ELSE 0 END)
ON CONFLICT (dataset_id, storage_id)
DO UPDATE SET files = r.files + excluded.files, bytes = r.bytes + excluded.bytes
"""
MEND_STORAGE = """
INSERT INTO storage_use (storage_id, files, bytes)
VALUES ($1, CASE $2::text WHEN 'files' THEN $3::bigint ELSE 0 END, CASE $2 WHEN 'bytes' THEN $3 ELSE 0 END)
"""
MEND_OWNER = "INSERT INTO owner_use (owner, storage_id, bytes) VALUES ($1, $2, $3)"
MEND_HOLD = "UPDATE hold SET missing = missing + $2 WHERE id = $1 RETURNING holder, missing"
FORGET = """
UPDATE replica SET tombstone_at = CASE WHEN tombstone_at <= now() THEN '-infinity' ELSE now() + $3::interval END
WHERE file_id = $1 AND storage_id = $2
"""
LAST = "SELECT max(at) > now() - $2::interval FROM catalog_event WHERE object = $1 AND kind = 'recount'"


@dataclass(frozen=True)
class Difference:
    """A counter that does not say what the rows say. ``what`` is the counter, ``object`` whose it is."""

    what: str
    object: str
    storage: str | None
    counted: int
    found: int


async def check(conn: Connection, dataset_ids: Sequence[int] | None = None, repair: bool = False) -> list[Difference]:
    """Every counter that is wrong; of some datasets only, or of everything. ``repair``: afterwards none is.

    A night's work over a large catalog is done in transactions of its own: see nightly.
    """
    if dataset_ids is not None:
        return await _datasets(conn, dataset_ids, repair)
    wrong: list[Difference] = []
    last = 0
    while ids := await _after(conn, NEXT_DATASETS, last):
        wrong += await _datasets(conn, ids, repair)
        last = ids[-1]
    for storage_id in await _storages(conn):
        wrong += await _storage(conn, storage_id, repair)
    wrong += await _holds(conn, repair)
    last = 0
    while ids := await _after(conn, NEXT_FILES, last):
        wrong += await _strays(conn, last, ids[-1], repair)
        last = ids[-1]
    return wrong


async def nightly(pool: Pool) -> int:
    """Recount everything and mend it, if the last time is a day ago; the number of differences.

    What was found is in the history of the catalog and of the objects that it was found at. It may take hours: the
    lock is the session's, as the database ends sessions that are idle in a transaction.
    """
    async with pool.acquire() as guard:
        if not await guard.fetchval("SELECT pg_try_advisory_lock(hashtext('prodchain recount'))"):
            return 0
        try:
            if await guard.fetchval(LAST, NIGHT, EVERY):
                return 0
            datasets, wrong = await _everything(pool)
            await history.note(guard, "recount", NIGHT, "", f"{datasets} datasets: {wrong} differences")
            return wrong
        finally:
            await guard.execute("SELECT pg_advisory_unlock(hashtext('prodchain recount'))")


async def _everything(pool: Pool) -> tuple[int, int]:
    """Mend in transactions of their own; how many datasets there are, and how many differences there were."""

    async def inside(work: Callable[[Connection], Awaitable[T]]) -> T:
        async with pool.acquire() as conn, conn.transaction():
            return await work(conn)

    datasets = last = wrong = 0
    while ids := await inside(partial(_after, statement=NEXT_DATASETS, last=last)):
        wrong += len(await inside(partial(_datasets, dataset_ids=ids, repair=True)))
        datasets, last = datasets + len(ids), ids[-1]
    for storage_id in await inside(_storages):
        wrong += len(await inside(partial(_storage, storage_id=storage_id, repair=True)))
    wrong += len(await inside(partial(_holds, repair=True)))
    last = 0
    while ids := await inside(partial(_after, statement=NEXT_FILES, last=last)):
        wrong += len(await inside(partial(_strays, after=last, until=ids[-1], repair=True)))
        last = ids[-1]
    return datasets, wrong


async def _after(conn: Connection, statement: str, last: int) -> list[int]:
    return [row["id"] for row in await conn.fetch(statement, last, SLICE)]


async def _wrong(conn: Connection, statement: str, *values: object) -> list[Any]:
    rows = await conn.fetch(statement, *values, timeout=LONG_S)
    return [row for row in rows if row["counted"] != row["found"]]


async def _datasets(conn: Connection, dataset_ids: Sequence[int], repair: bool) -> list[Difference]:
    rows = await _wrong(conn, DATASETS, dataset_ids)
    copies = await _wrong(conn, REPLICAS, dataset_ids)
    if repair:
        for row in rows:
            await conn.execute(MEND_DATASET, row["id"], row["what"], row["found"] - row["counted"])
        for row in copies:
            lacking = row["found"] - row["counted"]
            await conn.execute(MEND_REPLICA, row["id"], row["storage_id"], row["what"], lacking)
        await subscriptions.settle(conn, sorted({row["id"] for row in (*rows, *copies)}))
    return [*await _noted(conn, "dataset", rows, repair), *await _noted(conn, "dataset", copies, repair)]


async def _storages(conn: Connection) -> list[int]:
    return [row["id"] for row in await conn.fetch("SELECT id FROM storage ORDER BY id")]


async def _storage(conn: Connection, storage_id: int, repair: bool) -> list[Difference]:
    """What is used there, by all and by owners."""
    copies = await _wrong(conn, STORAGE_USE, storage_id)
    owners = await _wrong(conn, OWNER_USE, storage_id)
    if repair:
        for row in copies:
            await conn.execute(MEND_STORAGE, row["id"], row["what"], row["found"] - row["counted"])
        for row in owners:
            await conn.execute(MEND_OWNER, row["object"], row["id"], row["found"] - row["counted"])
    return [*await _noted(conn, "storage", copies, repair), *await _noted(conn, "owner", owners, repair)]


async def _holds(conn: Connection, repair: bool) -> list[Difference]:
    """Who waits for how many files."""
    waits = await _wrong(conn, HOLDS)
    if repair:
        mended = [await conn.fetchrow(MEND_HOLD, row["id"], row["found"] - row["counted"]) for row in waits]
        freed = [row["holder"] for row in mended if row is not None and row["missing"] == 0]
        await hooks.tell_satisfied(conn, await subscriptions.fulfilled(conn, freed))
    return await _noted(conn, "hold", waits, repair)


async def _strays(conn: Connection, after: int, until: int, repair: bool) -> list[Difference]:
    """Copies of files in no dataset that nothing would ever delete."""
    rows = await _wrong(conn, STRAYS, after, until)
    if repair:
        for row in rows:
            await conn.execute(FORGET, row["id"], row["storage_id"], FORGOTTEN)
    return await _noted(conn, "file", rows, repair)


async def _noted(conn: Connection, whose: str, rows: Sequence[Any], repair: bool) -> list[Difference]:
    found = [
        Difference(f"{whose} {row['what']}", row["object"], row.get("storage"), row["counted"], row["found"])
        for row in rows
    ]
    for difference in found if repair else []:
        where = f" at {difference.storage}" if difference.storage else ""
        words = f"{difference.what}{where}: {difference.counted} counted, {difference.found} found and set"
        await history.note(conn, "recount", difference.object, "", words)
    return found
