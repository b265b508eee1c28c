"""Counters are proven against the rows, and mended; what is folded stays the same."""

import asyncio

import asyncpg

from prodchain.catalog import folding, history, holds, recount, replicas, subscriptions
from prodchain.catalog.connection import Connection, Pool
from prodchain.catalog.models import DatasetKind
from prodchain.catalog.recount import Difference

from .material import EVNT, new_dataset, new_files, new_storages

DID = f"mc26_13p6TeV:{EVNT}"
BREAK = """
UPDATE dataset SET files = 9, bytes = 9, events = 9 WHERE id = 1;
UPDATE dataset_replica SET files = files - 1 WHERE dataset_id = 1;
DELETE FROM dataset_replica WHERE dataset_id = 2;
DELETE FROM storage_use;
INSERT INTO owner_use (owner, storage_id, bytes) VALUES ('eve', 1, 5);
UPDATE hold SET missing = 7;
"""


async def small_world(conn: Connection) -> list[int]:
    """Two datasets (ids 1 and 2) of four files, of which three are at storage 1; somebody waits for the fourth."""
    (here,) = await new_storages(conn, "file:/a")
    ids = await new_files(conn, 4)
    assert (await new_dataset(conn, file_ids=ids), here) == (1, 1)
    await new_dataset(conn, "user.ada.two", ids[:1], DatasetKind.USER)
    await replicas.arrive(conn, here, ids[:3])
    await subscriptions.subscribe(conn, 1, here)
    await holds.place(conn, "job", here, ids)
    return ids


async def test_every_counter_that_is_wrong_is_found_named_and_mended(database: Pool, satisfied: list[str]) -> None:
    async with database.acquire() as conn, conn.transaction():
        await small_world(conn)
        assert await recount.check(conn) == []
        await conn.execute(BREAK)
        found = await recount.check(conn)
        assert found == await recount.check(conn), "looking changes nothing"
        assert set(found) == {
            Difference("dataset files", DID, None, 9, 4),
            Difference("dataset bytes", DID, None, 9, 10),
            Difference("dataset events", DID, None, 9, 40),
            Difference("dataset replica files", DID, "DISK-A", 2, 3),
            Difference("dataset replica files", "user.ada:user.ada.two", "DISK-A", 0, 1),
            Difference("dataset replica bytes", "user.ada:user.ada.two", "DISK-A", 0, 1),
            Difference("storage files", "DISK-A", "DISK-A", 0, 3),
            Difference("storage bytes", "DISK-A", "DISK-A", 0, 6),
            Difference("owner bytes", "eve", "DISK-A", 5, 0),
            Difference("hold missing", "job", "DISK-A", 7, 1),
        }
        assert len(await recount.check(conn, [1])) == 4
        assert set(await recount.check(conn, repair=True)) >= set(found)
        assert await recount.check(conn) == []
        told = [event.text for event in await history.of(conn, DID) if event.kind == "recount"]
        assert "9 counted, 4 found and set" in told[-1]
        assert satisfied == []


async def test_a_hold_that_was_counted_wrong_is_released(conn: Connection, satisfied: list[str]) -> None:
    ids = await small_world(conn)
    await conn.execute("DELETE FROM hold_file WHERE file_id = $1", ids[3])
    await recount.check(conn, repair=True)
    assert satisfied == ["job"]


async def test_copies_that_nothing_would_ever_delete_get_a_tombstone(conn: Connection) -> None:
    await small_world(conn)
    (stray,) = await new_files(conn, 1, first=9)
    await replicas.arrive(conn, 1, [stray])
    (found,) = await recount.check(conn, repair=True)
    assert (found.what, found.storage) == ("file copies that stay for ever", "DISK-A")
    assert await conn.fetchval(
        "SELECT tombstone_at > now() + interval '6 days' FROM replica WHERE file_id = $1", stray
    )
    assert await recount.check(conn) == []


async def test_the_nightly_recount_runs_once_a_day_and_tells(database: Pool, satisfied: list[str]) -> None:
    async with database.acquire() as conn, conn.transaction():
        await small_world(conn)
        await conn.execute(BREAK)
    assert await recount.nightly(database) >= 10
    assert await recount.nightly(database) == 0
    async with database.acquire() as conn:
        (event,) = await history.of(conn, recount.NIGHT)
        assert event.text.startswith("2 datasets: 1")
        await conn.execute("UPDATE catalog_event SET at = at - interval '25 hours'")
        assert await recount.check(conn) == []
    assert await recount.nightly(database) == 0
    async with database.acquire() as conn:
        assert [event.text for event in await history.of(conn, recount.NIGHT, limit=1)] == [
            "2 datasets: 0 differences"
        ]


async def test_a_recount_that_takes_long_is_not_ended_by_the_database(
    database: Pool, database_url: str, satisfied: list[str]
) -> None:
    async with database.acquire() as conn, conn.transaction():
        await small_world(conn)
        await conn.execute("UPDATE dataset SET files = 9 WHERE id = 1")
    settings = {"idle_in_transaction_session_timeout": "300"}
    async with asyncpg.create_pool(database_url, min_size=1, max_size=3, server_settings=settings) as pool:
        async with database.acquire() as busy, busy.transaction():
            await busy.execute("SELECT FROM dataset WHERE id = 1 FOR UPDATE")
            recounting = asyncio.create_task(recount.nightly(pool))
            await asyncio.sleep(1)
        assert await recounting == 1
        assert await recount.nightly(pool) == 0, "it was done"


async def test_folding_keeps_the_sums_and_leaves_one_row_each(conn: Connection) -> None:
    await small_world(conn)
    for number in range(3):
        await replicas.arrive(conn, 1, await new_files(conn, 1, first=20 + number))
    await replicas.remove(conn, 1, await new_files(conn, 1, first=20))
    storage = "SELECT sum(files), sum(bytes) FROM storage_use"
    owners = "SELECT owner, sum(bytes) FROM owner_use GROUP BY 1"
    before = await conn.fetch(storage), await conn.fetch(owners)
    assert await folding.fold(conn) > 0
    assert (await conn.fetch(storage), await conn.fetch(owners)) == before
    assert await conn.fetchval("SELECT count(*) FROM storage_use") == 1
    assert await conn.fetchval("SELECT count(*) FROM owner_use") == 1
    assert await folding.fold(conn) == 0
