"""The migrations make exactly the tables that the models describe."""

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import SQLModel

import prodchain.broker.models  # noqa: F401
from prodchain.broker.errors import Unavailable
from prodchain.broker.migrate import migrate


async def test_the_migrated_database_is_what_the_models_say(database_url: str) -> None:
    def differences(connection: Connection) -> list[object]:
        return list(compare_metadata(MigrationContext.configure(connection), SQLModel.metadata))

    engine = create_async_engine(database_url.replace("postgresql://", "postgresql+asyncpg://", 1))
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_migrating_a_current_database_changes_nothing(database_url: str) -> None:
    await migrate(database_url)


async def test_a_database_that_is_not_there_is_said_in_words() -> None:
    with pytest.raises(Unavailable, match="the database does not answer"):
        await migrate("postgresql://me@127.0.0.1:1/none")
