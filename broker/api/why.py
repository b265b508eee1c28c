"""Why tasks and jobs wait, or are where they are: now, or at a time in the past."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from .. import why
from .documents import WhyView
from .parameters import Id
from .parts import Document, Read
from .policies import READER

router = APIRouter(prefix="/api", tags=["why"])

At = Annotated[
    AwareDatetime | None, Query(description="a time in the past, as 2026-11-22T10:00:00Z; now if not given")
]


@router.get(
    "/tasks/{id}/why",
    dependencies=[READER],
    summary="Why the task is not further",
    responses={200: {"model": WhyView}},
)
async def of_task(id: Id, conn: Read, at: At = None) -> Document:  # noqa: A002
    return Document(await why.task_why(conn, id, at))


@router.get(
    "/jobs/{id}/why",
    dependencies=[READER],
    summary="Why the job waits, or is where it is",
    responses={200: {"model": WhyView}},
)
async def of_job(id: Id, conn: Read, at: At = None) -> Document:  # noqa: A002
    return Document(await why.job_why(conn, id, at))
