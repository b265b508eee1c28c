"""Global shares: looked at by all, declared by admins, set by leaders below their groups' own."""

from typing import Annotated

from fastapi import APIRouter, Path, Query
from pydantic import Field

from .. import share_views, sharefile, shares
from .documents import Page, ShareView
from .ordering import ANSWER, Declaration, Order, carried_out
from .parts import Document, Read, Write, page
from .policies import READER, Admin, User, actor_of

router = APIRouter(prefix="/api/shares", tags=["shares"])


class Value(Order):
    value: float = Field(ge=0, le=1e9, allow_inf_nan=False, description="counts among its siblings; 0: what is left")


@router.get("", dependencies=[READER], summary="The tree of shares", responses={200: {"model": Page[ShareView]}})
async def listing(conn: Read, days: Annotated[int, Query(ge=1, le=3650)] = 7) -> Document:
    """Targets, use now, jobs that wait at queues, and core-hours of the last days; the whole tree, parents first."""
    return page((await share_views.listing(conn, days), None))


@router.post("/apply", summary="Make the shares what a declaration says", responses=ANSWER)
async def apply(declared: Declaration, caller: Admin, conn: Write) -> Document:
    wanted = sharefile.parse(declared.text, declared.name or "shares")
    return await carried_out(conn, declared, lambda: shares.apply(conn, wanted, actor_of(caller), declared.reason))


@router.post("/{name}/set", summary="Give one share another value", responses=ANSWER)
async def set_value(name: Annotated[str, Path(max_length=300)], order: Value, caller: User, conn: Write) -> Document:
    """The answer has every target that moves, in percent."""
    await shares.may_set(conn, caller, name)
    return await carried_out(
        conn, order, lambda: shares.set_value(conn, name, order.value, actor_of(caller), order.reason)
    )
