"""A transaction for tests that need one connection, and an ear for the hooks."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

import asyncpg
import pytest

from prodchain.catalog import hooks
from prodchain.catalog.connection import Connection, Pool

Check: TypeAlias = Callable[[Connection], Awaitable[None]]
Run: TypeAlias = Callable[[Check], None]


@pytest.fixture
async def conn(database: Pool) -> AsyncIterator[Connection]:
    """A connection inside a transaction, rolled back in the end."""
    async with database.acquire() as connection:
        transaction = connection.transaction()
        await transaction.start()
        yield connection
        await transaction.rollback()


@pytest.fixture
def satisfied(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The holders that the hook was told about, in order."""
    told: list[str] = []

    async def hook(_: Connection, holders: list[str]) -> None:
        told.extend(holders)

    monkeypatch.setattr(hooks, "satisfied", hook)
    return told


@pytest.fixture
def run_on(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run one example of a hypothesis test on a transaction of its own, rolled back in the end."""
    monkeypatch.setattr(hooks, "satisfied", None)

    async def run(check: Check) -> None:
        connection = await asyncpg.connect(database_url)
        try:
            transaction = connection.transaction()
            await transaction.start()
            await check(connection)
            await transaction.rollback()
        finally:
            await connection.close()

    return lambda check: asyncio.run(run(check))
