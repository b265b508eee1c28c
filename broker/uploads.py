"""Files that people bring: told where to put them, then registered together once every one was verified there."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator

from prodchain.catalog import datasets, files, garbage, history, quotas, replicas, storage, tombstones
from prodchain.catalog.errors import BadStorage, ChecksumMismatch, DatasetConflict, FileConflict, FileMissing
from prodchain.catalog.files import NewFile
from prodchain.catalog.models import BOOKKEEPING, DatasetKind, DatasetState
from prodchain.catalog.names import Did, parse_did, url_of

from .connections import connection
from .database import Connection, Pool
from .errors import WrongState
from .reading import in_thread
from .storage_views import named
from .task_views import View

AT_ONCE = 4
"""Files that are read at the same time."""


class BroughtFile(BaseModel):
    """A file and what it must be."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(min_length=1, max_length=250)
    guid: UUID
    bytes: int = Field(ge=0, le=2**63 - 1)
    adler32: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{8}$")]
    events: int = Field(default=0, ge=0, le=2**63 - 1)
    meta: dict[str, Any] | None = None


class Upload(BaseModel):
    """Files for one dataset, which is made if need be; ``storage`` is the home storage unless named."""

    model_config = ConfigDict(extra="forbid")

    dataset: str
    storage: str | None = None
    kind: DatasetKind = DatasetKind.USER
    files: list[BroughtFile] = Field(min_length=1, max_length=10_000)

    @field_validator("kind")
    @classmethod
    def not_ours(cls, kind: DatasetKind) -> DatasetKind:
        if kind in BOOKKEEPING:
            raise ValueError(f"{kind} datasets are made by the system only")
        return kind

    @field_validator("files")
    @classmethod
    def each_once(cls, brought: list[BroughtFile]) -> list[BroughtFile]:
        twice = [name for name, times in Counter(file.name for file in brought).items() if times > 1]
        if twice:
            raise ValueError(f"{twice[0]} is named more than once")
        return brought

    def did(self) -> Did:
        return parse_did(self.dataset)

    def new_files(self) -> list[NewFile]:
        scope = self.did().scope
        return [
            NewFile(Did(scope, f.name), f.guid, f.bytes, f.adler32.lower(), f.events, meta=f.meta) for f in self.files
        ]


_STRANGERS = """
SELECT EXISTS (
    SELECT FROM unnest($3::text[]) AS brought (name) WHERE NOT EXISTS (
        SELECT FROM file f JOIN dataset_file m ON m.file_id = f.id
        WHERE f.scope = $2 AND f.name = brought.name AND m.dataset_id = $1
    )
)
"""
_PRESENT = """
SELECT f.name, f.bytes, f.adler32, r.file_id IS NOT NULL AS here
FROM file f LEFT JOIN replica r ON r.file_id = f.id AND r.storage_id = $3
WHERE f.scope = $1 AND f.name = ANY($2)
"""

_GONE = """
SELECT f.scope || ':' || f.name FROM file f
WHERE f.id = ANY($2::bigint[]) AND NOT EXISTS (SELECT FROM replica r WHERE r.file_id = f.id AND r.storage_id = $1)
ORDER BY f.id LIMIT 1
"""


async def plan(conn: Connection, upload: Upload, owner: str) -> View:
    """Where each file goes; ``present`` says that it is there already. Changes nothing.

    Raises what a commit would raise for names, so that nobody uploads for hours what will be refused.
    ``quota_left_bytes`` is what the quota of the dataset's account there leaves now, None where there is none.
    """
    place, storage_id, account = await _plan(conn, upload, owner)
    left = [use.limit - use.used - use.moving for use in await quotas.of(conn, account, storage_id)]
    return place | {"quota_left_bytes": max(0, min(left)) if left else None}


async def commit(pool: Pool, upload: Upload, owner: str) -> Did:
    """Read every file at the storage, then register all in one transaction, or none; repeating changes nothing."""
    did, new = upload.did(), upload.new_files()
    async with connection(pool) as conn, conn.transaction():
        place, storage_id, account = await _plan(conn, upload, owner)
        await garbage.spare(conn, storage_id, [file.did for file in new])
    # Hours may go by here: no connection is held.
    missing = {item["name"]: item["url"] for item in place["files"] if not item["present"]}
    await _verify([(file, missing[file.did.name]) for file in new if file.did.name in missing])
    async with connection(pool) as conn, conn.transaction():
        dataset = await datasets.create(conn, did, upload.kind, owner)
        assert dataset.id is not None
        ids = await files.register(conn, new)
        added = await datasets.add_files(conn, dataset.id, ids)
        await history.note_added(conn, datasets.versioned(dataset), owner, len(added))
        brought = sum(file.bytes for file in new if file.did.name in missing)
        await quotas.check(conn, account, storage_id, brought, apart_from=[dataset.id])
        unread = [key for key, file in zip(ids, new, strict=True) if file.did.name not in missing]
        await _refuse_gone(conn, storage_id, unread)
        await tombstones.keep_files(conn, storage_id, ids)
        await replicas.arrive(conn, storage_id, ids)
    return did


async def _plan(conn: Connection, upload: Upload, owner: str) -> tuple[View, int, str]:
    """Where each file goes, the storage, and the account that it is on."""
    did, new = upload.did(), upload.new_files()
    account = await _account(conn, did, upload.kind, owner, [file.did.name for file in new])
    if upload.storage is not None:
        await named(conn, upload.storage)
    target = await conn.fetchrow(
        "SELECT id, name, url, writable FROM storage WHERE name = $1 OR ($1::text IS NULL AND home)", upload.storage
    )
    if target is None or not target["writable"]:
        what = f"storage {upload.storage or 'home'}"
        raise BadStorage(
            f"{what} is not writable" if target else f"there is no {what}",
            object=what,
            hint="`prodchain storage ls` lists the storages",
        )
    rows = await conn.fetch(_PRESENT, did.scope, [file.did.name for file in new], target["id"])
    known = {row["name"]: row for row in rows}
    items = [
        {"name": file.did.name, "url": url_of(target["url"], file.did), "present": _is_here(file, known)}
        for file in new
    ]
    wanted = sum(file.bytes for file, item in zip(new, items, strict=True) if not item["present"])
    await quotas.check(conn, account, target["id"], wanted)
    await quotas.check_space(conn, target["id"], wanted)
    return {"storage": target["name"], "files": items}, target["id"], account


def _is_here(file: NewFile, known: dict[str, View]) -> bool:
    row = known.get(file.did.name)
    if row is None:
        return False
    if (row["bytes"], row["adler32"]) != (file.bytes, file.adler32):
        raise FileConflict(
            f"{file.did} is known with {row['bytes']} bytes and adler32 {row['adler32']},"
            f" not with {file.bytes} bytes and adler32 {file.adler32}",
            object=str(file.did),
            hint="content never changes under a name: give the new content a new name",
        )
    return bool(row["here"])


async def _account(conn: Connection, did: Did, kind: DatasetKind, owner: str, names: Sequence[str]) -> str:
    """The account that the dataset is on, or would be.

    One that is somebody else's, that a task fills, or that is deleted or closed takes no uploads; what is in a closed
    one already may be put again.
    """
    dataset = next((each for each in await datasets.versions(conn, did) if each.latest), None)
    if dataset is None:
        return owner
    task = await conn.fetchval("SELECT min(id) FROM task WHERE output_id = $1", dataset.id)
    if task is not None:
        raise WrongState(
            f"{did} is the output of task {task}", object=str(did), hint="upload into a dataset of your own"
        )
    if (dataset.kind, dataset.owner) != (kind, owner):
        raise DatasetConflict(
            f"{did} is a {dataset.kind} dataset of {dataset.owner}", object=str(did), hint="choose another name"
        )
    datasets.refuse_deleted(dataset)
    if dataset.state == DatasetState.CLOSED and await conn.fetchval(_STRANGERS, dataset.id, did.scope, names):
        raise datasets.closed(did)
    return quotas.account(dataset)


async def _refuse_gone(conn: Connection, storage_id: int, ids: Sequence[int]) -> None:
    """What was there already was not read: it must still be there."""
    gone = await conn.fetchval(_GONE, storage_id, ids)
    if gone is not None:
        raise FileMissing(
            f"the copy of {gone} was deleted while other files were read",
            object=gone,
            hint="put it again: nothing was registered",
        )


async def _verify(wanted: Sequence[tuple[NewFile, str]]) -> None:
    """Read what is there, a few files at a time; the first mistake ends it."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(file: NewFile, url: str) -> None:
        async with turns:
            await in_thread(_compare, file, url)

    try:
        async with asyncio.TaskGroup() as group:
            for file, url in wanted:
                group.create_task(one(file, url))
    except ExceptionGroup as failures:  # not except*: Python 3.11.2 wraps what is raised there again
        raise failures.exceptions[0] from None


def _compare(file: NewFile, url: str) -> None:
    """Size first: a transfer that broke off shows without reading the file."""
    size = storage.size(url)
    if size is None:
        raise FileMissing(f"{file.did} is not at {url}", object=str(file.did), hint="store it there, then commit")
    adler32 = storage.adler32(url) if size == file.bytes else "unread"
    if (size, adler32) != (file.bytes, file.adler32):
        raise ChecksumMismatch(
            f"{file.did} has {size} bytes, adler32 {adler32} at {url},"
            f" not {file.bytes} bytes, adler32 {file.adler32}",
            object=str(file.did),
            hint="store it again, then commit; nothing was registered",
        )
