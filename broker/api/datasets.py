"""Datasets: found by wildcard, shown with replicas and files, closed."""

from typing import Annotated

from fastapi import APIRouter, Query

from prodchain.catalog import datasets
from prodchain.catalog.models import DatasetKind
from prodchain.catalog.names import parse_did

from .. import dataset_views, tasks
from .documents import DatasetView, FileView, OneDatasetView, Page
from .parameters import AfterId, AfterName, DidText, Limit, Word
from .parts import Document, Read, Write, page
from .policies import READER, User, only_own

router = APIRouter(prefix="/api/datasets", tags=["datasets"])

Pattern = Annotated[str, Query(min_length=1, max_length=300, description="`*` anything, `?` one character")]
Kind = Annotated[DatasetKind | None, Query()]
Bookkeeping = Annotated[bool, Query(description="also what the system makes for itself")]


@router.get("", dependencies=[READER], summary="Datasets by name", responses={200: {"model": Page[DatasetView]}})
async def listing(
    conn: Read,
    pattern: Pattern = "*",
    kind: Kind = None,
    bookkeeping: Bookkeeping = False,
    step: Word = None,
    format: Word = None,  # noqa: A002
    limit: Limit = 100,
    after: AfterName = None,
) -> Document:
    facets = {name: value for name, value in (("step", step), ("format", format)) if value is not None}
    kinds = [kind] if kind else []
    return page(
        await dataset_views.datasets(
            conn, pattern=pattern, kinds=kinds, bookkeeping=bookkeeping, facets=facets, limit=limit, after=after
        )
    )


@router.get(
    "/{did}",
    dependencies=[READER],
    summary="One dataset, its replicas and tasks",
    responses={200: {"model": OneDatasetView}},
)
async def one(did: DidText, conn: Read) -> Document:
    return Document(await dataset_views.dataset(conn, parse_did(did)))


@router.get(
    "/{did}/files",
    dependencies=[READER],
    summary="Its files and where they are",
    responses={200: {"model": Page[FileView]}},
)
async def files(did: DidText, conn: Read, limit: Limit = 100, after: AfterId = None) -> Document:
    return page(await dataset_views.files(conn, parse_did(did), limit=limit, after=after))


@router.post("/{did}/close", summary="Freeze its content for ever", responses={200: {"model": OneDatasetView}})
async def close(did: DidText, caller: User, conn: Write) -> Document:
    dataset = await datasets.get(conn, parse_did(did))
    only_own(caller, dataset.owner, f"dataset {did}")
    assert dataset.id is not None
    await tasks.refuse_to_close(conn, dataset.id, did)
    await datasets.close(conn, dataset.id)
    return Document(await dataset_views.dataset(conn, parse_did(did)))
