"""New files at the storage where they were made: one statement says what three steps would say."""

import asyncpg
import pytest

from prodchain.catalog import datasets, files, made, recount, subscriptions
from prodchain.catalog.connection import Connection
from prodchain.catalog.errors import DatasetClosed, FileConflict
from prodchain.catalog.made import Made

from .material import new_dataset, new_file, new_storages


async def counters(conn: Connection) -> list[tuple[int, ...]]:
    rows = await conn.fetch(
        """
        SELECT d.files AS total, d.bytes, d.events, r.storage_id, r.files, r.bytes AS there
        FROM dataset d JOIN dataset_replica r ON r.dataset_id = d.id ORDER BY d.id, r.storage_id
        """
    )
    return [tuple(row.values()) for row in rows]


async def test_files_are_registered_in_their_datasets_and_where_they_are(conn: Connection) -> None:
    here, there = await new_storages(conn, "file:a", "file:b")
    one, two = (
        await new_dataset(conn, "mc26.700001.A.evgen.EVNT.v1"),
        await new_dataset(conn, "mc26.700002.A.evgen.EVNT.v1"),
    )
    news = [Made((one, two)[n % 2], (here, there)[n // 4], new_file(n)) for n in (5, 3, 4, 1, 2)]
    ids = await made.take(conn, news)
    assert ids == await files.register(conn, [each.file for each in news])
    held = await conn.fetch(
        "SELECT m.dataset_id, r.storage_id, r.file_id FROM replica r JOIN dataset_file m USING (file_id)"
    )
    assert {tuple(row.values()) for row in held} == {
        (each.dataset_id, each.storage_id, file_id) for each, file_id in zip(news, ids, strict=True)
    }
    before = await counters(conn)
    with pytest.raises(asyncpg.UniqueViolationError):
        async with conn.transaction():
            await made.take(conn, news)
    assert await made.take_known(conn, news) == ids
    assert await counters(conn) == before
    assert await recount.check(conn) == []


async def test_what_is_known_joins_with_what_is_new(conn: Connection) -> None:
    [here] = await new_storages(conn, "file:a")
    dataset = await new_dataset(conn)
    [known] = await files.register(conn, [new_file(1)])
    ids = await made.take_known(conn, [Made(dataset, here, new_file(n)) for n in (1, 2)])
    assert ids[0] == known
    assert await conn.fetchval("SELECT files FROM dataset_replica") == 2
    assert await recount.check(conn) == []
    with pytest.raises(FileConflict):
        await made.take_known(conn, [Made(dataset, here, new_file(n, b"other")) for n in (2, 3)])


async def test_who_wishes_for_the_dataset_elsewhere_gets_the_files(conn: Connection) -> None:
    here, there = await new_storages(conn, "file:a", "file:b")
    dataset = await new_dataset(conn)
    for storage in (here, there):
        await subscriptions.subscribe(conn, dataset, storage)
    [file_id] = await made.take(conn, [Made(dataset, here, new_file(1))])
    assert [tuple(row.values()) for row in await conn.fetch("SELECT file_id, storage_id FROM transfer")] == [
        (file_id, there)
    ]


async def test_a_closed_dataset_takes_no_new_file(conn: Connection) -> None:
    [here] = await new_storages(conn, "file:a")
    dataset = await new_dataset(conn)
    news = [Made(dataset, here, new_file(1))]
    [file_id] = await made.take(conn, news)
    await datasets.close(conn, dataset)
    assert await made.take_known(conn, news) == [file_id]
    with pytest.raises(DatasetClosed):
        await made.take_known(conn, [Made(dataset, here, new_file(2))])
