"""Each version of a name is a dataset of its own; the name means the latest."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prodchain.catalog import datasets, diffs, lookup, recount, replicas
from prodchain.catalog.connection import Connection, Pool
from prodchain.catalog.errors import DatasetClosed, DatasetConflict, DatasetNotFound
from prodchain.catalog.models import Dataset, DatasetKind
from prodchain.catalog.names import Did, parse_did

from .conftest import Run
from .material import EVNT, new_dataset, new_files, new_storages

DID = parse_did(EVNT)


async def test_a_new_version_begins_with_what_the_closed_one_has(conn: Connection) -> None:
    here, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 4)
    first = await new_dataset(conn, file_ids=ids[:3])
    await replicas.arrive(conn, here, ids[:2])
    with pytest.raises(DatasetConflict, match="is open"):
        await datasets.new_version(conn, DID, "ada")
    await datasets.close(conn, first)
    second = await datasets.new_version(conn, DID, "bob")
    assert (second.version, second.latest, second.state, second.owner) == (2, True, "open", "bob")
    assert (second.files, second.bytes, second.events, second.step) == (3, 6, 30, "evgen")
    assert await datasets.new_version(conn, DID, "ada") == second
    assert second.id is not None
    assert await datasets.add_files(conn, second.id, ids[2:]) == ids[3:]
    await replicas.arrive(conn, here, ids[2:])
    await replicas.arrive(conn, there, ids[3:])
    assert await datasets.get(conn, DID) == await datasets.get(conn, DID, 2)
    old = await datasets.get(conn, DID, 1)
    assert (old.latest, old.files, old.state) == (False, 3, "closed")
    assert [(copy.storage, copy.files, copy.complete) for copy in await lookup.replicas(conn, first)] == [
        ("DISK-A", 3, True)
    ]
    assert await recount.check(conn) == []
    with pytest.raises(DatasetClosed):
        await datasets.add_files(conn, first, ids)
    with pytest.raises(DatasetNotFound) as error:
        await datasets.get(conn, DID, 7)
    assert (error.value.object, error.value.hint) == (f"{DID}@7", "versions are 1, 2")
    assert await datasets.create(conn, DID, DatasetKind.PRODUCTION, "bob") == await datasets.get(conn, DID)


async def test_callers_at_the_same_time_make_one_new_version(database: Pool) -> None:
    async with database.acquire() as conn, conn.transaction():
        here, *_ = await new_storages(conn, "file:/a")
        ids = await new_files(conn, 30)
        await datasets.close(conn, await new_dataset(conn, file_ids=ids))

    async def make() -> Dataset:
        async with database.acquire() as conn, conn.transaction():
            return await datasets.new_version(conn, DID, "ada")

    async def arrive(part: list[int]) -> None:
        async with database.acquire() as conn, conn.transaction():
            await replicas.arrive(conn, here, part)

    arrivals = asyncio.gather(*(arrive(ids[n : n + 5]) for n in range(0, 30, 5)))
    made = await asyncio.gather(*(make() for _ in range(4)))
    await arrivals
    assert {dataset.version for dataset in made} == {2}
    async with database.acquire() as conn:
        assert [dataset.version for dataset in await datasets.versions(conn, DID)] == [1, 2]
        assert await recount.check(conn) == []
        rows = await conn.fetch("SELECT files FROM dataset_replica")
        assert [row["files"] for row in rows] == [30, 30]


async def test_what_changed_between_versions_is_told_with_names_and_sizes(conn: Connection) -> None:
    ids = await new_files(conn, 6)
    first = await new_dataset(conn, file_ids=ids[:4])
    other = await new_dataset(conn, "user.ada.other", ids[2:])
    assert await diffs.diff(conn, first, other) == diffs.Diff(diffs.Amount(2, 11), diffs.Amount(2, 3))
    changes = await diffs.changes(conn, first, other)
    assert [(change.bytes, change.added) for change in changes] == [(1, False), (2, False), (5, True), (6, True)]
    assert changes[0].did.name == f"{EVNT}._000001.root.1"
    assert await diffs.changes(conn, first, other, limit=2, after=changes[1].id) == changes[2:]
    box = await new_dataset(conn, "user.ada.box", kind=DatasetKind.CONTAINER)
    await conn.execute("INSERT INTO dataset_child VALUES ($1, $2), ($1, $3)", box, first, other)
    assert (await diffs.diff(conn, first, box)).added == diffs.Amount(2, 11)


steps = st.lists(
    st.tuples(st.sampled_from(["add", "close", "version", "diff"]), st.integers(0, 7), st.integers(1, 5)), max_size=25
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=steps)
def test_versions_never_change_once_closed_and_differ_as_sets_do(
    run_on: Run, changes: list[tuple[str, int, int]]
) -> None:
    async def check(conn: Connection) -> None:
        ids = await new_files(conn, 8)
        await new_dataset(conn)
        model: list[set[int]] = [set()]
        is_open = True
        for what, number, version in changes:
            latest = await datasets.get(conn, Did(*DID))
            assert latest.id is not None
            assert (latest.version, latest.files, latest.state == "open") == (len(model), len(model[-1]), is_open)
            if what == "add" and is_open:
                await datasets.add_files(conn, latest.id, [ids[number]])
                model[-1].add(ids[number])
            elif what == "close":
                await datasets.close(conn, latest.id)
                is_open = False
            elif what == "version" and (not is_open or len(model) > 1):
                await datasets.new_version(conn, DID, "ada")
                if not is_open:
                    model.append(set(model[-1]))
                is_open = True
            elif what == "diff" and version <= len(model):
                old = await datasets.get(conn, DID, version)
                assert old.id is not None
                told = await diffs.changes(conn, old.id, latest.id)
                assert {change.id for change in told if change.added} == model[-1] - model[version - 1]
                assert {change.id for change in told if not change.added} == model[version - 1] - model[-1]

    run_on(check)
