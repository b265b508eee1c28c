"""Datasets, their files and their counters."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from prodchain.catalog import datasets, files, hooks, lookup, replicas, subscriptions
from prodchain.catalog.connection import Connection, Pool
from prodchain.catalog.errors import BadName, DatasetClosed, DatasetConflict, DatasetNotFound, FileConflict
from prodchain.catalog.models import DatasetKind
from prodchain.catalog.names import Did, parse_did

from .material import EVNT, new_dataset, new_file, new_files, new_storages


async def test_creating_again_finds_the_same_dataset(conn: Connection) -> None:
    did = parse_did(EVNT)
    first = await datasets.create(conn, did, DatasetKind.PRODUCTION, "ada")
    again = await datasets.create(conn, did, DatasetKind.PRODUCTION, "ada")
    assert again == first == await datasets.get(conn, did)
    assert (first.project, first.step, first.format, first.tags) == ("mc26_13p6TeV", "evgen", "EVNT", "v1")
    assert (first.state, first.files, first.closed_at) == ("open", 0, None)


@pytest.mark.parametrize(("kind", "owner"), [(DatasetKind.LOG, "ada"), (DatasetKind.PRODUCTION, "bob")])
async def test_a_name_taken_by_another_kind_or_owner_is_refused(
    conn: Connection, kind: DatasetKind, owner: str
) -> None:
    await new_dataset(conn)
    with pytest.raises(DatasetConflict, match="production dataset of ada"):
        await datasets.create(conn, parse_did(EVNT), kind, owner)


async def test_a_bad_name_is_never_registered(conn: Connection) -> None:
    with pytest.raises(BadName):
        await datasets.create(conn, Did("mc11", "../../etc"), DatasetKind.USER, "ada")
    with pytest.raises(BadName):
        new_file(1, dataset="mc11/x")


async def test_files_registered_again_keep_their_ids_in_order(conn: Connection) -> None:
    first = await files.register(conn, [new_file(n) for n in (2, 1, 3)])
    again = await files.register(conn, [new_file(n) for n in (3, 1, 1, 2)])
    assert again == [first[2], first[1], first[1], first[0]]
    assert await files.register(conn, []) == []


async def test_other_content_under_a_known_name_is_refused(conn: Connection) -> None:
    await files.register(conn, [new_file(1, b"one")])
    with pytest.raises(FileConflict, match="3 bytes"):
        await files.register(conn, [new_file(1, b"two")])
    with pytest.raises(FileConflict):
        await files.register(conn, [new_file(2, b"one"), new_file(2, b"two")])


async def test_concurrent_registrations_agree_on_the_ids(database: Pool) -> None:
    async def register(order: list[int]) -> dict[int, int]:
        async with database.acquire() as conn, conn.transaction():
            ids = await files.register(conn, [new_file(n) for n in order])
            return dict(zip(order, ids, strict=True))

    forwards, *others = await asyncio.gather(*(register(list(range(1, 30))[::step]) for step in (1, -1, 1, -1)))
    assert all(other == forwards for other in others)


async def test_files_join_once_and_are_counted_once(conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, list[int]]] = []

    async def hook(_: Connection, grown: Mapping[int, Sequence[int]]) -> None:
        told.extend((dataset_id, sorted(file_ids)) for dataset_id, file_ids in grown.items())

    monkeypatch.setattr(hooks, "files_added", hook)
    ids = await new_files(conn, 3)
    dataset = await new_dataset(conn)
    assert await datasets.add_files(conn, dataset, ids[:2]) == ids[:2]
    assert await datasets.add_files(conn, dataset, ids) == ids[2:]
    assert await datasets.add_files(conn, dataset, ids) == []
    found = await datasets.get(conn, parse_did(EVNT))
    assert (found.files, found.bytes, found.events) == (3, 1 + 2 + 3, 30)
    assert told == [(dataset, ids[:2]), (dataset, ids[2:])]


async def test_a_closed_dataset_never_changes(conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []

    async def hook(_: Connection, dataset_id: int) -> None:
        told.append(dataset_id)

    monkeypatch.setattr(hooks, "closed", hook)
    ids = await new_files(conn, 2)
    dataset = await new_dataset(conn, file_ids=ids[:1])
    assert await datasets.close(conn, dataset) is True
    assert await datasets.close(conn, dataset) is False
    assert await datasets.add_files(conn, dataset, ids[:1]) == []
    with pytest.raises(DatasetClosed) as error:
        await datasets.add_files(conn, dataset, ids)
    assert error.value.object == f"mc26_13p6TeV:{EVNT}"
    assert told == [dataset]
    found = await datasets.get(conn, parse_did(EVNT))
    assert (found.files, found.state) == (1, "closed")
    assert found.closed_at is not None


async def test_a_missing_dataset_names_its_near_misses(conn: Connection) -> None:
    await new_dataset(conn, EVNT)
    await new_dataset(conn, f"{EVNT}_dis12", kind=DatasetKind.DISPATCH)
    for wrong in (EVNT.replace("Zmumu", "Zmumuu"), EVNT.replace("mc26", "mc25"), EVNT.upper(), EVNT + "1"):
        with pytest.raises(DatasetNotFound) as error:
            await datasets.get(conn, parse_did(wrong))
        assert error.value.hint == f"did you mean mc26_13p6TeV:{EVNT}?"
    with pytest.raises(DatasetNotFound) as error:
        await datasets.get(conn, parse_did("user.ada.thesis"))
    assert "pattern" in error.value.hint
    with pytest.raises(DatasetNotFound):
        await datasets.close(conn, 12345)


async def test_copies_are_counted_whatever_comes_first(conn: Connection) -> None:
    here, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 3)
    await replicas.arrive(conn, here, ids[:2])
    dataset = await new_dataset(conn, file_ids=ids[1:])
    await replicas.arrive(conn, here, ids)
    await replicas.arrive(conn, there, ids[:2])
    at_a, at_b = await lookup.replicas(conn, dataset)
    assert (at_a.storage, at_a.site, at_a.files, at_a.bytes, at_a.complete) == ("DISK-A", "SITE-A", 2, 5, True)
    assert (at_b.files, at_b.bytes, at_b.complete) == (1, 2, False)


async def test_the_same_arrival_reported_by_many_is_counted_once(database: Pool) -> None:
    """Joins, arrivals, a subscription and the closing race; counters must equal a recount in the end."""
    async with database.acquire() as conn:
        storages = await new_storages(conn, "file:/a", "file:/b")
        ids = await new_files(conn, 20)
        mine, other = await new_dataset(conn), await new_dataset(conn, "user.ada.other")
        await subscriptions.subscribe(conn, other, storages[1])

    async def arrive(storage: int, chosen: list[int]) -> None:
        async with database.acquire() as conn, conn.transaction():
            await replicas.arrive(conn, storage, chosen)
            await asyncio.sleep(0.005)

    async def join(dataset: int, chosen: list[int]) -> None:
        async with database.acquire() as conn, conn.transaction():
            await datasets.add_files(conn, dataset, chosen)
            await asyncio.sleep(0.005)

    async def subscribe_and_close(dataset: int) -> None:
        async with database.acquire() as conn, conn.transaction():
            await subscriptions.subscribe(conn, dataset, storages[0])
        async with database.acquire() as conn, conn.transaction():
            await datasets.add_files(conn, dataset, ids)
            await datasets.close(conn, dataset)

    await asyncio.gather(
        *(arrive(s, ids[n : n + 6][::-1]) for n in range(0, 20, 4) for s in storages for _ in range(2)),
        *(join(d, ids[n : n + 6]) for n in range(0, 15, 5) for d in (mine, other)),
        subscribe_and_close(mine),
        subscribe_and_close(other),
    )
    async with database.acquire() as conn:
        counted = await conn.fetch("SELECT dataset_id, storage_id, files, bytes FROM dataset_replica ORDER BY 1, 2")
        assert [tuple(row) for row in counted] == [(d, s, 20, 210) for d in (mine, other) for s in storages]
        assert await conn.fetchval("SELECT count(*) FROM transfer WHERE state <> 'done'") == 0
        assert await conn.fetch("SELECT DISTINCT state FROM subscription") == [("done",)]
        found = await datasets.get(conn, parse_did(EVNT))
        assert (found.files, found.bytes, found.events) == (20, 210, 200)
