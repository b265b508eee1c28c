"""Tasks: submitted, followed; orders for them are in task_orders."""

from typing import Annotated

from fastapi import APIRouter, Query

from .. import decision_views, groups, submission, task_views, throttling
from ..bunches import Pace
from ..requests import TaskRequest
from ..states import TaskState
from .documents import EventView, Page, SubmittedView, TaskView, TrialView
from .parameters import AfterId, AfterMark, Id, Limit, Word
from .parts import Configured, Document, Read, Write, page, tried
from .policies import READER, User

router = APIRouter(prefix="/api/tasks", tags=["tasks"])

State = Annotated[TaskState | None, Query()]


@router.post(
    "",
    status_code=201,
    summary="Submit a task",
    responses={201: {"model": SubmittedView}, 200: {"model": SubmittedView | TrialView}},
)
async def submit(
    request: TaskRequest, caller: User, conn: Write, settings: Configured, dry_run: bool = False
) -> Document:
    """201 if the task is new, 200 if the same request came before, 409 if the output belongs to other work.

    With ``dry_run`` nothing is done, and the answer (200) says where its first jobs would go and what would move.
    """
    await groups.check(conn, caller.subject, request.group, caller)
    async with tried(conn, dry_run):
        task, created = await submission.submit(conn, request, caller.subject)
        assert task.id is not None
        if dry_run:
            pace = Pace(settings.heartbeat_s, settings.lease_s)
            view = await decision_views.trial(conn, task, pace, new=created)
            return Document(view | {"notice": await throttling.admit(conn, task) if created else task.throttled})
        notice = await throttling.admit(conn, task) if created else ""
    return Document(await task_views.task(conn, task.id) | {"notice": notice}, 201 if created else 200)


@router.get("", dependencies=[READER], summary="Tasks, newest first", responses={200: {"model": Page[TaskView]}})
async def listing(
    conn: Read, state: State = None, step: Word = None, run: Word = None, limit: Limit = 100, after: AfterId = None
) -> Document:
    return page(await task_views.tasks(conn, state=state, step=step, run=run, limit=limit, after=after))


@router.get("/{id}", dependencies=[READER], summary="One task", responses={200: {"model": TaskView}})
async def one(id: Id, conn: Read) -> Document:  # noqa: A002
    return Document(await task_views.task(conn, id))


@router.get(
    "/{id}/story",
    dependencies=[READER],
    summary="What happened to the task and its jobs",
    responses={200: {"model": Page[EventView]}},
)
async def story(id: Id, conn: Read, limit: Limit = 1000, after: AfterMark = None) -> Document:  # noqa: A002
    return page(await task_views.task_story(conn, id, limit=limit, after=after))
