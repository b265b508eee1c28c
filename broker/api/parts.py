"""What routes work with, one set per application, and how they get at it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from pydantic_core import to_json

from ..connections import connection
from ..database import Connection, Pool
from ..matching.dispatcher import Dispatcher
from ..reporting import Reports
from ..settings import Settings
from ..tokens import Tokens


@dataclass
class Parts:
    settings: Settings
    pool: Pool
    tokens: Tokens
    dispatcher: Dispatcher
    reports: Reports
    pilot_zipapp: bytes


def parts_of(request: Request) -> Parts:
    parts: Parts = request.scope["app"].parts
    return parts


def _settings(request: Request) -> Settings:
    return parts_of(request).settings


Configured = Annotated[Settings, Depends(_settings)]


async def _reading(request: Request) -> AsyncIterator[Connection]:
    async with connection(parts_of(request).pool) as conn:
        yield conn


async def _writing(request: Request) -> AsyncIterator[Connection]:
    async with connection(parts_of(request).pool) as conn, conn.transaction():
        yield conn


# scope="function": the connection is back, and a write committed, before the answer goes out.
Read = Annotated[Connection, Depends(_reading, scope="function")]
Write = Annotated[Connection, Depends(_writing, scope="function")]


@asynccontextmanager
async def tried(conn: Connection, dry_run: bool) -> AsyncIterator[None]:
    """What is done inside is undone after a dry run: it was refused as it would be, and nothing has changed."""
    trial = conn.transaction()
    await trial.start()
    try:
        yield
    except BaseException:
        await trial.rollback()
        raise
    if dry_run:
        await trial.rollback()
    else:
        await trial.commit()


class Document(Response):
    """A JSON answer; pydantic's serialiser knows times and UUIDs, and is fast enough for lists of thousands."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return to_json(content)


def page(found: tuple[list[dict[str, Any]], Any]) -> Document:
    """A list's answer from a view's (items, mark of the next page)."""
    return Document({"items": found[0], "next": found[1]})
