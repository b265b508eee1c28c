"""What routes that give orders share: their document, and a dry run that is the order itself, rolled back."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Body
from pydantic import BaseModel, ConfigDict, Field, field_validator

from ..database import Connection
from ..journal import Outcome
from ..texts import storable
from .documents import OutcomeView
from .parts import Document, tried

ANSWER: dict[int | str, dict[str, Any]] = {200: {"model": OutcomeView}}


class Order(BaseModel):
    """Why, for the journal; with ``dry_run`` the answer says what would be done, and nothing is."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, Field(max_length=1000)] = ""
    dry_run: bool = False

    @field_validator("reason")
    @classmethod
    def storable_only(cls, reason: str) -> str:
        return storable(reason)


class Declaration(Order):
    """A document that somebody keeps in a file."""

    text: str = Field(max_length=200_000, description="the TOML document")
    name: str | None = Field(None, min_length=1, max_length=300, description="of the file, for errors")


Plain = Annotated[Order, Body(default_factory=Order)]
"""The document of an order that needs no other field: it may be left out."""


async def carried_out(conn: Connection, order: Order, act: Callable[[], Awaitable[Outcome]]) -> Document:
    async with tried(conn, order.dry_run):
        outcome = await act()
    return Document(outcome.document(order.dry_run))
