"""Sites, queues, storages, pilots, transfers: listed; the sites file: applied."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from .. import revision_views, site_views, sitefile, sites
from .documents import Page, PilotView, QueueView, Shape, SiteView
from .parameters import AfterId, AfterMark, AfterName, Limit
from .parts import Document, Read, Write, page
from .policies import READER, Admin

router = APIRouter(prefix="/api", tags=["sites"])


class SiteFile(BaseModel):
    """The files of a declaration by name; ``base`` is the folder that their relative URLs start from."""

    model_config = ConfigDict(extra="forbid")

    files: dict[Annotated[str, Field(max_length=4096)], Annotated[str, Field(max_length=1_000_000)]] = Field(
        min_length=1, max_length=1000
    )
    base: str = Field(min_length=1, max_length=4096)
    dry_run: bool = False


class RevisionView(Shape):
    id: int
    at: datetime
    actor: str
    changes: list[str]
    text: str


@router.get("/sites", dependencies=[READER], summary="Sites", responses={200: {"model": Page[SiteView]}})
async def site_list(conn: Read, limit: Limit = 1000, after: AfterName = None) -> Document:
    return page(await site_views.sites(conn, limit=limit, after=after))


@router.get("/queues", dependencies=[READER], summary="Queues", responses={200: {"model": Page[QueueView]}})
async def queue_list(conn: Read, limit: Limit = 1000, after: AfterName = None) -> Document:
    return page(await site_views.queues(conn, limit=limit, after=after))


@router.get(
    "/pilots", dependencies=[READER], summary="Pilots, last seen first", responses={200: {"model": Page[PilotView]}}
)
async def pilot_list(conn: Read, limit: Limit = 100, after: AfterMark = None) -> Document:
    return page(await site_views.pilots(conn, limit=limit, after=after))


@router.post("/sites/apply", summary="Make the sites what a sites file says")
async def apply(file: SiteFile, caller: Admin, conn: Write) -> Document:
    """The changes, made or with ``dry_run`` only told; a declaration that changes nothing leaves no history."""
    declared = sitefile.parse_all(file.files, Path(file.base))
    text = "\n".join(file.files.values())
    changes = await sites.apply(conn, declared, actor=caller.subject, text=text, dry_run=file.dry_run)
    return Document({"changes": changes})


@router.get(
    "/sites/history",
    dependencies=[READER],
    summary="What was declared, newest first",
    responses={200: {"model": Page[RevisionView]}},
)
async def history(conn: Read, limit: Limit = 20, after: AfterId = None) -> Document:
    return page(await revision_views.revisions(conn, limit=limit, after=after))
