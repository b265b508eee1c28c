"""Storages, what goes between them, and how well."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from .. import storage_views, transfer_views
from .documents import LinkView, Page, StorageView, TransferView
from .parameters import AfterMark, AfterName, Limit
from .parts import Document, Read, page
from .policies import READER

router = APIRouter(prefix="/api", tags=["storages"])

Name = Annotated[str, Path(min_length=1, max_length=100, description="its name")]
State = Annotated[transfer_views.Shown | None, Query(description="failing: queued, with an error")]
At = Annotated[str | None, Query(max_length=100, description="from or to this storage")]


@router.get("/storages", dependencies=[READER], summary="Storages", responses={200: {"model": Page[StorageView]}})
async def listing(conn: Read, limit: Limit = 1000, after: AfterName = None) -> Document:
    """With what they hold, what is on its way there, and the room that is left."""
    return page(await storage_views.storages(conn, limit=limit, after=after))


@router.get("/storages/{name}", dependencies=[READER], summary="One storage", responses={200: {"model": StorageView}})
async def one(name: Name, conn: Read) -> Document:
    return Document(await storage_views.storage(conn, name))


@router.get(
    "/links",
    dependencies=[READER],
    summary="Between storages, the last day",
    responses={200: {"model": Page[LinkView]}},
)
async def links(conn: Read, limit: Limit = 1000, after: AfterMark = None) -> Document:
    """How fast copies went from one storage to another, and how many tries were in vain."""
    return page(await storage_views.links(conn, limit=limit, after=after))


@router.get(
    "/transfers",
    dependencies=[READER],
    summary="Transfers, newest first",
    responses={200: {"model": Page[TransferView]}},
)
async def transfers(
    conn: Read, state: State = None, at: At = None, limit: Limit = 100, after: AfterMark = None
) -> Document:
    return page(await transfer_views.transfers(conn, state=state, at=at, limit=limit, after=after))
