"""The application over a fresh database, called without a network."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from prodchain.broker import tokens
from prodchain.broker.api.app import create_app
from prodchain.broker.api.hot import HotApp
from prodchain.broker.database import Pool
from prodchain.broker.models import TokenKind
from prodchain.broker.settings import Settings

from ..world import World, inside


@dataclass
class Broker:
    """The API as a client sees it; ``world`` is the broker behind it."""

    world: World
    app: HotApp
    client: httpx.AsyncClient

    async def token(
        self, kind: str, subject: str, queue: str | None = None, lifetime: timedelta = timedelta(hours=1)
    ) -> str:
        token, _ = await inside(self.world.pool, tokens.issue, TokenKind(kind), subject, lifetime, queue)
        return str(token)

    async def get(self, path: str, token: str | None = None, **params: Any) -> httpx.Response:
        return await self.client.get(path, params=params, headers=bearer(token))

    async def post(self, path: str, document: Any = None, token: str | None = None) -> httpx.Response:
        return await self.client.post(path, json=document, headers=bearer(token))


def bearer(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


class Now:
    """Stands for what each test has of its own, before an application that all of them share."""

    def __init__(self) -> None:
        self.it: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.it, name)


@cache
def application(public_read: bool) -> tuple[HotApp, Now, Now]:
    """Made once, with its settings and pool: FastAPI needs a third of a second for our routes, and tests are many."""
    settings, pool = Now(), Now()
    return create_app(cast(Settings, settings), cast(Pool, pool), cast(Pool, pool)), settings, pool


async def serve(world: World, home: Path, *, public_read: bool) -> AsyncIterator[Broker]:
    app, settings, pool = application(public_read)
    settings.it, pool.it = Settings(home=home, public_read=public_read), world.pool
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://broker") as client,
    ):
        yield Broker(world, app, client)


@pytest.fixture
async def broker(world: World, tmp_path: Path) -> AsyncIterator[Broker]:
    """A broker where reading is free."""
    async for found in serve(world, tmp_path, public_read=True):
        yield found


@pytest.fixture
async def closed_broker(world: World, tmp_path: Path) -> AsyncIterator[Broker]:
    """A broker where reading needs a token."""
    async for found in serve(world, tmp_path, public_read=False):
        yield found


def problem(answer: httpx.Response) -> dict[str, Any]:
    """The problem document of an answer, after a look at its form."""
    document: dict[str, Any] = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(document) == {"type", "title", "status", "detail", "code", "object", "hint", "instance"}
    assert document["status"] == answer.status_code
    assert document["instance"] == answer.headers["x-request-id"]
    assert document["hint"]
    return document
