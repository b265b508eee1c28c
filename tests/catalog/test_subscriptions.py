"""Subscriptions: what is queued, and when a wish is fulfilled."""

from prodchain.catalog import datasets, replicas, subscriptions
from prodchain.catalog.connection import Connection

from .material import new_dataset, new_files, new_storages


async def queued(conn: Connection, storage: int) -> list[int]:
    rows = await conn.fetch(
        "SELECT file_id FROM transfer WHERE state = 'queued' AND storage_id = $1 ORDER BY 1", storage
    )
    return [row["file_id"] for row in rows]


async def test_only_what_lacks_is_queued(conn: Connection) -> None:
    here, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 3)
    dataset = await new_dataset(conn, file_ids=ids)
    await replicas.arrive(conn, here, ids)
    await replicas.arrive(conn, there, ids[:1])
    first = await subscriptions.subscribe(conn, dataset, there)
    again = await subscriptions.subscribe(conn, dataset, there)
    assert (first.id, first.state) == (again.id, "active")
    assert await queued(conn, there) == ids[1:]
    assert (await conn.fetchval("SELECT sum(bytes) FROM transfer")) == 2 + 3


async def test_what_joins_later_follows(conn: Connection) -> None:
    here, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 3)
    dataset = await new_dataset(conn)
    await subscriptions.subscribe(conn, dataset, there)
    await replicas.arrive(conn, there, ids[:1])
    await datasets.add_files(conn, dataset, ids)
    assert await queued(conn, there) == ids[1:]
    assert await queued(conn, here) == []


async def test_a_wish_is_fulfilled_by_the_last_copy_of_a_closed_dataset(conn: Connection) -> None:
    _, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 2)
    dataset = await new_dataset(conn, file_ids=ids)
    await subscriptions.subscribe(conn, dataset, there)
    await replicas.arrive(conn, there, ids[:1])
    await datasets.close(conn, dataset)
    assert (await subscriptions.subscribe(conn, dataset, there)).state == "active"
    await replicas.arrive(conn, there, ids)
    done = await subscriptions.subscribe(conn, dataset, there)
    assert done.state == "done"
    assert done.done_at is not None
    assert await queued(conn, there) == []


async def test_closing_fulfils_a_wish_whose_copy_is_complete(conn: Connection) -> None:
    (here,) = await new_storages(conn, "file:/a")
    ids = await new_files(conn, 2)
    dataset, empty = await new_dataset(conn, file_ids=ids), await new_dataset(conn, "user.ada.empty")
    await replicas.arrive(conn, here, ids)
    assert (await subscriptions.subscribe(conn, dataset, here)).state == "active"
    await datasets.close(conn, dataset)
    await datasets.close(conn, empty)
    assert (await subscriptions.subscribe(conn, dataset, here)).state == "done"
    assert (await subscriptions.subscribe(conn, empty, here)).state == "done"


async def test_a_copy_that_was_deleted_is_queued_anew(conn: Connection) -> None:
    _, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 1)
    await subscriptions.queue(conn, there, ids)
    await replicas.arrive(conn, there, ids)
    await conn.execute("DELETE FROM replica")
    await subscriptions.queue(conn, there, ids)
    row = await conn.fetchrow("SELECT state, attempts, done_at FROM transfer")
    assert row is not None
    assert tuple(row) == ("queued", 0, None)
