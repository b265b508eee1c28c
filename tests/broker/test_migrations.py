"""The migrations make exactly the tables that the models describe."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import asyncpg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine
from sqlmodel import SQLModel

import prodchain.broker.models  # noqa: F401
from prodchain.broker.database import connect
from prodchain.broker.errors import Unavailable
from prodchain.broker.migrate import configuration, migrate
from prodchain.catalog import datasets, hooks, recount, subscriptions, transfers
from prodchain.catalog.names import Did
from prodchain.catalog.transfers import Copied

FIRST = """
INSERT INTO site (name) VALUES ('A'), ('B');
INSERT INTO storage (name, site, url) VALUES ('DISK-A', 'A', 'file:///a'), ('DISK-B', 'B', 'file:///b');
INSERT INTO file (scope, name, guid, bytes, adler32, events)
    SELECT 'mc26', 'f' || n, gen_random_uuid(), n, '00000001', 10 FROM generate_series(1, 4) n;
INSERT INTO dataset (scope, name, kind, owner, files, bytes, events) VALUES
    ('mc26', 'whole', 'production', 'ada', 4, 10, 40), ('mc26', 'sent_dis.1', 'dispatch', 'prodchain', 1, 3, 10);
INSERT INTO dataset_file SELECT 1, n FROM generate_series(1, 4) n;
INSERT INTO dataset_file VALUES (2, 3);
UPDATE dataset SET state = 'closed', closed_at = now();
INSERT INTO replica (file_id, storage_id) SELECT n, 1 FROM generate_series(1, 4) n;
INSERT INTO replica (file_id, storage_id) VALUES (1, 2);
INSERT INTO dataset_replica VALUES (1, 1, 4, 10), (2, 1, 1, 3), (1, 2, 1, 1);
INSERT INTO subscription (dataset_id, storage_id, state) VALUES (1, 1, 'done'), (1, 2, 'active'), (2, 2, 'active');
INSERT INTO hold (holder, storage_id, dataset_id, missing) VALUES ('release:1', 2, 2, 1);
INSERT INTO hold_file VALUES (1, 3, 2);
INSERT INTO transfer (file_id, storage_id, source_id, state, bytes, attempts, error, worker, lease_until, done_at)
VALUES
    (1, 2, 1, 'done', 1, 1, NULL, 'old', NULL, now()), (2, 2, NULL, 'queued', 2, 0, NULL, NULL, NULL, NULL),
    (3, 2, 1, 'queued', 3, 1, NULL, 'old', now() + interval '1 hour', NULL),
    (4, 2, 1, 'queued', 4, 2, 'it broke off', NULL, NULL, NULL);
"""
"""What the first release may have left behind: copies that are done, queued, leased and failed, and who waits."""


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


GROUPS = """
INSERT INTO site (name) VALUES ('A');
INSERT INTO storage (name, site, url) VALUES ('DISK-A', 'A', 'file:///a');
INSERT INTO file (scope, name, guid, bytes, adler32, events)
    SELECT 'mc26', 'f' || n, gen_random_uuid(), n, '00000001', 10 FROM generate_series(1, 3) n;
INSERT INTO dataset (scope, name, version, latest, kind, owner, files, bytes, events) VALUES
    ('mc26', 'ours', 1, false, 'production', 'ada', 1, 1, 10),
    ('mc26', 'ours', 2, true, 'production', 'bob', 2, 3, 20),
    ('mc26', 'mine', 1, true, 'production', 'ada', 1, 3, 10),
    ('mc26', 'small', 1, true, 'sub', 'prodchain', 1, 3, 10);
INSERT INTO dataset_file VALUES (1, 1), (2, 1), (2, 2), (3, 3), (4, 3);
INSERT INTO replica (file_id, storage_id) SELECT n, 1 FROM generate_series(1, 3) n;
INSERT INTO dataset_replica VALUES (1, 1, 1, 1), (2, 1, 2, 3), (3, 1, 1, 3), (4, 1, 1, 3);
INSERT INTO task (key, step, owner, state, request, priority, output_id, destination_id, group_name, numbers,
                  generated, actor, reason, throttled)
VALUES ('mc26:ours', 'evgen', 'bob', 'running', '{}', 1, 2, 1, 'higgs', 0, false, '', '', 'quota of group:higgs'),
       ('mc26:mine', 'evgen', 'ada', 'running', '{}', 1, 3, 1, '', 0, false, '', '', '');
INSERT INTO task_output (task_id, role, dataset_id)
    SELECT id, '', output_id FROM task UNION SELECT min(id), 'x', 4 FROM task;
"""
"""What tasks of a group and of a user made before groups had accounts for data."""


@pytest.fixture
async def first_release(postgres_url: str) -> AsyncIterator[str]:
    """The URL of a database of the first release."""
    async with earlier(postgres_url, "0001") as url:
        yield url


@asynccontextmanager
async def earlier(postgres_url: str, revision: str) -> AsyncIterator[str]:
    """The URL of a database as it was then."""
    name = f"first_{uuid.uuid4().hex[:12]}"
    admin = await asyncpg.connect(postgres_url.format("postgres"))
    await admin.execute(f"CREATE DATABASE {name}")
    url = postgres_url.format(name)
    engine = create_async_engine(url.replace("postgresql://", "postgresql+asyncpg://", 1))
    async with engine.begin() as connection:
        await connection.run_sync(lambda conn: command.upgrade(configuration(conn), revision))
    await engine.dispose()
    yield url
    await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await admin.close()


@asynccontextmanager
async def migrated(postgres_url: str, revision: str, then: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection to a database that got these rows when it was of that revision, and was migrated since."""
    async with earlier(postgres_url, revision) as url:
        conn = await asyncpg.connect(url)
        await conn.execute(then)
        await conn.close()
        await migrate(url)
        conn = await asyncpg.connect(url)
        yield conn
        await conn.close()


async def test_data_of_the_first_release_is_counted_and_goes_on(first_release: str) -> None:
    conn = await asyncpg.connect(first_release)
    await conn.execute(FIRST)
    await conn.close()
    await migrate(first_release)

    pool = await connect(first_release)
    released: list[str] = []

    async def release(_: object, holders: list[str]) -> None:
        released.extend(holders)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hooks, "satisfied", release)
        async with pool.acquire() as conn, conn.transaction():
            assert await recount.check(conn) == []
            totals = await transfers.totals(conn)
            assert (totals.queued + totals.active, totals.failing) == (3, 1)
            leased = await transfers.lease(conn, "new", 10, timedelta(minutes=1))
            assert sorted(each.file_id for each in leased) == [2, 3, 4]
            await transfers.done(conn, 1, 2, [Copied(each.file_id, "local", each.bytes, 0.1) for each in leased])
            whole = await datasets.get(conn, Did("mc26", "whole"))
            assert (whole.version, whole.latest, whole.deleted_at) == (1, True, None)
            assert (await subscriptions.get(conn, whole.id or 0, 2)).state == "done"
            assert released == ["release:1"]
            assert await recount.check(conn) == []
            assert (await datasets.new_version(conn, Did("mc26", "whole"), "ada")).files == 4
    await pool.close()


async def test_what_groups_made_is_on_their_accounts_afterwards(postgres_url: str) -> None:
    async with migrated(postgres_url, "0005", GROUPS) as conn:
        charged = await conn.fetch("SELECT name, version, charged FROM dataset ORDER BY id")
        assert [tuple(row) for row in charged] == [
            ("ours", 1, "group:higgs"),
            ("ours", 2, "group:higgs"),
            ("mine", 1, None),
            ("small", 1, None),
        ]
        use = await conn.fetch("SELECT owner, sum(bytes)::int FROM owner_use GROUP BY owner ORDER BY owner")
        assert [tuple(row) for row in use] == [("ada", 3), ("bob", 0), ("group:higgs", 4)]
        assert await recount.check(conn) == []
        assert [row[0] for row in await conn.fetch("SELECT throttled_by FROM task ORDER BY id")] == ["work", ""]


USED = """
INSERT INTO work_done (day, owner, group_name, state, jobs, core_s, folded) VALUES
    ('2026-11-01', 'ada', '', 'finished', 5, 50, true),
    ('2026-11-01', 'ada', '', 'finished', 2, 20, false),
    ('2026-11-01', 'ada', '', 'failed', 1, 3, false)
"""


async def test_what_was_used_before_counters_moved_together_is_still_known(postgres_url: str) -> None:
    async with migrated(postgres_url, "0008", USED) as conn:
        used = await conn.fetch("SELECT owner, state, jobs, core_s FROM work_done ORDER BY state")
        assert [tuple(row) for row in used] == [("ada", "failed", 1, 3), ("ada", "finished", 7, 70)]


JOBS = """
INSERT INTO site (name) VALUES ('A');
INSERT INTO storage (name, site, url) VALUES ('DISK-A', 'A', 'file:///a');
INSERT INTO dataset (scope, name, version, latest, kind, owner) VALUES ('mc26', 'new', 1, true, 'production', 'ada');
INSERT INTO task (key, step, owner, state, request, priority, output_id, destination_id, numbers, generated, actor,
                  reason)
VALUES ('mc26:new', 'evgen', 'ada', 'running', '{}', 1, 1, 1, 30, true, 'x', 'submitted');
INSERT INTO job (task_id, number, work, actor, reason, requirement_id)
    SELECT task.id, n, '{}', 'generation', 'work to do', 1 FROM task, generate_series(1, 30) n;
"""
"""Jobs that were defined together when each change of each job was a row of its own."""


async def test_the_story_of_a_job_goes_on_where_events_of_many_jobs_became_one_row(postgres_url: str) -> None:
    async with migrated(postgres_url, "0008", JOBS) as conn:
        await conn.execute("UPDATE job SET state = 'cancelled', actor = 'user:ada', reason = 'no more'")
        counts = await conn.fetchrow(
            "SELECT (SELECT count(*) FROM event WHERE job_id IS NOT NULL), (SELECT count(*) FROM mass_event)"
        )
        assert tuple(counts) == (30, 1)
        job = await conn.fetchval("SELECT max(id) FROM job")
        story = await conn.fetch("SELECT before, state, actor FROM events_of($1) ORDER BY id", job)
        assert [tuple(row) for row in story] == [
            (None, "defined", "generation"),
            ("defined", "cancelled", "user:ada"),
        ]
