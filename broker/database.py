"""One pool of connections to the one database; every statement runs over asyncpg."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import asyncpg

from prodchain.catalog.connection import Connection as Connection
from prodchain.catalog.connection import Pool as Pool

from .errors import Unavailable


async def _prepare(connection: "asyncpg.Connection[Any]") -> None:
    for kind in ("json", "jsonb"):
        await connection.set_type_codec(kind, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


async def _as_it_was(_: "asyncpg.Connection[Any]") -> None:
    """No statement of ours changes a connection for longer than its transaction: there is nothing to set back."""


def unavailable(error: Exception) -> Unavailable:
    return Unavailable(
        f"the database does not answer: {error}",
        object="database",
        hint="see `prodchain status`; with your own PostgreSQL check PRODCHAIN_DATABASE_URL",
    )


BY_INDEX = {"enable_seqscan": "off", "plan_cache_mode": "force_generic_plan"}
"""For statements that find rows by their keys, each planned once, as planning takes longer than a small batch. A plan
that was made while a table was small would read all of it, batch after batch, until the table is analysed anew."""


async def connect(url: str, *, size: int = 10, planner: Mapping[str, str] = MappingProxyType({})) -> Pool:
    """Open a pool, whose plans are made with these settings; raises Unavailable with the database's own words."""
    try:
        pool = await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=size,
            init=_prepare,
            reset=_as_it_was,
            command_timeout=60,
            server_settings={
                "application_name": "prodchain",
                "idle_in_transaction_session_timeout": "60000",
                **planner,
            },
        )
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise unavailable(error) from error
    return pool


async def one(conn: Connection, statement: str, *values: object) -> asyncpg.Record:
    """The row of a statement that always has one."""
    row: asyncpg.Record | None = await conn.fetchrow(statement, *values)
    if row is None:
        raise LookupError(f"no row for {statement.split()[:6]}")
    return row


async def wake(conn: Connection, *agents: str) -> None:
    """Tell agents that there may be work, when the transaction is committed."""
    await conn.execute("SELECT pg_notify('prodchain_work', agent) FROM unnest($1::text[]) AS a (agent)", agents)


LOST = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)
"""What a statement raises when the database cannot serve it."""


async def listen(
    pool: Pool,
    channel: str,
    heard: Callable[[str], None],
    begin: Callable[[Connection], Awaitable[None]] | None = None,
    deaf: Callable[[], None] = lambda: None,
) -> None:
    """Pass on what is notified until cancelled; ``begin`` is called on each (re)connection, as news may be lost.

    ``deaf`` is called when the connection is.
    """
    while True:
        with suppress(*LOST):
            async with pool.acquire() as conn:
                await _listen_until_lost(conn, channel, heard, begin)
        deaf()
        await asyncio.sleep(1)


async def _listen_until_lost(
    conn: Connection,
    channel: str,
    heard: Callable[[str], None],
    begin: Callable[[Connection], Awaitable[None]] | None,
) -> None:
    """The listeners and what ``begin`` locked are taken back, before the pool gets the connection."""
    lost = asyncio.Event()

    def ended(*_: object) -> None:
        lost.set()

    def told(*news: object) -> None:
        heard(str(news[3]))

    conn.add_termination_listener(ended)
    await conn.add_listener(channel, told)
    try:
        if begin:
            await begin(conn)
        await lost.wait()
    finally:
        with suppress(*LOST):
            await conn.remove_listener(channel, told)
            conn.remove_termination_listener(ended)
            await conn.execute("SELECT pg_advisory_unlock_all()")
