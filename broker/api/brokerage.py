"""The brokerage: a decision reached again from what was recorded."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from .. import decision_views
from .documents import ReplayView
from .parameters import LARGEST_ID
from .parts import Document, Read
from .policies import READER

router = APIRouter(prefix="/api/brokerage", tags=["brokerage"])


@router.get(
    "/replay",
    dependencies=[READER],
    summary="The decision about a task at a time, made again from its recorded facts",
    responses={200: {"model": ReplayView}},
)
async def replay(
    conn: Read,
    task: Annotated[int, Query(ge=1, le=LARGEST_ID)],
    at: Annotated[AwareDatetime | None, Query(description="with its offset from UTC; now if not given")] = None,
) -> Document:
    return Document(await decision_views.replayed(conn, task, at))
