"""Tasks: submitted, followed, explained, killed, tried again."""

from typing import Annotated

from fastapi import APIRouter, Query

from .. import task_views, tasks, why
from ..requests import TaskRequest
from ..states import TaskState
from .documents import EventView, Page, TaskView
from .parameters import AfterId, Id, Limit, Word
from .parts import Document, Read, Write, page
from .policies import READER, User, only_own

router = APIRouter(prefix="/api/tasks", tags=["tasks"])

State = Annotated[TaskState | None, Query()]


@router.post(
    "", status_code=201, summary="Submit a task", responses={201: {"model": TaskView}, 200: {"model": TaskView}}
)
async def submit(request: TaskRequest, caller: User, conn: Write) -> Document:
    """201 if the task is new, 200 if the same request came before, 409 if the output belongs to other work."""
    task, created = await tasks.submit(conn, request, caller.subject)
    assert task.id is not None
    return Document(await task_views.task(conn, task.id), 201 if created else 200)


@router.get("", dependencies=[READER], summary="Tasks, newest first", responses={200: {"model": Page[TaskView]}})
async def listing(
    conn: Read, state: State = None, step: Word = None, run: Word = None, limit: Limit = 100, after: AfterId = None
) -> Document:
    return page(await task_views.tasks(conn, state=state, step=step, run=run, limit=limit, after=after))


@router.get("/{id}", dependencies=[READER], summary="One task", responses={200: {"model": TaskView}})
async def one(id: Id, conn: Read) -> Document:  # noqa: A002
    return Document(await task_views.task(conn, id))


@router.get("/{id}/why", dependencies=[READER], summary="Why the task is not further")
async def explain(id: Id, conn: Read) -> Document:  # noqa: A002
    return Document(await why.task_why(conn, id))


@router.get(
    "/{id}/story",
    dependencies=[READER],
    summary="What happened to the task and its jobs",
    responses={200: {"model": Page[EventView]}},
)
async def story(id: Id, conn: Read, limit: Limit = 1000, after: AfterId = None) -> Document:  # noqa: A002
    return page(await task_views.task_story(conn, id, limit=limit, after=after))


@router.post("/{id}/kill", summary="Abort a task and cancel its jobs", responses={200: {"model": TaskView}})
async def kill(id: Id, caller: User, conn: Write) -> Document:  # noqa: A002
    only_own(caller, (await tasks.get(conn, id)).owner, f"task {id}")
    await tasks.kill(conn, id, f"user:{caller.subject}", f"killed by {caller.subject}")
    return Document(await task_views.task(conn, id))


@router.post("/{id}/retry", summary="New attempts for what failed", responses={200: {"model": TaskView}})
async def retry(id: Id, caller: User, conn: Write) -> Document:  # noqa: A002
    only_own(caller, (await tasks.get(conn, id)).owner, f"task {id}")
    await tasks.retry(conn, id, f"user:{caller.subject}")
    return Document(await task_views.task(conn, id))
