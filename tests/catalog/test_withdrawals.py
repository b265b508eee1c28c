"""Wishes that end while others begin: nobody's copy is taken back with somebody else's."""

import asyncio
from collections.abc import Sequence

import pytest

from prodchain.catalog import hooks, progress, purging, replicas, subscriptions, withdrawals
from prodchain.catalog.connection import Connection, Pool

from .material import new_dataset, new_files, new_storages


async def test_a_wish_that_ends_while_another_for_the_same_files_begins_takes_nothing_from_it(database: Pool) -> None:
    async with database.acquire() as conn, conn.transaction():
        here, there = await new_storages(conn, "file:/a", "file:/b")
        ids = await new_files(conn, 3)
        await replicas.arrive(conn, here, ids)
        pairs = [
            (await new_dataset(conn, f"user.ada.old{n}", ids), await new_dataset(conn, f"user.ada.new{n}", ids))
            for n in range(6)
        ]
        await subscriptions.subscribe(conn, pairs[0][0], there)

    async def begin(dataset: int) -> None:
        async with database.acquire() as conn, conn.transaction():
            await subscriptions.subscribe(conn, dataset, there)
            await asyncio.sleep(0.01)

    async def end(dataset: int) -> None:
        async with database.acquire() as conn, conn.transaction():
            await withdrawals.cancel(conn, dataset, there)
            await asyncio.sleep(0.01)

    last = pairs[0][0]
    for number, (_, new) in enumerate(pairs):
        both = [end(last), begin(new)]
        await asyncio.gather(*(both if number % 2 else reversed(both)))
        assert await database.fetchval("SELECT count(*) FROM transfer WHERE state = 'queued'") == len(ids)
        last = new
    await end(last)
    assert await database.fetchval("SELECT count(*) FROM transfer") == 0


async def test_what_was_copied_for_a_wish_that_ended_goes_when_space_is_wanted(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nobody(conn: Connection, storage_id: int, file_ids: Sequence[int]) -> dict[int, str]:
        return {}

    async def nothing(conn: Connection, storage_id: int, file_ids: Sequence[int]) -> list[tuple[str, int]]:
        return []

    monkeypatch.setattr(hooks, "reads", nobody)
    monkeypatch.setattr(hooks, "removed", nothing)
    here, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 3)
    await replicas.arrive(conn, here, ids)
    await replicas.arrive(conn, there, ids[:1])  # somebody put it there
    one, other = await new_dataset(conn, "user.ada.one", ids), await new_dataset(conn, "user.ada.other", ids[2:])
    for dataset in (one, other):
        await subscriptions.subscribe(conn, dataset, there)
    await replicas.arrive(conn, there, ids[1:])

    await withdrawals.cancel(conn, one, there)
    assert await may_go(conn) == [(ids[1], there)]
    assert await purging.reap(conn, there) == 0, "space is not wanted"
    await conn.execute("UPDATE storage SET capacity_bytes = 1, min_free_bytes = 1")
    assert await purging.reap(conn, there) == 1
    await withdrawals.cancel(conn, other, there)
    assert await may_go(conn) == [(ids[2], there)]
    await subscriptions.subscribe(conn, other, there)
    assert await may_go(conn) == []


async def may_go(conn: Connection) -> list[tuple[int, int]]:
    rows = await conn.fetch("SELECT file_id, storage_id FROM replica WHERE tombstone_at IS NOT NULL ORDER BY file_id")
    return [(row["file_id"], row["storage_id"]) for row in rows]


async def test_the_summary_reads_what_is_active_only(conn: Connection) -> None:
    (there,) = await new_storages(conn, "file:/a")
    await subscriptions.subscribe(conn, await new_dataset(conn, file_ids=await new_files(conn, 1)), there)
    await conn.execute(
        """
        WITH old AS (
            INSERT INTO dataset (scope, name, kind, state)
            SELECT 'user.ada', 'user.ada.old' || n, 'user', 'closed' FROM generate_series(1, 20000) n RETURNING id
        )
        INSERT INTO subscription (dataset_id, storage_id, state) SELECT id, $1, 'done' FROM old
        """,
        there,
    )
    await conn.execute("ANALYZE subscription; ANALYZE dataset")
    plan = "\n".join(row[0] for row in await conn.fetch(f"EXPLAIN {progress.SUMMARY}"))
    assert "subscription_active" in plan
    assert "Seq Scan on subscription" not in plan
    assert "Seq Scan on dataset" not in plan
