"""The mover moves, and a real Rucio records: also what happened while it was down."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from prodchain.catalog import containers, datasets, files, replicas
from prodchain.catalog.connection import Pool
from prodchain.catalog.models import DatasetKind, Storage
from prodchain.catalog.rucio import recorder
from prodchain.catalog.rucio.catalog import RucioCatalog
from prodchain.catalog.rucio.client import Client
from prodchain.catalog.rucio.recorder import Recorder, switch

from ...storages.rucio import RucioServer
from .test_conformance import dataset, file
from .test_export import put

WAITING = "SELECT count(*) FROM unrecorded"


@pytest.fixture
async def recording(
    database: Pool, client: Client, places: list[Storage], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Recorder]:
    """A recorder that waits for nothing, with recording switched on."""
    monkeypatch.setattr(recorder, "RETRY_S", (0,))
    await switch(database, client.url)
    yield Recorder(database, client)


async def due_now(pool: Pool) -> None:
    """An open dataset is told of some time after it changed."""
    await pool.execute("UPDATE unrecorded SET not_before = now()")


async def record(pool: Pool, recording: Recorder) -> None:
    await due_now(pool)
    while await recording.step():
        pass
    assert await pool.fetchval(WAITING) == 0


async def test_nothing_is_noted_while_recording_is_off(database: Pool, places: list[Storage], tag: str) -> None:
    async with database.acquire() as conn, conn.transaction():
        await put(conn, dataset(tag), 2, "DISK-A")
    assert await database.fetchval(WAITING) == 0


async def test_switching_on_tells_of_what_is_there_and_off_forgets(
    database: Pool, client: Client, rucio: RucioCatalog, places: list[Storage], tag: str
) -> None:
    async with database.acquire() as conn, conn.transaction():
        await put(conn, dataset(tag), 2, "DISK-A")
        await put(conn, dataset(f"{tag}_dis3"), 1, "DISK-A", kind=DatasetKind.DISPATCH)
    await switch(database, client.url)
    assert await database.fetchval(WAITING) == 1
    await switch(database, client.url)  # the agents start again
    assert await database.fetchval(WAITING) == 1
    await record(database, Recorder(database, client))
    assert await rucio.find(f"*{tag}*") == [dataset(tag)]
    await switch(database, "")
    async with database.acquire() as conn, conn.transaction():
        await put(conn, dataset(tag, "RDO"), 1, "DISK-A")
    assert await database.fetchval(WAITING) == 0


async def test_every_change_is_recorded(
    database: Pool, rucio: RucioCatalog, recording: Recorder, places: list[Storage], tag: str
) -> None:
    did, box = dataset(tag), dataset(tag, "BOX")
    async with database.acquire() as conn, conn.transaction():
        number, new = await put(conn, did, 2, "DISK-A")
    await record(database, recording)
    assert await rucio.completeness(did) == {"DISK-A": (2, 2)}
    async with database.acquire() as conn, conn.transaction():
        ids = await files.register(conn, new)
        await replicas.arrive(conn, places[1].id or 0, ids)
    await record(database, recording)
    assert await rucio.completeness(did) == {"DISK-A": (2, 2), "DISK-B": (2, 2)}
    async with database.acquire() as conn, conn.transaction():
        await replicas.remove(conn, places[0].id or 0, ids[:1])
        await datasets.close(conn, number)
        box_id = (await datasets.create(conn, box, DatasetKind.CONTAINER, "ada")).id or 0
        await containers.add(conn, box_id, [number])
    await record(database, recording)
    assert await rucio.completeness(did) == {"DISK-A": (1, 2), "DISK-B": (2, 2)}
    assert not (await rucio.get(did)).open
    assert len(await rucio.content(box)) == 1


async def test_work_goes_on_while_rucio_is_down_and_is_recorded_when_it_is_back(
    database: Pool,
    rucio_server: RucioServer,
    rucio: RucioCatalog,
    recording: Recorder,
    places: list[Storage],
    tag: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    did, late = dataset(tag), dataset(tag, "RDO")
    async with database.acquire() as conn, conn.transaction():
        number, new = await put(conn, did, 3, "DISK-A")
    await record(database, recording)
    rucio_server.stop()
    try:
        for place in places[1:]:
            async with database.acquire() as conn, conn.transaction():
                await replicas.arrive(conn, place.id or 0, await files.register(conn, new))
            await due_now(database)
            assert await recording.step() == 0
        async with database.acquire() as conn, conn.transaction():
            await datasets.close(conn, number)
            await put(conn, late, 2, "DISK-B")
        await due_now(database)
        assert await recording.step() == 0
        assert await database.fetchval(WAITING) == 2  # one row for each dataset, however many changes
        assert "does not answer" in caplog.text
    finally:
        rucio_server.start()
    await record(database, recording)
    assert await rucio.completeness(did) == {place.name: (3, 3) for place in places}
    assert not (await rucio.get(did)).open
    assert await rucio.completeness(late) == {"DISK-B": (2, 2)}


async def test_a_change_during_the_telling_is_told_next(
    database: Pool,
    rucio: RucioCatalog,
    recording: Recorder,
    places: list[Storage],
    tag: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    did = dataset(tag)
    async with database.acquire() as conn, conn.transaction():
        number, _ = await put(conn, did, 1, "DISK-A")
    create = recording._rucio.make

    async def changes(dids: list[dict[str, object]]) -> None:
        await create(dids)
        async with database.acquire() as conn, conn.transaction():
            await datasets.close(conn, number)

    monkeypatch.setattr(recording._rucio, "make", changes)
    await due_now(database)
    assert await recording.step() == 1
    assert (await rucio.get(did)).open
    assert await database.fetchval(WAITING) > 0
    await record(database, recording)
    assert not (await rucio.get(did)).open


async def test_a_dataset_that_cannot_be_recorded_waits_with_the_reason_and_stops_no_other(
    database: Pool, rucio: RucioCatalog, rucio_places: list[Storage], recording: Recorder, tag: str
) -> None:
    did, other = dataset(tag), dataset(tag, "RDO")
    await rucio.register("DISK-A", [file(did, 0, b"what Rucio has")])
    async with database.acquire() as conn, conn.transaction():
        number, _ = await put(conn, did, 1, "DISK-B")
        await put(conn, other, 1, "DISK-B")
    await due_now(database)
    assert await recording.step() == 1
    rows = await database.fetch("SELECT * FROM unrecorded")
    assert [(row["dataset_id"], row["attempts"]) for row in rows] == [(number, 1)]
    assert "is in Rucio with" in rows[0]["error"]
    assert await rucio.completeness(other) == {"DISK-B": (1, 1)}


async def test_one_recorder_works_at_a_time(
    database: Pool, client: Client, recording: Recorder, rucio: RucioCatalog, places: list[Storage], tag: str
) -> None:
    async with database.acquire() as conn, conn.transaction():
        for number in range(5):
            await put(conn, dataset(f"{tag}n{number}"), 1, "DISK-A")
    await due_now(database)
    done = await asyncio.gather(recording.step(), Recorder(database, client).step())
    assert sorted(done) == [0, 5]
    assert len(await rucio.find(f"*{tag}*")) == 5
