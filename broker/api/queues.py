"""Orders for queues."""

from typing import Annotated

from fastapi import APIRouter, Path

from .. import canaries, queue_orders
from ..models import QueueStatus
from .documents import CanaryView
from .ordering import ANSWER, Plain, carried_out
from .parts import Document, Write
from .policies import Admin, actor_of

router = APIRouter(prefix="/api/queues", tags=["queues"])

Name = Annotated[str, Path(min_length=1, max_length=300)]


@router.post("/{name}/drain", summary="Give a queue no more jobs", responses=ANSWER)
async def drain(name: Name, order: Plain, caller: Admin, conn: Write) -> Document:
    """Those with pilots run on, those that wait there go back to the brokerage."""
    actor = actor_of(caller)
    return await carried_out(
        conn, order, lambda: queue_orders.order(conn, name, QueueStatus.DRAIN, actor, order.reason)
    )


@router.post("/{name}/offline", summary="Take a queue out of service", responses=ANSWER)
async def offline(name: Name, order: Plain, caller: Admin, conn: Write) -> Document:
    actor = actor_of(caller)
    return await carried_out(
        conn, order, lambda: queue_orders.order(conn, name, QueueStatus.OFFLINE, actor, order.reason)
    )


@router.post("/{name}/online", summary="Let a queue get jobs again", responses=ANSWER)
async def online(name: Name, order: Plain, caller: Admin, conn: Write) -> Document:
    """It also forgets what the broker held against the queue."""
    actor = actor_of(caller)
    return await carried_out(
        conn, order, lambda: queue_orders.order(conn, name, QueueStatus.ONLINE, actor, order.reason)
    )


@router.post("/{name}/test", summary="Try a queue out with one small job", responses={200: {"model": CanaryView}})
async def test(name: Name, caller: Admin, conn: Write) -> Document:
    """Whatever its status and health; where such a job is under way already, it is that one."""
    return Document({"queue": name, "task": await canaries.test(conn, name)})
