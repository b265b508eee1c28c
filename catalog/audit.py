"""A storage's own listing against the catalog: dark files, lost ones, and those of another size.

The listing is a snapshot that takes its time: a copy that was registered since it began is not called lost, and a
file that is on its way there or away from there is not called dark. What is declared bad is looked at once more.
"""

import asyncio
import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from tempfile import TemporaryFile
from typing import IO

from . import backends, badreplicas, files, history, sites
from . import storage as at_storage
from .connection import Connection, Pool
from .errors import BadStorage
from .models import Storage
from .names import Did, path_of

SLICE = 10_000
"""Entries of the listing, or files of a repair, that are handled at once."""
DECLARED = 1000
LOOKERS = 8
"""Files that are looked at once more at a time, before they are declared bad."""
SHOWN = 1000
"""Files of each sort that an audit names; all are counted."""
SORTS = ("dark", "lost", "wrong_size", "partial")
LONG_S = 3600.0
"""A large storage is compared by one statement, which may take longer than others."""
DARK_DAYS = 1
"""Dark files that are given up wait so long for somebody to register them after all."""

CREATE = 'CREATE TEMPORARY TABLE listing (path text COLLATE "C" NOT NULL, bytes bigint NOT NULL)'
DROP = "DROP TABLE IF EXISTS listing, odd"
# What is registered there, what is on its way there, and what waits for its deletion; paths as names.path_of makes
# them (Rucio's hash).
COMPARE = """
CREATE TEMPORARY TABLE odd AS
WITH known AS (
    SELECT f.scope, f.name, f.id, f.bytes, r.created_at FROM replica r JOIN file f ON f.id = r.file_id
    WHERE r.storage_id = {storage}
    UNION ALL
    SELECT f.scope, f.name, NULL, NULL, NULL FROM transfer t JOIN file f ON f.id = t.file_id
    WHERE t.storage_id = {storage} AND t.state = 'queued'
      AND NOT EXISTS (SELECT FROM replica r WHERE r.file_id = t.file_id AND r.storage_id = t.storage_id)
    UNION ALL
    SELECT g.scope, g.name, NULL, NULL, NULL FROM garbage g LEFT JOIN file f USING (scope, name)
    WHERE g.storage_id = {storage}
      AND NOT EXISTS (SELECT FROM replica r WHERE r.file_id = f.id AND r.storage_id = g.storage_id)
), placed AS (
    SELECT known.*,
           CASE WHEN scope LIKE 'user%' OR scope LIKE 'group%' THEN replace(scope, '.', '/') ELSE scope END
           || '/' || substr(hash, 1, 2) || '/' || substr(hash, 3, 2) || '/' || name COLLATE "C" AS path, true AS here
    FROM known CROSS JOIN LATERAL (SELECT md5(scope || ':' || name) AS hash) h
)
SELECT path, listing.bytes AS there, placed.bytes AS known, placed.id AS file_id,
       CASE WHEN placed.here IS NULL AND path ~ '[.]part-[0-9a-f-]+$' THEN 'partial'
            WHEN placed.here IS NULL THEN 'dark'
            WHEN listing.bytes IS NULL THEN 'lost'
            ELSE 'wrong_size' END AS sort
FROM placed FULL JOIN listing USING (path)
WHERE placed.here IS NULL
   OR placed.id IS NOT NULL AND listing.bytes IS NULL AND placed.created_at < {began}
   OR placed.bytes <> listing.bytes
"""
STILL = """
SELECT file_id FROM replica WHERE storage_id = $1 AND file_id = ANY($2::bigint[]) AND created_at < $3
"""
LISTED = "SELECT count(*) FROM listing"
REGISTERED = "SELECT coalesce(sum(files), 0)::bigint FROM storage_use WHERE storage_id = $1"
COUNTS = "SELECT sort, count(*) AS files FROM odd GROUP BY sort"
SOME = "SELECT path, there, known, file_id FROM odd WHERE sort = ANY($1) AND path > $2 ORDER BY path LIMIT $3"
GIVE_UP = """
INSERT INTO garbage (storage_id, scope, name, not_before)
SELECT $1, dark.scope, dark.name, now() + make_interval(days => $4)
FROM unnest($2::text[], $3::text[]) AS dark (scope, name)
"""


@dataclass(frozen=True)
class Odd:
    """A path below the storage's URL: the bytes that are there, and those that the catalog knows (None: nothing)."""

    path: str
    there: int | None
    known: int | None


@dataclass
class Audit:
    """What a comparison found, and what was done about it."""

    storage: str
    began: datetime
    listed: int
    registered: int
    counts: dict[str, int]
    """Files by sort: ``dark`` (the catalog does not know them there), ``lost`` (registered, but not there),
    ``wrong_size``, ``partial`` (left behind by copies that were broken off; the mover sweeps them)."""
    files: dict[str, list[Odd]] = field(default_factory=dict)
    declared_bad: int = 0
    given_up: int = 0

    @property
    def clean(self) -> bool:
        return not any(self.counts.values())


async def compare(pool: Pool, name: str, *, actor: str = "", declare: bool = False, give_up: bool = False) -> Audit:
    """Compare what the storage lists with what is registered there. It reads the whole listing, not the files.

    ``declare``: lost copies and those of another size are declared bad, so that they are made again from good ones.
    ``give_up``: dark files at a path of ours are deleted after a day, unless somebody registers them. No connection
    is kept while the storage lists what it has, which is what takes long.
    """
    async with pool.acquire() as conn:
        storage = await sites.storage(conn, name)
        began: datetime = await conn.fetchval("SELECT clock_timestamp()")
    with TemporaryFile("w+") as listing:
        await asyncio.to_thread(_spool, storage.url, listing)
        async with pool.acquire() as conn:
            return await _compare(conn, storage, began, listing, actor, declare=declare, give_up=give_up)


async def _compare(
    conn: Connection,
    storage: Storage,
    began: datetime,
    listing: IO[str],
    actor: str,
    *,
    declare: bool,
    give_up: bool,
) -> Audit:
    assert storage.id is not None
    try:
        await conn.execute(CREATE)
        while entries := await asyncio.to_thread(_read, listing):
            await conn.copy_records_to_table("listing", records=entries)
        compare = COMPARE.format(storage=storage.id, began=f"'{began.isoformat()}'::timestamptz")
        await conn.execute(compare, timeout=LONG_S)
        counts = dict.fromkeys(SORTS, 0) | {row["sort"]: row["files"] for row in await conn.fetch(COUNTS)}
        found = Audit(
            storage.name, began, await conn.fetchval(LISTED), await conn.fetchval(REGISTERED, storage.id), counts
        )
        for sort in SORTS:
            rows = await conn.fetch(SOME, [sort], "", SHOWN)
            found.files[sort] = [Odd(row["path"], row["there"], row["known"]) for row in rows]
        if declare:
            _refuse_empty(found)
            found.declared_bad = await _declare(conn, storage, began, actor)
        if give_up:
            found.given_up = await _give_up(conn, storage, actor)
    finally:
        await conn.execute(DROP)
    return found


def _spool(url: str, listing: IO[str]) -> None:
    """In a thread: write the listing down, a line for each file."""
    for path, size in _entries(url):
        listing.write(json.dumps((path, size)) + "\n")
    listing.seek(0)


def _read(listing: IO[str]) -> list[tuple[str, int]]:
    return [(path, size) for path, size in map(json.loads, islice(listing, SLICE))]


def _entries(url: str) -> Iterator[tuple[str, int]]:
    """Paths below the storage's URL; servers differ in how many slashes they begin with."""
    place = backends.place(url)
    root = re.sub("/+", "/", f"/{place.path}/")
    for entry in place.backend.list(place.path):
        yield re.sub("/+", "/", f"/{entry.path}").removeprefix(root), entry.bytes


def _refuse_empty(found: Audit) -> None:
    """A storage that lists nothing is not mounted, or has another prefix: declared, all that it has would be lost."""
    if found.registered and not found.listed:
        raise BadStorage(
            f"{found.storage} lists nothing, where {found.registered} copies are registered: none is declared bad",
            object=found.storage,
            hint="check that it is mounted and its URL right; single copies: `prodchain dataset bad`",
        )


async def _declare(conn: Connection, storage: Storage, began: datetime, actor: str) -> int:
    """Copies that are not what they should be, and still are not; one transaction for each slice."""
    done, after = 0, ""
    while rows := await conn.fetch(SOME, ["lost", "wrong_size"], after, DECLARED):
        after = rows[-1]["path"]
        sizes = await asyncio.to_thread(_sizes, storage.url, [row["path"] for row in rows])
        wrong = {row["file_id"]: size for row, size in zip(rows, sizes, strict=True) if size != row["known"]}
        async with conn.transaction():
            # A copy that came anew since the listing began is another one; one that is deleted is no longer there.
            await files.lock(conn, wrong)
            still = [row["file_id"] for row in await conn.fetch(STILL, storage.id, list(wrong), began)]
            for words, gone in (("not there", True), ("of another size there", False)):
                ids = [file for file in still if (wrong[file] is None) is gone]
                done += len(await badreplicas.bad(conn, storage.id or 0, ids, actor, f"an audit found it {words}"))
    return done


def _sizes(url: str, paths: Sequence[str]) -> list[int | None]:
    """In a thread: what is there now."""
    with ThreadPoolExecutor(LOOKERS) as threads:
        return list(threads.map(at_storage.size, [f"{url.rstrip('/')}/{path}" for path in paths]))


async def _give_up(conn: Connection, storage: Storage, actor: str) -> int:
    done, after = 0, ""
    while rows := await conn.fetch(SOME, ["dark"], after, SLICE):
        after = rows[-1]["path"]
        ours = [did for row in rows if (did := did_at(row["path"])) is not None]
        async with conn.transaction():
            await conn.execute(
                GIVE_UP, storage.id, [did.scope for did in ours], [did.name for did in ours], DARK_DAYS
            )
        done += len(ours)
    if done:
        text = f"an audit gave up {done} dark files: they are deleted in {DARK_DAYS} day unless registered"
        await history.note(conn, "audit", storage.name, actor, text)
    return done


def did_at(path: str) -> Did | None:
    """The file whose path this is, None if no file of ours would lie there."""
    folder, _, name = path.rpartition("/")
    scope = folder.rsplit("/", 2)[0].replace("/", ".")
    did = Did(scope, name)
    return did if scope and path_of(did) == path else None
