"""What users do at the same time with the same container, dataset or quota waits in one order: nobody is ended."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from prodchain.catalog import containers, datasets, plans, quotas, replicas, withdrawals
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
