"""What many tests need: a real PostgreSQL and a fresh, migrated database for each test."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest

from prodchain.broker.database import Pool, connect
from prodchain.broker.migrate import migrate
from prodchain.cli.local import postgres

from .storages.rucio import rucio_server as rucio_server  # once: a session has one
from .storages.servers import in_ci as in_ci

TEMPLATE = "prodchain_template"
HASTY = ("fsync = off", "synchronous_commit = off", "full_page_writes = off")
"""What a crash of the machine would lose is of no use to anybody: a fresh database costs half of the time."""


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL server of the session's own (of each worker's); ``{}`` stands for the database."""
    home = tmp_path_factory.mktemp("postgres")
    server = postgres.start(postgres.data_folder(home))
    try:
        settings = [f"ALTER SYSTEM SET {setting}" for setting in HASTY]
        asyncio.run(_run(server.url("postgres"), *settings, "SELECT pg_reload_conf()"))
        yield server.url("{}")
    finally:
        server.stop(remove=True)


async def _run(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def template(postgres_url: str) -> str:
    """The name of a migrated database that each test copies."""

    async def make() -> None:
        await _run(postgres_url.format("postgres"), f"CREATE DATABASE {TEMPLATE}")
        await migrate(postgres_url.format(TEMPLATE))

    asyncio.run(make())
    return TEMPLATE


@pytest.fixture
async def database_url(postgres_url: str, template: str) -> AsyncIterator[str]:
    """The URL of a fresh, migrated database."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    admin = postgres_url.format("postgres")
    await _run(admin, f"CREATE DATABASE {name} TEMPLATE {template}")
    yield postgres_url.format(name)
    await _run(admin, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Pool]:
    """A pool on a fresh, migrated database."""
    pool = await connect(database_url)
    yield pool
    await pool.close()


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).parent.parent


class AtOnce:
    """Names a failure, and the line that says what is wrong, when it happens: workers' are told in the end only."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            what = (crash.message if crash else report.longreprtext).partition("\n")[0]
            self._terminal.write_line(f"\nFAILED ({report.when}) {report.nodeid}: {what[:200]}", red=True)


def pytest_sessionstart(session: pytest.Session) -> None:
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None and not hasattr(session.config, "workerinput"):
        session.config.pluginmanager.register(AtOnce(terminal))
