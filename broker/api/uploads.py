"""Uploads in two steps: where to put the files, and the registration of what is there."""

from fastapi import APIRouter, Request
from pydantic import BaseModel

from .. import dataset_views, uploads
from ..connections import connection
from ..uploads import Upload
from .documents import OneDatasetView
from .parts import Document, Read, parts_of
from .policies import User

router = APIRouter(prefix="/api/uploads", tags=["uploads"])


class PlaceView(BaseModel):
    name: str
    url: str
    present: bool


class UploadView(BaseModel):
    storage: str
    files: list[PlaceView]
    quota_left_bytes: int | None


@router.post("", summary="Where to put files", responses={200: {"model": UploadView}})
async def plan(upload: Upload, caller: User, conn: Read) -> Document:
    """Changes nothing; files that are ``present`` need not be stored again."""
    return Document(await uploads.plan(conn, upload, caller.subject))


@router.post("/commit", summary="Register files that are in place", responses={200: {"model": OneDatasetView}})
async def commit(upload: Upload, caller: User, request: Request) -> Document:
    """Every file is read and compared first; all are registered or none. May be repeated."""
    pool = parts_of(request).pool
    did = await uploads.commit(pool, upload, caller.subject)
    async with connection(pool) as conn:
        return Document(await dataset_views.dataset(conn, str(did)))
