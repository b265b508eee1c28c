"""Large datasets in slices: noted at once, done by and by, gone on with by whoever comes after one that died."""

from collections.abc import Sequence

import pytest

from prodchain.catalog import (
    datasets,
    deletion,
    diffs,
    hooks,
    queueing,
    recount,
    replicas,
    slices,
    subscriptions,
    transfers,
    withdrawals,
)
from prodchain.catalog.connection import Connection, Pool
from prodchain.catalog.errors import DatasetConflict, DatasetNeeded
from prodchain.catalog.names import parse_did

from .material import EVNT, new_dataset, new_files, new_storages

SLICE = 4


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is large in these tests."""
    monkeypatch.setattr(queueing, "LARGE", 10)
    monkeypatch.setattr(slices, "SLICE", SLICE)


@pytest.fixture(autouse=True)
def nobody_needs_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    async def needed(_: Connection, dataset_ids: Sequence[int]) -> dict[int, list[str]]:
        return {}

    monkeypatch.setattr(hooks, "needed", needed)


async def queued(conn: "Connection | Pool", storage: int) -> list[int]:
    rows = await conn.fetch(
        "SELECT file_id FROM transfer WHERE storage_id = $1 AND state = 'queued' ORDER BY file_id", storage
    )
    return [row["file_id"] for row in rows]


async def walk(conn: Connection) -> list[int]:
    """What each slice looked at, until there is nothing left to do."""
    looked = []
    while ids := await slices.wishes(conn):
        looked.append(await slices.advance(conn, ids[0]))
    return looked


async def test_a_wish_for_a_large_dataset_is_noted_at_once_and_queued_in_slices(conn: Connection) -> None:
    here, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 14)
    dataset = await new_dataset(conn, file_ids=ids[:12])
    await replicas.arrive(conn, here, ids)
    await replicas.arrive(conn, there, ids[:2])
    wish = await subscriptions.subscribe(conn, dataset, there, owner="ann", priority=7)
    assert (wish.state, await queued(conn, there)) == ("active", [])
    waits = await transfers.why(conn, dataset, there)
    assert {wait.words for wait in waits} == {"its turn to be queued comes soon: the dataset is large"}

    assert await slices.advance(conn, wish.id or 0) == SLICE
    assert await queued(conn, there) == ids[2:4], "two of the first four are there already"
    assert await subscriptions.subscribe(conn, dataset, there, owner="ann", priority=7) != wish  # the mark has moved
    await datasets.add_files(conn, dataset, ids[13:])
    assert await queued(conn, there) == [*ids[2:4], ids[13]], "what joins is queued at once"
    assert await walk(conn) == [4, 4, 1]
    assert await queued(conn, there) == [*ids[2:12], ids[13]]
    assert {tuple(r) for r in await conn.fetch("SELECT owner, priority FROM transfer WHERE file_id <= 12")} == {
        ("ann", 7)
    }
    await datasets.close(conn, dataset)
    await replicas.arrive(conn, there, ids)
    assert (await subscriptions.get(conn, dataset, there)).state == "done"


async def test_a_slice_whose_agent_dies_is_done_again_and_no_other(database: Pool) -> None:
    async with database.acquire() as conn, conn.transaction():
        here, there = await new_storages(conn, "file:/a", "file:/b")
        ids = await new_files(conn, 12)
        dataset = await new_dataset(conn, file_ids=ids)
        await replicas.arrive(conn, here, ids)
        wish = (await subscriptions.subscribe(conn, dataset, there)).id or 0
    async with database.acquire() as conn, conn.transaction():
        await slices.advance(conn, wish)
    dying = await database.acquire()
    await dying.transaction().start()
    assert await slices.advance(dying, wish) == SLICE
    dying.terminate()
    await database.release(dying)
    assert await queued(database, there) == ids[:4]
    async with database.acquire() as conn, conn.transaction():
        assert await walk(conn) == [4, 4, 0]
    assert await queued(database, there) == ids
    assert await database.fetchval("SELECT sum(files) FROM transfer_count WHERE storage_id = $1", there) == 12


async def test_a_large_wish_that_ends_takes_its_copies_back_in_slices_and_no_others(conn: Connection) -> None:
    here, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 12)
    large, part = await new_dataset(conn, file_ids=ids), await new_dataset(conn, "user.ada.part", ids[5:8])
    await replicas.arrive(conn, here, ids)
    await subscriptions.subscribe(conn, large, there)
    await walk(conn)
    await subscriptions.subscribe(conn, part, there)
    await replicas.arrive(conn, there, ids[:1])

    wish = await withdrawals.cancel(conn, large, there, "ann")
    assert (wish.state, await queued(conn, there)) == ("cancelled", ids[1:])
    assert await slices.advance(conn, wish.id or 0) == SLICE
    assert await queued(conn, there) == ids[4:]
    assert await walk(conn) == [4, 4, 0]
    assert await queued(conn, there) == ids[5:8]
    assert await conn.fetchval("SELECT tombstone_at <= now() FROM replica WHERE storage_id = $1", there)


async def test_a_wish_that_is_made_again_while_it_is_taken_back_is_queued_anew(conn: Connection) -> None:
    here, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 12)
    dataset = await new_dataset(conn, file_ids=ids)
    await replicas.arrive(conn, here, ids)
    await subscriptions.subscribe(conn, dataset, there)
    await walk(conn)
    wish = await withdrawals.cancel(conn, dataset, there)
    await slices.advance(conn, wish.id or 0)
    assert len(await queued(conn, there)) == 8
    await subscriptions.subscribe(conn, dataset, there)
    await walk(conn)
    assert await queued(conn, there) == ids


async def test_a_wish_for_what_is_there_now_does_not_end_before_all_its_files_are_on_its_list(
    conn: Connection, satisfied: list[str]
) -> None:
    here, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 13)
    dataset = await new_dataset(conn, file_ids=ids[:12])
    await replicas.arrive(conn, here, ids)
    wish = await subscriptions.subscribe(conn, dataset, there, standing=False)
    await slices.advance(conn, wish.id or 0)
    await replicas.arrive(conn, there, ids[:4])
    assert (await subscriptions.get(conn, dataset, there)).state == "active", "eight files are not queued yet"
    assert await walk(conn) == [4, 4, 0]
    await datasets.add_files(conn, dataset, ids[12:])
    assert await queued(conn, there) == ids[4:12], "what joins later is not wished for"
    await replicas.arrive(conn, there, ids[4:11])
    assert (await subscriptions.get(conn, dataset, there)).state == "active"
    await replicas.arrive(conn, there, ids[11:12])
    assert (await subscriptions.get(conn, dataset, there)).state == "done"
    assert await recount.check(conn) == [] and satisfied == []


async def test_a_new_version_of_a_large_dataset_fills_in_slices_and_is_not_closed_before(conn: Connection) -> None:
    (here,) = await new_storages(conn, "file:/a")
    ids = await new_files(conn, 13)
    old = await new_dataset(conn, file_ids=ids[:12])
    await replicas.arrive(conn, here, ids[:12])
    await datasets.close(conn, old)
    new = await datasets.new_version(conn, parse_did(EVNT), "ada")
    assert new.id is not None and (new.files, new.state, new.latest) == (0, "open", True)
    assert await slices.versions(conn) == [new.id]
    await datasets.add_files(conn, new.id, ids[11:])  # a member of the old one, and a new file
    assert await slices.fill(conn, new.id) == SLICE
    with pytest.raises(DatasetConflict, match="6 files so far: the 12 of version 1 are still joining it"):
        await datasets.close(conn, new.id)
    with pytest.raises(DatasetNeeded, match="version 2, into which its files are still being taken over"):
        await deletion.delete(conn, old, "ada")
    assert (await datasets.new_version(conn, parse_did(EVNT), "ada")).id == new.id
    assert [await slices.fill(conn, new.id) for _ in range(3)] == [4, 4, 0]
    assert await slices.versions(conn) == []
    await datasets.close(conn, new.id)
    difference = await diffs.diff(conn, old, new.id)
    assert (difference.added.files, difference.removed.files) == (1, 0)
    assert await recount.check(conn) == []
    await deletion.delete(conn, old, "ada")
