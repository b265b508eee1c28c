"""Copies on people's own storages."""

from fastapi import APIRouter
from pydantic import BaseModel

from .. import claims
from ..claims import Claims
from .parts import Document, Write
from .policies import User

router = APIRouter(prefix="/api/replicas", tags=["datasets"])


class Registered(BaseModel):
    storage: str
    new: int


@router.post("", summary="Register copies on a storage of one's own", responses={200: {"model": Registered}})
async def register(wish: Claims, caller: User, conn: Write) -> Document:
    """All or none; repeating changes nothing. The storage's attribute ``owner`` says whose it is."""
    return Document({"storage": wish.storage, "new": await claims.register(conn, wish, caller)})
