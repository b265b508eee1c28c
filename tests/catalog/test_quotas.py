"""Quotas and space: nobody gets more than there is, however many ask at once, and each refusal says why."""

import asyncio
import json

import asyncpg
import pytest

from prodchain.catalog import datasets, files, history, names, quotas, replicas, subscriptions, withdrawals
from prodchain.catalog.connection import Connection, Pool
from prodchain.catalog.errors import QuotaExceeded, StorageFull
from prodchain.catalog.models import DatasetKind

from .material import holders_of, new_dataset, new_file, new_storages


async def sized_files(conn: Connection, *sizes: int, first: int = 1) -> list[int]:
    """Files of so many bytes each."""
    return await files.register(conn, [new_file(n, b"x" * size) for n, size in enumerate(sizes, start=first)])


async def dataset_of(conn: Connection, owner: str, name: str, ids: list[int]) -> int:
    dataset = await datasets.create(conn, names.parse_did(name), DatasetKind.USER, owner)
    assert dataset.id is not None
    await datasets.add_files(conn, dataset.id, ids)
    return dataset.id


async def test_a_wish_over_the_quota_is_refused_before_anything_changes(conn: Connection) -> None:
    here, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await sized_files(conn, 40, 30, 50)
    mine = await dataset_of(conn, "ada", "user.ada.one", ids[:2])
    more = await dataset_of(conn, "ada", "user.ada.two", ids[2:])
    await replicas.arrive(conn, here, ids)
    await replicas.arrive(conn, there, ids[:1])
    await quotas.set(conn, "ada", there, 100, "root")
    await subscriptions.subscribe(conn, mine, there, owner="ada")
    (use,) = await quotas.of(conn, "ada")
    assert (use.storage, use.limit, use.used, use.moving) == ("DISK-B", 100, 40, 30)
    with pytest.raises(QuotaExceeded) as refused:
        await subscriptions.subscribe(conn, more, there, owner="ada")
    assert str(refused.value) == (
        "ada may have 100 B at DISK-B: 40 B are there, 30 B on their way, 50 B more are wanted"
    )
    assert await conn.fetchval("SELECT count(*) FROM subscription") == 1
    assert await conn.fetchval("SELECT count(*) FROM transfer") == 1
    await quotas.set(conn, "ada", there, 120, "root")
    await subscriptions.subscribe(conn, more, there, owner="ada")
    await replicas.arrive(conn, there, ids)
    (use,) = await quotas.of(conn, "ada")
    assert (use.used, use.moving) == (120, 0)
    assert [event.text for event in await history.of(conn, "ada at DISK-B")] == ["120 B at most", "100 B at most"]


async def test_who_wishes_for_the_data_of_others_pays_while_it_moves(conn: Connection) -> None:
    here, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await sized_files(conn, 60)
    dataset = await dataset_of(conn, "bob", "user.bob.one", ids)
    await replicas.arrive(conn, here, ids)
    await quotas.set(conn, "ada", there, 50, "root")
    with pytest.raises(QuotaExceeded, match="ada may have"):
        await subscriptions.subscribe(conn, dataset, there, owner="ada")
    await quotas.set(conn, "ada", there, 60, "root")
    await quotas.set(conn, "bob", there, 50, "root")
    with pytest.raises(QuotaExceeded, match="bob may have"):
        await subscriptions.subscribe(conn, dataset, there, owner="ada")
    assert await quotas.remove(conn, "bob", there, "root")
    assert not await quotas.remove(conn, "bob", there, "root")
    await subscriptions.subscribe(conn, dataset, there, owner="ada")
    assert [(use.owner, use.moving) for use in await quotas.of(conn)] == [("ada", 60)]


async def test_what_the_system_wishes_for_itself_is_nobodys(conn: Connection) -> None:
    here, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await sized_files(conn, 60)
    dispatch = await new_dataset(conn, "mc26.out_dis1", ids, DatasetKind.DISPATCH)
    await replicas.arrive(conn, here, ids)
    await quotas.set(conn, "ada", there, 1, "root")
    assert (await subscriptions.subscribe(conn, dispatch, there)).state == "active"
    (use,) = await quotas.of(conn, "ada")
    assert (use.used, use.moving) == (0, 0)


async def test_who_wishes_for_their_own_data_on_a_groups_account_does_so_for_the_group(conn: Connection) -> None:
    here, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await sized_files(conn, 60, 30)
    dataset = await datasets.create(conn, names.parse_did("mc26.ours"), DatasetKind.PRODUCTION, "ada")
    dataset = await datasets.charge(conn, dataset, "group:higgs")
    assert dataset.id is not None
    await datasets.add_files(conn, dataset.id, ids[:1])
    await replicas.arrive(conn, here, ids)
    await quotas.set(conn, "ada", there, 0, "root")
    await quotas.set(conn, "bob", there, 100, "root")
    await quotas.set(conn, "group:higgs", there, 50, "root")
    with pytest.raises(QuotaExceeded, match="group:higgs may have"):
        await subscriptions.subscribe(conn, dataset.id, there, owner="ada")
    await quotas.set(conn, "group:higgs", there, 100, "root")
    await subscriptions.subscribe(conn, dataset.id, there, owner="ada")
    await datasets.add_files(conn, dataset.id, ids)
    assert await conn.fetch("SELECT DISTINCT owner FROM transfer") == [("group:higgs",)]
    assert [(use.owner, use.moving) for use in await quotas.of(conn)] == [("ada", 0), ("bob", 0), ("group:higgs", 90)]
    await withdrawals.cancel(conn, dataset.id, there)
    await subscriptions.subscribe(conn, dataset.id, there, owner="bob")
    assert [(use.owner, use.moving) for use in await quotas.of(conn)] == [
        ("ada", 0),
        ("bob", 90),
        ("group:higgs", 90),
    ]
    await replicas.arrive(conn, there, ids)
    assert [(use.owner, use.used) for use in await quotas.of(conn)] == [("ada", 0), ("bob", 0), ("group:higgs", 90)]


async def test_bookkeeping_counts_while_it_moves_for_whom_it_is_charged_to(conn: Connection) -> None:
    here, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await sized_files(conn, 60)
    sub = await datasets.by_id(conn, await new_dataset(conn, "mc26.out_sub.A", ids, DatasetKind.SUB))
    await datasets.charge(conn, sub, "group:higgs")
    await replicas.arrive(conn, here, ids)
    await quotas.set(conn, "group:higgs", there, 1, "root")
    await subscriptions.subscribe(conn, sub.id or 0, there)
    (use,) = await quotas.of(conn)
    assert (use.used, use.moving) == (0, 60), "what the system wishes for is not refused, but counts"
    await replicas.arrive(conn, there, ids)
    (use,) = await quotas.of(conn)
    assert (use.used, use.moving) == (0, 0)


async def test_a_full_storage_refuses_with_what_is_free_and_needed(conn: Connection) -> None:
    here, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await sized_files(conn, 40, 30, 20)
    await replicas.arrive(conn, here, ids)
    await replicas.arrive(conn, there, ids[:1])
    await conn.execute("UPDATE storage SET capacity_bytes = 100, min_free_bytes = 15 WHERE id = $1", there)
    await subscriptions.subscribe(conn, await dataset_of(conn, "ada", "user.ada.one", ids[:2]), there)
    other = await dataset_of(conn, "ada", "user.ada.two", ids[1:])
    with pytest.raises(StorageFull, match="DISK-B takes 15 B more, 20 B are needed: 40 B of 85 B are used, 30 B on"):
        await subscriptions.subscribe(conn, other, there)  # the file of 30 bytes is on its way already
    await conn.execute("UPDATE storage SET min_free_bytes = 10 WHERE id = $1", there)
    assert (await subscriptions.subscribe(conn, other, there)).state == "active"
    assert await quotas.full(conn) == {}
    await replicas.arrive(conn, there, ids)
    assert await quotas.full(conn) == {
        (None, there): "the space at DISK-B is used: 90 B of 90 B are there, 0 B on their way"
    }
    with pytest.raises(StorageFull):
        await quotas.check_space(conn, there, 1)
    await quotas.check_space(conn, there, 0)
    await quotas.check_space(conn, here, 10**15)


async def test_room_counts_what_movers_have_in_hand(conn: Connection) -> None:
    here, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await sized_files(conn, 40, 30)
    await replicas.arrive(conn, here, ids)
    await quotas.set(conn, "ada", there, 75, "root")
    await subscriptions.subscribe(conn, await dataset_of(conn, "ada", "user.ada.one", ids), there, owner="ada")
    (room,) = await quotas.room(conn)
    assert (room.owner, room.storage_id, room.bytes) == ("ada", there, 75)
    await conn.execute("UPDATE transfer SET phase = 'active' WHERE file_id = $1", ids[0])
    (room,) = await quotas.room(conn)
    assert room.bytes == 35
    await quotas.set(conn, "ada", there, 40, "root")
    assert await quotas.full(conn) == {
        ("ada", there): "the quota of ada at DISK-B is used: 0 B of 40 B are there, 40 B on their way"
    }


async def test_of_two_who_ask_at_once_for_the_same_room_one_is_refused(database: Pool) -> None:
    async with database.acquire() as conn, conn.transaction():
        here, there = await new_storages(conn, "file:/a", "file:/b")
        ids = await sized_files(conn, *[60] * 6)
        wanted = [await dataset_of(conn, "ada", f"user.ada.d{n}", [file]) for n, file in enumerate(ids)]
        await replicas.arrive(conn, here, ids)
        await quotas.set(conn, "ada", there, 130, "root")

    async def wish(dataset: int) -> bool:
        try:
            async with database.acquire() as conn, conn.transaction():
                await subscriptions.subscribe(conn, dataset, there, owner="ada")
                await asyncio.sleep(0.02)
        except QuotaExceeded:
            return False
        return True

    assert sum(await asyncio.gather(*map(wish, wanted))) == 2
    async with database.acquire() as conn:
        (use,) = await quotas.of(conn, "ada")
        assert use.moving == 120


async def test_a_wish_for_what_is_there_now_is_charged_for_that_only(conn: Connection) -> None:
    here, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await sized_files(conn, 40, 30)
    dataset = await dataset_of(conn, "ada", "user.ada.one", ids[:1])
    await replicas.arrive(conn, here, ids)
    await quotas.set(conn, "ada", there, 50, "root")
    wish = await subscriptions.subscribe(conn, dataset, there, owner="ada", standing=False)
    await datasets.add_files(conn, dataset, ids)
    (use,) = await quotas.of(conn, "ada")
    assert use.moving == 40
    assert await holders_of(conn, dataset) == [subscriptions.holder(wish.id or 0)]


async def pages_read(conn: Connection, owner: str, storage_id: int) -> int:
    (plan,) = await conn.fetch(
        f"EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {quotas.USE}", [owner], storage_id, []
    )
    whole = json.loads(plan[0])[0]["Plan"]
    return int(whole["Shared Hit Blocks"] + whole["Shared Read Blocks"])


async def test_nothing_is_counted_for_who_has_no_quota(database_url: str) -> None:
    conn = await asyncpg.connect(database_url)
    try:
        _, there = await new_storages(conn, "file:/a", "file:/b")
        await quotas.set(conn, "bob", there, 100, "root")
        await conn.execute(
            """
            WITH wanted AS (
                INSERT INTO dataset (scope, name, kind, state, owner, bytes)
                SELECT 'user.ada', 'user.ada.d' || n, 'user', 'open', 'ada', 1 FROM generate_series(1, 2000) n
                RETURNING id
            )
            INSERT INTO subscription (dataset_id, storage_id, state, owner) SELECT id, $1, 'active', 'ada' FROM wanted
            """,
            there,
        )
        await conn.execute("ANALYZE subscription, dataset, quota")
        assert await pages_read(conn, "ada", there) < 10 < await pages_read(conn, "bob", there)
    finally:
        await conn.close()


async def test_history_costs_a_check_nothing(database_url: str) -> None:
    """With 100,000 wishes that ended, a check reads as many pages as with none."""
    conn = await asyncpg.connect(database_url)
    try:
        here, there = await new_storages(conn, "file:/a", "file:/b")
        ids = await sized_files(conn, 40)
        dataset = await dataset_of(conn, "ada", "user.ada.one", ids)
        await replicas.arrive(conn, here, ids)
        await quotas.set(conn, "ada", there, 100, "root")
        await subscriptions.subscribe(conn, dataset, there, owner="ada")

        async def pages() -> int:
            await conn.execute("VACUUM ANALYZE subscription")
            await conn.execute("VACUUM ANALYZE dataset")
            return await pages_read(conn, "ada", there)

        before = await pages()
        await conn.execute(
            """
            WITH old AS (
                INSERT INTO dataset (scope, name, kind, state, owner)
                SELECT 'user.ada', 'user.ada.old' || n, 'user', 'closed', 'ada' FROM generate_series(1, 100000) n
                RETURNING id
            )
            INSERT INTO subscription (dataset_id, storage_id, state, owner) SELECT id, $1, 'done', 'ada' FROM old
            """,
            there,
        )
        assert await pages() <= before + 10
    finally:
        await conn.close()
