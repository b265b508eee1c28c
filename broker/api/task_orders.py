"""Orders for tasks: who may give them, and the function that carries each out."""

from typing import Annotated, Any

from fastapi import APIRouter, Body
from pydantic import Field

from .. import orders, task_changes, tasks
from ..database import Connection
from ..tokens import Caller
from .ordering import ANSWER, Order, Plain, carried_out
from .parameters import Id
from .parts import Document, Write
from .policies import User, actor_of, may_steer

router = APIRouter(prefix="/api/tasks", tags=["tasks"])


class RetryOrder(Order):
    """With ``new_inputs`` also for files that joined the input since the task's jobs were made."""

    new_inputs: bool = False


class ReassignOrder(Order):
    """``to``: the only queue or site; none: as the brokerage decides."""

    to: str | None = Field(default=None, max_length=300)


Retry = Annotated[RetryOrder, Body(default_factory=RetryOrder)]
Reassign = Annotated[ReassignOrder, Body(default_factory=ReassignOrder)]


class SetOrder(Order):
    """Fields of the task's request with their new values; null takes a limit away."""

    changes: dict[str, Any] = Field(min_length=1)


async def _may(conn: Connection, caller: Caller, task_id: int) -> str:
    task = await tasks.get(conn, task_id)
    await may_steer(conn, caller, task.owner, task.group_name, f"task {task_id}")
    return actor_of(caller)


@router.post("/{id}/kill", summary="Abort a task and cancel its jobs", responses=ANSWER)
async def kill(id: Id, order: Plain, caller: User, conn: Write) -> Document:  # noqa: A002
    actor = await _may(conn, caller, id)
    return await carried_out(conn, order, lambda: orders.kill(conn, id, actor, order.reason))


@router.post("/{id}/pause", summary="Make and place no more jobs", responses=ANSWER)
async def pause(id: Id, order: Plain, caller: User, conn: Write) -> Document:  # noqa: A002
    """Jobs that wait at queues go back; those with pilots run on."""
    actor = await _may(conn, caller, id)
    return await carried_out(conn, order, lambda: orders.pause(conn, id, actor, order.reason))


@router.post("/{id}/resume", summary="Let a paused or exhausted task go on", responses=ANSWER)
async def resume(id: Id, order: Plain, caller: User, conn: Write) -> Document:  # noqa: A002
    actor = await _may(conn, caller, id)
    return await carried_out(conn, order, lambda: orders.resume(conn, id, actor, order.reason))


@router.post("/{id}/finish", summary="End a task with what there is", responses=ANSWER)
async def finish(id: Id, order: Plain, caller: User, conn: Write) -> Document:  # noqa: A002
    """Jobs that wait are cancelled; those with pilots run on."""
    actor = await _may(conn, caller, id)
    return await carried_out(conn, order, lambda: orders.finish(conn, id, actor, order.reason))


@router.post("/{id}/retry", summary="New attempts for what failed", responses=ANSWER)
async def retry(id: Id, order: Retry, caller: User, conn: Write) -> Document:  # noqa: A002
    actor, new = await _may(conn, caller, id), order.new_inputs
    return await carried_out(conn, order, lambda: orders.retry(conn, id, actor, order.reason, new_inputs=new))


@router.post("/{id}/reassign", summary="Let the brokerage decide anew on jobs that wait", responses=ANSWER)
async def reassign(id: Id, order: Reassign, caller: User, conn: Write) -> Document:  # noqa: A002
    actor = await _may(conn, caller, id)
    return await carried_out(conn, order, lambda: task_changes.reassign(conn, id, order.to, actor, order.reason))


@router.post("/{id}/set", summary="Change what a task asks for", responses=ANSWER)
async def change(id: Id, order: SetOrder, caller: User, conn: Write) -> Document:  # noqa: A002
    """For jobs that no pilot has, and for those that are not made yet."""
    actor = await _may(conn, caller, id)
    return await carried_out(conn, order, lambda: task_changes.change(conn, id, order.changes, actor, order.reason))
