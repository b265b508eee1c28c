"""One pool of connections to the one database; every statement runs over asyncpg."""

import json
from typing import Any, TypeAlias

import asyncpg

from .errors import Unavailable

Connection: TypeAlias = "asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any]"
Pool: TypeAlias = "asyncpg.Pool[Any]"


async def _prepare(connection: "asyncpg.Connection[Any]") -> None:
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


async def connect(url: str, *, size: int = 10) -> Pool:
    """Open a pool; raises Unavailable with the database's own words."""
    try:
        pool = await asyncpg.create_pool(
            url,
            min_size=1,
            max_size=size,
            init=_prepare,
            command_timeout=60,
            server_settings={"application_name": "prodchain", "idle_in_transaction_session_timeout": "60000"},
        )
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Unavailable(
            f"the database does not answer: {error}",
            object="database",
            hint="see `prodchain status`; with your own PostgreSQL check PRODCHAIN_DATABASE_URL",
        ) from error
    return pool
