"""Datasets: found by pattern, fields and places; shown with copies, files, content and story."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query

from prodchain.catalog import lookup
from prodchain.catalog.models import DatasetKind

from .. import copy_views, dataset_views
from .. import lineage as ancestry
from ..provenance import prov
from .documents import (
    CatalogEventView,
    CopyWhyView,
    DatasetView,
    DiffView,
    FacetsView,
    FileView,
    OneDatasetView,
    Page,
)
from .parameters import AfterId, AfterMark, DidText, Limit, Word
from .parts import Document, Read, page
from .policies import READER

router = APIRouter(prefix="/api/datasets", tags=["datasets"])

Pattern = Annotated[str, Query(min_length=1, max_length=300, description="`*` anything, `?` one character")]
Kind = Annotated[DatasetKind | None, Query()]
Bookkeeping = Annotated[bool, Query(description="also what the system makes for itself")]
Owner = Annotated[str | None, Query(max_length=100)]
Place = Annotated[str | None, Query(max_length=100, description="a storage or a site")]
Since = Annotated[datetime | None, Query(description="made since then; UTC unless it says otherwise")]
Deleted = Annotated[bool, Query(description="also what is deleted")]
Versions = Annotated[bool, Query(description="also versions before the latest")]


async def asked(
    pattern: Pattern = "*",
    kind: Kind = None,
    bookkeeping: Bookkeeping = False,
    owner: Owner = None,
    project: Word = None,
    number: Word = None,
    physics: Word = None,
    step: Word = None,
    format: Word = None,  # noqa: A002
    tags: Word = None,
    at: Place = None,
    not_at: Place = None,
    complete_at: Place = None,
    since: Since = None,
    deleted: Deleted = False,
    versions: Versions = False,
) -> lookup.Query:
    """The question that the filters of a list make."""
    fields = {
        "project": project, "number": number, "physics": physics, "step": step, "format": format, "tags": tags
    }  # fmt: skip
    if since is not None and since.tzinfo is None:
        since = since.replace(tzinfo=UTC)
    return lookup.Query(
        pattern=pattern,
        kinds=[kind] if kind else [],
        bookkeeping=bookkeeping,
        owner=owner,
        facets={name: value for name, value in fields.items() if value is not None},
        at=at,
        not_at=not_at,
        complete_at=complete_at,
        since=since,
        deleted=deleted,
        versions=versions,
    )


Storage = Annotated[str, Query(min_length=1, max_length=100, description="name of a storage")]
Other = Annotated[str, Query(min_length=1, max_length=300, description="the dataset to compare with")]
Steps = Annotated[int, Query(ge=0, le=1000, description="steps that are followed")]
Form = Annotated[Literal["plain", "prov"], Query(description="prov: PROV-JSON")]
Asked = Annotated[lookup.Query, Depends(asked)]
Sort = Annotated[
    str, Query(max_length=20, description="name, created, bytes, files, events; `-bytes`: largest first")
]


@router.get("", dependencies=[READER], summary="Datasets that fit", responses={200: {"model": Page[DatasetView]}})
async def listing(
    conn: Read, wanted: Asked, sort: Sort = "name", limit: Limit = 100, after: AfterMark = None
) -> Document:
    return page(await dataset_views.datasets(conn, wanted, sort=sort, limit=limit, after=after))


@router.get(
    "/facets",
    dependencies=[READER],
    summary="How many there are for each value of each field",
    responses={200: {"model": FacetsView}},
)
async def facets(conn: Read, wanted: Asked) -> Document:
    """Each field is counted without its own filter; `exact` is false where there are too many to count."""
    return Document(await dataset_views.facets(conn, wanted))


@router.get(
    "/{did}",
    dependencies=[READER],
    summary="One dataset, its copies, tasks, and how to read it",
    responses={200: {"model": OneDatasetView}},
)
async def one(did: DidText, conn: Read) -> Document:
    return Document(await dataset_views.dataset(conn, did))


@router.get(
    "/{did}/files",
    dependencies=[READER],
    summary="Its files and where they are",
    responses={200: {"model": Page[FileView]}},
)
async def files(did: DidText, conn: Read, limit: Limit = 100, after: AfterId = None) -> Document:
    return page(await dataset_views.files(conn, did, limit=limit, after=after))


@router.get(
    "/{did}/content",
    dependencies=[READER],
    summary="What is directly in a container",
    responses={200: {"model": Page[DatasetView]}},
)
async def content(did: DidText, conn: Read, limit: Limit = 100, after: AfterId = None) -> Document:
    return page(await dataset_views.content(conn, did, limit=limit, after=after))


@router.get(
    "/{did}/story",
    dependencies=[READER],
    summary="What happened to it, newest first",
    responses={200: {"model": Page[CatalogEventView]}},
)
async def story(did: DidText, conn: Read, limit: Limit = 100, after: AfterId = None) -> Document:
    return page(await dataset_views.story(conn, did, limit=limit, after=after))


@router.get(
    "/{did}/why",
    dependencies=[READER],
    summary="Why its copy at a storage is not complete",
    responses={200: {"model": CopyWhyView}},
)
async def why(did: DidText, conn: Read, at: Storage, limit: Limit = 100, after: AfterId = None) -> Document:
    """In sentences, then each missing file with its attempts, last error and next try."""
    return Document(await copy_views.why(conn, did, at, limit=limit, after=after))


@router.get(
    "/{did}/diff",
    dependencies=[READER],
    summary="What another dataset or version has more and less",
    responses={200: {"model": DiffView}},
)
async def diff(did: DidText, conn: Read, other: Other, limit: Limit = 1000, after: AfterId = None) -> Document:
    return Document(await dataset_views.diff(conn, did, other, limit=limit, after=after or 0))


@router.get("/{did}/lineage", dependencies=[READER], summary="What it was made from, and what of it")
async def lineage(
    did: DidText, conn: Read, up: Steps = ancestry.DEPTH, down: Steps = ancestry.DEPTH, form: Form = "plain"
) -> Document:
    """Datasets with their steps from this one (before it: negative), and the tasks between them; or as W3C PROV."""
    found = await dataset_views.find(conn, did)
    document = await ancestry.lineage(conn, dataset_views.id_of(found), up=up, down=down)
    return Document(await asyncio.to_thread(prov, document) if form == "prov" else document)
