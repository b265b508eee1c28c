"""Working groups: looked at by all, led by their leaders, made by admins."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field

from .. import groups
from ..database import Connection
from ..errors import Forbidden
from ..models import TokenKind
from ..tokens import Caller
from .documents import GroupView, Page
from .ordering import ANSWER, Order, carried_out
from .parameters import AfterName, Limit, Word
from .parts import Document, Read, Write, page
from .policies import READER, User, actor_of

router = APIRouter(prefix="/api/groups", tags=["groups"])

NAME = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,99}$"
Name = Annotated[str, Path(max_length=300)]


class MemberOrder(Order):
    user: Annotated[str, Field(pattern=NAME)]


class AddOrder(MemberOrder):
    """``leads``: who may steer the group's tasks, and add others."""

    leads: bool = False


@router.get("", dependencies=[READER], summary="Working groups", responses={200: {"model": Page[GroupView]}})
async def listing(conn: Read, user: Word = None, limit: Limit = 1000, after: AfterName = None) -> Document:
    """All, or those of a user."""
    return page(await groups.groups(conn, user=user, limit=limit, after=after))


@router.get("/{name}", dependencies=[READER], summary="One group", responses={200: {"model": GroupView}})
async def one(name: Name, conn: Read) -> Document:
    return Document(await groups.group(conn, name))


@router.post("/{name}/add", summary="Add somebody to a group, or make them lead it", responses=ANSWER)
async def add(name: Annotated[str, Path(pattern=NAME)], order: AddOrder, caller: User, conn: Write) -> Document:
    """The first member makes the group. Leaders add members; who leads is an admin's word."""
    await _may(conn, caller, name, order.user, leads=order.leads)
    return await carried_out(
        conn,
        order,
        lambda: groups.add(conn, name, order.user, actor_of(caller), order.reason, leader=order.leads),
    )


@router.post("/{name}/remove", summary="Take somebody out of a group", responses=ANSWER)
async def remove(name: Name, order: MemberOrder, caller: User, conn: Write) -> Document:
    await _may(conn, caller, name, order.user, leads=False)
    return await carried_out(
        conn, order, lambda: groups.remove(conn, name, order.user, actor_of(caller), order.reason)
    )


async def _may(conn: Connection, caller: Caller, group: str, user: str, *, leads: bool) -> None:
    """Leaders have a say on members only: on who leads, also no more, admins have."""
    if caller.kind is TokenKind.ADMIN:
        return
    of_leaders = leads or await groups.leads(conn, group, user)
    if of_leaders or not await groups.leads(conn, group, caller.subject):
        raise Forbidden(
            f"{caller.subject} may not change who {'leads' if of_leaders else 'is in'} {group}",
            object=f"group {group}",
            hint="ask an admin" if of_leaders else "ask one who leads the group, or an admin",
        )
