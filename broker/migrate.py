"""Bring the database to the current schema: ``python -m prodchain.broker.migrate [URL]``."""

import asyncio
import os
import sys

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, pool
from sqlalchemy.ext.asyncio import create_async_engine

from .database import unavailable


def configuration(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", "prodchain.broker:migrations")
    config.attributes["connection"] = connection
    return config


def _upgrade(connection: Connection) -> None:
    command.upgrade(configuration(connection), "head")


async def migrate(url: str) -> None:
    """Apply all migrations; ``url`` is ``postgresql://...``. Nothing happens on a current database."""
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://", 1), poolclass=pool.NullPool)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(_upgrade)
    except OSError as error:
        raise unavailable(error) from error
    finally:
        await engine.dispose()


def main() -> None:
    asyncio.run(migrate(sys.argv[1] if len(sys.argv) > 1 else os.environ["PRODCHAIN_DATABASE_URL"]))


if __name__ == "__main__":
    main()
