"""Quotas of work; those of bytes at storages are the catalog's (subscriptions)."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import Field

from .. import workquotas
from .documents import Page, WorkQuotaView
from .ordering import ANSWER, Order, carried_out
from .parameters import AfterName, Limit, Word
from .parts import Document, Read, Write, page
from .policies import READER, Admin, actor_of

router = APIRouter(prefix="/api/quotas/work", tags=["quotas"])

Most = Annotated[int | None, Field(ge=0, le=2**31 - 1)]


class WorkQuotaOrder(Order):
    """Limits that are named are set (null: no limit), the others stay."""

    subject: Annotated[str, Field(min_length=1, max_length=110, pattern=r"^(user|group):\S+$")]
    running: Most = None
    queued: Most = None
    core_hours: Annotated[float | None, Field(ge=0, le=1e12)] = None
    days: Annotated[int, Field(ge=1, le=366)] = 30


@router.get(
    "", dependencies=[READER], summary="Quotas of work and their use", responses={200: {"model": Page[WorkQuotaView]}}
)
async def listing(conn: Read, subject: Word = None, limit: Limit = 1000, after: AfterName = None) -> Document:
    return page(await workquotas.quotas(conn, subject=subject, limit=limit, after=after))


@router.post("", summary="Set limits of a user's or group's work", responses=ANSWER)
async def set_limits(order: WorkQuotaOrder, caller: Admin, conn: Write) -> Document:
    wanted = order.model_dump(include=order.model_fields_set - {"subject", "reason", "dry_run"})
    return await carried_out(
        conn,
        order,
        lambda: workquotas.set_limits(conn, order.subject, wanted, actor_of(caller), order.reason),
    )
