"""What changes datasets: made, filled, closed, opened as a new version, given a lifetime."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, field_validator

from prodchain.catalog import containers, datasets, deletion, history
from prodchain.catalog.models import BOOKKEEPING, Dataset, DatasetKind
from prodchain.catalog.names import Did, parse_did

from .. import dataset_views, tasks
from ..database import Connection
from ..errors import BadRequest
from ..members import file_ids
from .documents import OneDatasetView
from .parameters import DidText
from .parts import Document, Write, tried
from .policies import User, only_own

router = APIRouter(prefix="/api/datasets", tags=["datasets"])

ONE: dict[int | str, dict[str, Any]] = {200: {"model": OneDatasetView}}
Names = Annotated[list[str], Field(max_length=10_000)]


class NewDataset(BaseModel):
    """A dataset to make; without ``expires_at`` it lives as long as its kind does."""

    model_config = ConfigDict(extra="forbid")

    name: str
    kind: DatasetKind = DatasetKind.USER
    expires_at: datetime | None = None
    meta: dict[str, Any] | None = None
    dry_run: bool = False

    @field_validator("kind")
    @classmethod
    def not_ours(cls, kind: DatasetKind) -> DatasetKind:
        if kind in BOOKKEEPING:
            raise ValueError(f"{kind} datasets are made by the system only")
        return kind


class Members(BaseModel):
    """Files that join a dataset, or datasets that join a container, by name."""

    model_config = ConfigDict(extra="forbid")

    files: Names = []
    datasets: Names = []
    dry_run: bool = False


class Change(BaseModel):
    """With ``dry_run`` the answer is what would be, and nothing changes."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool = False


class Lifetime(Change):
    """When it is deleted by itself; null: never."""

    expires_at: datetime | None


async def own(conn: Connection, caller: User, did: str) -> Dataset:
    """The dataset, if the caller may change it."""
    found = await dataset_views.find(conn, did)
    only_own(caller, found.owner, f"dataset {did}")
    return found


async def answer(conn: Connection, dataset_id: int | None, status: int = 200) -> Document:
    """The dataset as it is now."""
    assert dataset_id is not None
    return Document(await dataset_views.one_view(conn, await datasets.by_id(conn, dataset_id)), status)


@router.post(
    "", status_code=201, summary="Make an open, empty dataset", responses={201: {"model": OneDatasetView}, **ONE}
)
async def create(new: NewDataset, caller: User, conn: Write) -> Document:
    """201 if it is new, 200 if it was there with the same kind and owner, 409 if the name is taken."""
    did = parse_did(new.name)
    async with tried(conn, new.dry_run):
        known = await conn.fetchval("SELECT true FROM dataset WHERE scope = $1 AND name = $2", *did)
        made = await datasets.create(conn, did, new.kind, caller.subject, new.expires_at, new.meta)
        return await answer(conn, made.id, 200 if known else 201)


@router.post("/{did}/files", summary="Let files or datasets join", responses=ONE)
async def add(did: DidText, members: Members, caller: User, conn: Write) -> Document:
    """Files join a dataset, datasets a container; what is in it may join again."""
    if bool(members.files) == bool(members.datasets):
        raise BadRequest(
            "a dataset gets files, a container datasets", object=did, hint="send either `files` or `datasets`"
        )
    async with tried(conn, members.dry_run):
        found = await own(conn, caller, did)
        assert found.id is not None
        if members.files:
            await tasks.refuse_to_close(conn, found.id, did)
            ids = await file_ids(conn, found.scope, members.files)
            new = await datasets.add_files(conn, found.id, ids)
            await history.note_added(conn, datasets.versioned(found), caller.subject, len(new))
        else:
            children = [await dataset_views.find(conn, name) for name in members.datasets]
            ids = [child.id for child in children if child.id is not None]
            await containers.add(conn, found.id, ids, caller.subject)
        return await answer(conn, found.id)


@router.post("/{did}/close", summary="Freeze its content for ever", responses=ONE)
async def close(did: DidText, caller: User, conn: Write, change: Change | None = None) -> Document:
    async with tried(conn, change is not None and change.dry_run):
        found = await own(conn, caller, did)
        assert found.id is not None
        await tasks.refuse_to_close(conn, found.id, did)
        await datasets.close(conn, found.id, caller.subject)
        return await answer(conn, found.id)


@router.post("/{did}/new-version", summary="An open version with the same content", responses=ONE)
async def new_version(did: DidText, caller: User, conn: Write, change: Change | None = None) -> Document:
    """Of a closed dataset; the closed version stays as it is. Repeated before it is closed: the same version."""
    async with tried(conn, change is not None and change.dry_run):
        found = await own(conn, caller, did)
        new = await datasets.new_version(conn, Did(found.scope, found.name), caller.subject)
        return await answer(conn, new.id)


@router.post("/{did}/lifetime", summary="When it is deleted by itself", responses=ONE)
async def lifetime(did: DidText, wish: Lifetime, caller: User, conn: Write) -> Document:
    async with tried(conn, wish.dry_run):
        found = await own(conn, caller, did)
        assert found.id is not None
        await datasets.set_lifetime(conn, found.id, wish.expires_at, caller.subject)
        return await answer(conn, found.id)


@router.post("/{did}/delete", summary="Hide it, and let its files go after a time of grace", responses=ONE)
async def delete(did: DidText, caller: User, conn: Write, change: Change | None = None) -> Document:
    """409 while a task, subscription, hold or container needs it; the answer names who."""
    async with tried(conn, change is not None and change.dry_run):
        found = await own(conn, caller, did)
        assert found.id is not None
        await deletion.delete(conn, found.id, caller.subject)
        return await answer(conn, found.id)


@router.post("/{did}/undelete", summary="Bring it back, as long as the grace lasts", responses=ONE)
async def undelete(did: DidText, caller: User, conn: Write, change: Change | None = None) -> Document:
    async with tried(conn, change is not None and change.dry_run):
        found = await own(conn, caller, did)
        assert found.id is not None
        await deletion.undelete(conn, found.id, caller.subject)
        return await answer(conn, found.id)
