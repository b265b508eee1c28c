"""A connection of the pool, or Unavailable in the words that a caller can use."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from .database import LOST, Connection, Pool
from .errors import Unavailable

ACQUIRE_S = 10.0
"""How long a request waits for a free connection before it is told to come again."""


@asynccontextmanager
async def connection(pool: Pool) -> AsyncIterator[Connection]:
    try:
        conn = await pool.acquire(timeout=ACQUIRE_S)
    except LOST as error:
        raise Unavailable(
            "the database does not answer now" if str(error) else "the database has no free connection now",
            object="database",
            hint="try again in a moment; `prodchain status` shows what is down",
        ) from error
    try:
        yield conn
    finally:
        await pool.release(conn)
