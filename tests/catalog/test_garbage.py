"""Paths that are garbage: deleted in the end, whatever single storages do."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from prodchain.catalog import garbage
from prodchain.catalog.backends import base
from prodchain.catalog.connection import Pool
from prodchain.catalog.mover import Mover

from .material import new_file, new_storages
from .moving import put


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """The URL of a server that takes every question and answers none."""
    asked: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: asked.append(writer), "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/data"
    finally:
        server.close()
        for writer in asked:
            writer.close()
            await writer.wait_closed()


async def add(pool: Pool, storage_id: int, count: int) -> None:
    await pool.executemany(
        "INSERT INTO garbage (storage_id, scope, name) VALUES ($1, $2, $3)",
        [(storage_id, *new_file(number).did) for number in range(1, count + 1)],
    )


async def test_a_silent_storage_keeps_nobody_elses_garbage(
    database: Pool, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "TIMEOUT_S", 3.0)
    monkeypatch.setattr(garbage, "AWAKE_S", 0.1)
    async with silent_server() as url:
        async with database.acquire() as conn, conn.transaction():
            silent, disk = await new_storages(conn, url, f"file://{tmp_path}")
        await add(database, silent, 30)
        await add(database, disk, 1)
        path = put(tmp_path, 1)
        # As the database does after a minute; what a deletion waits is longer.
        settings = {"idle_in_transaction_session_timeout": "2000"}
        async with asyncpg.create_pool(database_url, min_size=1, max_size=2, server_settings=settings) as pool:
            mover = Mover(pool, "mover-1")
            assert await mover.clean() == 31
            assert not path.exists()
            await add(database, silent, 1)
            assert await mover.clean() == 0, "it is left alone for a while"
    rows = await database.fetch("SELECT storage_id, attempts, error FROM garbage ORDER BY id LIMIT 30")
    assert {(row["storage_id"], row["attempts"]) for row in rows} == {(silent, 1)}
    assert all("no answer" in row["error"] for row in rows)


async def test_garbage_of_a_storage_is_found_by_an_index(database: Pool) -> None:
    async with database.acquire() as conn, conn.transaction():
        at, *_ = await new_storages(conn, "file:///a", "file:///b")
        await conn.execute("SET LOCAL enable_seqscan = off")
        for statement, values in ((garbage.DUE, (at, 100)), (garbage.DUE_AT, ())):
            plan = "\n".join(row[0] for row in await conn.fetch(f"EXPLAIN {statement}", *values))
            assert "garbage_due" in plan
            assert "Sort Key: g.not_before" not in plan
