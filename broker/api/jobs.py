"""Jobs: listed, read along, steered."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import Field

from .. import job_orders, job_views, jobs, task_views, tasks
from ..database import Connection
from ..states import JobState
from ..tokens import Caller
from .documents import EventView, JobView, Page
from .ordering import ANSWER, Order, Plain, carried_out
from .parameters import LARGEST_ID, AfterId, Id, Limit, Word
from .parts import Document, Read, Write, page, parts_of
from .policies import READER, User, actor_of, may_steer
from .task_orders import Reassign

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


class PriorityOrder(Order):
    priority: int = Field(ge=0, le=100_000)


async def _may(conn: Connection, caller: Caller, job_id: int) -> str:
    task = await tasks.get(conn, (await jobs.get(conn, job_id)).task_id)
    await may_steer(conn, caller, task.owner, task.group_name, f"job {job_id}")
    return actor_of(caller)


@router.post("/{id}/kill", summary="Cancel a job wherever it is", responses=ANSWER)
async def kill(id: Id, order: Plain, caller: User, conn: Write) -> Document:  # noqa: A002
    actor = await _may(conn, caller, id)
    return await carried_out(conn, order, lambda: job_orders.kill(conn, id, actor, order.reason))


@router.post("/{id}/reassign", summary="Let the brokerage decide anew on a job that waits", responses=ANSWER)
async def reassign(id: Id, order: Reassign, caller: User, conn: Write) -> Document:  # noqa: A002
    """``to`` a queue or site, else for another queue than its present one."""
    actor = await _may(conn, caller, id)
    return await carried_out(conn, order, lambda: job_orders.reassign(conn, id, order.to, actor, order.reason))


@router.post("/{id}/priority", summary="Move a job that waits up or down", responses=ANSWER)
async def prioritise(id: Id, order: PriorityOrder, caller: User, conn: Write) -> Document:  # noqa: A002
    actor = await _may(conn, caller, id)
    return await carried_out(
        conn, order, lambda: job_orders.prioritise(conn, id, order.priority, actor, order.reason)
    )
