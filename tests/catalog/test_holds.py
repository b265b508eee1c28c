"""Holds: nobody waits for ever, and nobody is released twice or early."""

import asyncio
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prodchain.catalog import holds, hooks, replicas
from prodchain.catalog.connection import Connection, Pool
from prodchain.catalog.errors import HookMissing
from prodchain.catalog.holds import NewHold

from .conftest import Run
from .material import holders_of, new_dataset, new_files, new_storages


async def test_the_last_arrival_tells_the_holder_once(conn: Connection, satisfied: list[str]) -> None:
    here, there = await new_storages(conn, "file:/a", "file:/b")
    files = await new_files(conn, 3)
    assert await holds.place(conn, "job:1", here, files) == 3
    await replicas.arrive(conn, here, files[:2])
    await replicas.arrive(conn, there, files)
    await replicas.arrive(conn, here, files[:2])
    assert satisfied == []
    await replicas.arrive(conn, here, files[2:])
    await replicas.arrive(conn, here, files)
    assert satisfied == ["job:1"]


async def test_a_hold_whose_files_are_there_is_satisfied_at_placing(conn: Connection, satisfied: list[str]) -> None:
    (here,) = await new_storages(conn, "file:/a")
    files = await new_files(conn, 2)
    await replicas.arrive(conn, here, files)
    assert await holds.place(conn, "job:1", here, files) == 0
    assert await holds.place(conn, "job:2", here, []) == 0
    assert satisfied == []


async def test_placing_again_changes_nothing(conn: Connection, satisfied: list[str]) -> None:
    (here,) = await new_storages(conn, "file:/a")
    files = await new_files(conn, 3)
    await holds.place(conn, "job:1", here, files)
    await replicas.arrive(conn, here, files[:1])
    assert await holds.place(conn, "job:1", here, files) == 2
    assert await holds.place(conn, "job:1", here, files[:1]) == 2
    await replicas.arrive(conn, here, files)
    assert await holds.place(conn, "job:1", here, files) == 0
    assert satisfied == ["job:1"]


async def test_a_file_named_twice_is_waited_for_once(conn: Connection, satisfied: list[str]) -> None:
    (here,) = await new_storages(conn, "file:/a")
    (file,) = await new_files(conn, 1)
    assert await holds.place(conn, "job:1", here, [file, file]) == 1
    await replicas.arrive(conn, here, [file, file])
    assert satisfied == ["job:1"]


async def test_who_needs_a_dataset_is_known_until_they_let_go(conn: Connection, satisfied: list[str]) -> None:
    (here,) = await new_storages(conn, "file:/a")
    files = await new_files(conn, 2)
    dataset = await new_dataset(conn, file_ids=files)
    wishes = [NewHold(f"job:{n}", here, files, dataset) for n in (1, 2)]
    assert await holds.place_many(conn, wishes) == {"job:1": 2, "job:2": 2}
    await replicas.arrive(conn, here, files)
    assert await holders_of(conn, dataset) == ["job:1", "job:2"]
    await holds.drop(conn, ["job:1", "unknown"])
    await holds.drop(conn, ["job:1"])
    assert await holders_of(conn, dataset) == ["job:2"]


async def test_who_let_go_is_not_told(conn: Connection, satisfied: list[str]) -> None:
    (here,) = await new_storages(conn, "file:/a")
    files = await new_files(conn, 2)
    await holds.place(conn, "job:1", here, files)
    await holds.drop(conn, ["job:1"])
    await replicas.arrive(conn, here, files)
    assert satisfied == []


async def test_a_process_without_hook_cannot_swallow_a_release(
    database: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with database.acquire() as conn:
        (here,) = await new_storages(conn, "file:/a")
        files = await new_files(conn, 1)
        await holds.place(conn, "job:1", here, files)
        monkeypatch.setattr(hooks, "satisfied", None)
        with pytest.raises(HookMissing):
            async with conn.transaction():
                await replicas.arrive(conn, here, files)
        assert await conn.fetchval("SELECT count(*) FROM replica") == 0
        assert await conn.fetchval("SELECT missing FROM hold") == 1


moves = st.lists(
    st.one_of(
        st.tuples(st.just("place"), st.integers(0, 3), st.sets(st.integers(0, 4), max_size=4)),
        st.tuples(st.just("arrive"), st.integers(0, 1), st.sets(st.integers(0, 4), min_size=1, max_size=3)),
        st.tuples(st.just("drop"), st.integers(0, 3), st.just(set())),
    ),
    max_size=14,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(schedule=moves)
def test_any_schedule_releases_exactly_who_has_all_files(
    schedule: list[tuple[str, int, set[int]]], run_on: Run
) -> None:
    """A model of sets beside the tables: same missing counts and same releases after every move."""

    async def check(conn: Connection) -> None:
        told: list[str] = []

        async def hook(_: Connection, holders: list[str]) -> None:
            told.extend(holders)

        hooks.satisfied = hook
        storages = await new_storages(conn, "file:/a", "file:/b")
        files = await new_files(conn, 5)
        there: set[tuple[int, int]] = set()
        waiting: dict[str, set[tuple[int, int]]] = {}
        released: list[str] = []
        for what, who, which in schedule:
            if what == "place":
                holder, storage = f"job:{who}", storages[who % 2]
                missing = await holds.place(conn, holder, storage, [files[n] for n in which])
                waiting.setdefault(holder, {(storage, n) for n in which} - there)
                assert missing == len(waiting[holder])
            elif what == "arrive":
                arrived = {(storages[who], n) for n in which} - there
                there |= arrived
                for holder, lacking in sorted(waiting.items()):
                    if lacking & arrived and not lacking - arrived:
                        released.append(holder)
                    lacking.difference_update(arrived)
                await replicas.arrive(conn, storages[who], [files[n] for n in which])
            else:
                await holds.drop(conn, [f"job:{who}"])
                waiting.pop(f"job:{who}", None)
            assert told == released

    run_on(check)


async def test_no_release_is_lost_or_doubled_among_concurrent_connections(
    database: Pool, satisfied: list[str]
) -> None:
    dice = random.Random(4)
    async with database.acquire() as conn:
        storages = await new_storages(conn, "file:/a", "file:/b")
        files = await new_files(conn, 12)
    zero_at_placing: list[str] = []

    async def place(number: int) -> None:
        await asyncio.sleep(dice.random() / 20)
        async with database.acquire() as conn, conn.transaction():
            wishes = [
                NewHold(f"job:{number}.{k}", storages[k % 2], dice.sample(files, dice.randint(1, 4)))
                for k in range(3)
            ]
            missing = await holds.place_many(conn, wishes)
            await asyncio.sleep(dice.random() / 50)
            zero_at_placing.extend(holder for holder, count in missing.items() if not count)

    async def arrive(storage: int) -> None:
        await asyncio.sleep(dice.random() / 20)
        async with database.acquire() as conn, conn.transaction():
            await replicas.arrive(conn, storage, dice.sample(files, 3))
            await asyncio.sleep(dice.random() / 50)

    await asyncio.gather(*(place(n) for n in range(25)), *(arrive(s) for _ in range(15) for s in storages))
    async with database.acquire() as conn:
        for storage in storages:
            await replicas.arrive(conn, storage, files)
        assert await conn.fetchval("SELECT count(*) FROM hold WHERE missing <> 0") == 0
        assert await conn.fetchval("SELECT count(*) FROM hold_file") == 0
    assert sorted(satisfied + zero_at_placing) == sorted(f"job:{n}.{k}" for n in range(25) for k in range(3))
