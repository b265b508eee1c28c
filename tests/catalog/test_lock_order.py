"""What users do at the same time with the same container, dataset or quota waits in one order: nobody is ended."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from prodchain.catalog import badreplicas, containers, datasets, plans, quotas, replicas, withdrawals
from prodchain.catalog.connection import Connection, Pool
from prodchain.catalog.models import DatasetKind

from .material import new_dataset, new_files, new_storages


async def at_once(pool: Pool, *works: Callable[[Connection], Awaitable[object]]) -> None:
    """Each in a transaction of its own; PostgreSQL ends one of those that wait crosswise, which raises here."""

    async def inside(work: Callable[[Connection], Awaitable[object]]) -> None:
        async with pool.acquire() as conn, conn.transaction():
            await work(conn)

    await asyncio.gather(*map(inside, works))


async def test_containers_are_filled_while_they_are_wished_for_and_cancelled(database: Pool) -> None:
    async with database.acquire() as conn, conn.transaction():
        _, there = await new_storages(conn, "file:/a", "file:/b")
        box = await new_dataset(conn, "user.ada.box", kind=DatasetKind.CONTAINER)
        children = [
            await new_dataset(conn, f"user.ada.part{n}", await new_files(conn, 5, first=1 + 5 * n)) for n in range(6)
        ]
        await plans.subscribe(conn, box, "DISK-B", owner="ada")
    for turn in range(2):
        change = (containers.add, containers.remove)[turn]
        await at_once(
            database,
            *(partial(change, container_id=box, child_ids=[child]) for child in children),
            *[lambda conn: plans.subscribe(conn, box, "DISK-B", owner="ada")] * 5,
            *[lambda conn: withdrawals.cancel(conn, box, there, "ada")] * 5,
        )
    assert await database.fetchval("SELECT count(*) FROM dataset_child") == 0


async def test_a_dataset_is_filled_and_wished_for_by_one_with_a_quota(database: Pool) -> None:
    async with database.acquire() as conn, conn.transaction():
        _, there = await new_storages(conn, "file:/a", "file:/b")
        await quotas.set(conn, "ada", there, 10**9, "ops")
        dataset = await new_dataset(conn, "user.ada.filled", await new_files(conn, 5))
        more = [await new_files(conn, 1, first=10 + n) for n in range(8)]

    async def upload(conn: Connection, ids: list[int]) -> None:
        await datasets.add_files(conn, dataset, ids)
        await quotas.check(conn, "ada", there, 5, apart_from=[dataset])
        await replicas.arrive(conn, there, ids)

    await at_once(
        database,
        *(lambda conn, ids=ids: upload(conn, ids) for ids in more),
        *[lambda conn: plans.subscribe(conn, dataset, "DISK-B", owner="ada")] * 8,
    )
    assert await database.fetchval("SELECT count(*) FROM replica") == 8


async def test_lost_files_that_turn_up_are_copied_where_others_begin_and_end_wishes(database: Pool) -> None:
    async with database.acquire() as conn, conn.transaction():
        storages = await new_storages(conn, "file:/a", "file:/b", "file:/c", "file:/d")
        ids = await new_files(conn, 12)
        box = await new_dataset(conn, "user.ada.box", kind=DatasetKind.CONTAINER)
        parts = [await new_dataset(conn, f"user.ada.part{n}", ids[6 * n : 6 * n + 6]) for n in range(2)]
        await containers.add(conn, box, parts)
        for part in parts:
            await datasets.close(conn, part)
        for storage in storages[:2]:
            await replicas.arrive(conn, storage, ids)
        await plans.subscribe(conn, box, "*", owner="ada")
    for turn in range(4):
        async with database.acquire() as conn, conn.transaction():
            for storage in storages:
                await badreplicas.bad(conn, storage, ids, "ops", "broken")
        one, other = storages[turn % 4], storages[(turn + 2) % 4]
        await at_once(
            database,
            *(partial(replicas.arrive, storage_id=one, file_ids=ids[n::3]) for n in range(3)),
            *(partial(replicas.arrive, storage_id=other, file_ids=ids[n::2]) for n in range(2)),
            *[lambda conn: plans.subscribe(conn, box, "DISK-C|DISK-D", owner="eve")] * 3,
            *[lambda conn: withdrawals.cancel(conn, box, storages[2], "eve")] * 3,
        )
    assert await database.fetchval("SELECT count(*) FROM file WHERE lost_at IS NOT NULL") == 0
