"""Jobs: listed, explained, read along, killed."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from .. import job_views, jobs, task_views, tasks, why
from ..states import JobState
from .documents import EventView, JobView, Page
from .parameters import LARGEST_ID, AfterId, Id, Limit, Word
from .parts import Document, Read, Write, page, parts_of
from .policies import READER, User, only_own

router = APIRouter(prefix="/api/jobs", tags=["jobs"])

State = Annotated[JobState | None, Query()]
OfTask = Annotated[int | None, Query(ge=1, le=LARGEST_ID)]


@router.get("", dependencies=[READER], summary="Jobs, newest first", responses={200: {"model": Page[JobView]}})
async def listing(
    conn: Read,
    task: OfTask = None,
    state: State = None,
    queue: Word = None,
    site: Word = None,
    limit: Limit = 100,
    after: AfterId = None,
) -> Document:
    return page(await job_views.jobs(conn, task=task, state=state, queue=queue, site=site, limit=limit, after=after))


@router.get("/{id}", dependencies=[READER], summary="One job", responses={200: {"model": JobView}})
async def one(id: Id, conn: Read) -> Document:  # noqa: A002
    return Document(await job_views.job(conn, id))


@router.get("/{id}/why", dependencies=[READER], summary="Why the job is not further")
async def explain(id: Id, conn: Read) -> Document:  # noqa: A002
    return Document(await why.job_why(conn, id))


@router.get(
    "/{id}/story",
    dependencies=[READER],
    summary="What happened to the job",
    responses={200: {"model": Page[EventView]}},
)
async def story(id: Id, conn: Read, limit: Limit = 1000, after: AfterId = None) -> Document:  # noqa: A002
    return page(await task_views.job_story(conn, id, limit=limit, after=after))


@router.get(
    "/{id}/log",
    dependencies=[READER],
    summary="The job's log so far",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/plain": {}}}},
)
async def log(
    id: Id,  # noqa: A002
    request: Request,
    conn: Read,
    start: Annotated[int, Query(ge=0, le=2**31 - 1, description="first character")] = 0,
) -> StreamingResponse:
    await jobs.get(conn, id)
    pieces = job_views.log_pieces(parts_of(request).pool, id, start)
    return StreamingResponse(pieces, media_type="text/plain; charset=utf-8")


@router.post("/{id}/kill", summary="Cancel a job wherever it is", responses={200: {"model": JobView}})
async def kill(id: Id, caller: User, conn: Write) -> Document:  # noqa: A002
    job = await jobs.get(conn, id)
    only_own(caller, (await tasks.get(conn, job.task_id)).owner, f"job {id}")
    await jobs.kill(conn, id, f"user:{caller.subject}", f"killed by {caller.subject}")
    return Document(await job_views.job(conn, id))
