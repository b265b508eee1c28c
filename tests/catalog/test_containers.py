"""Containers hold datasets and containers, never themselves."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prodchain.catalog import containers, datasets, history, replicas
from prodchain.catalog.connection import Connection, Pool
from prodchain.catalog.errors import ContainerCycle, DatasetClosed, DatasetConflict, DatasetNotFound
from prodchain.catalog.models import DatasetKind

from .conftest import Run
from .material import EVNT, new_dataset, new_files, new_storages


async def new_container(conn: Connection, name: str) -> int:
    return await new_dataset(conn, f"user.ada.{name}", kind=DatasetKind.CONTAINER)


async def test_a_container_counts_each_dataset_below_it_once(conn: Connection) -> None:
    here, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 5)
    one, two = await new_dataset(conn, "user.ada.one", ids[:2]), await new_dataset(conn, "user.ada.two", ids[2:])
    inner, outer = await new_container(conn, "inner"), await new_container(conn, "outer")
    assert await containers.add(conn, inner, [one, two], "ada") == [one, two]
    assert await containers.add(conn, outer, [inner, one, two]) == sorted([one, two, inner])
    assert await containers.add(conn, outer, [inner]) == []
    assert await containers.below(conn, outer) == [one, two] == await containers.below(conn, inner)
    assert await containers.below(conn, one) == [one]
    assert await containers.totals(conn, outer) == containers.Totals(2, 5, 15, 50)
    await replicas.arrive(conn, here, ids)
    await replicas.arrive(conn, there, ids[:2])
    at_a, at_b = await containers.completeness(conn, outer)
    assert (at_a.storage, at_a.datasets, at_a.files, at_a.complete) == ("DISK-A", 2, 5, True)
    assert (at_b.storage, at_b.datasets, at_b.files, at_b.complete) == ("DISK-B", 1, 2, False)
    assert [child.name for child in await containers.children(conn, outer, limit=2, after=one)] == [
        "user.ada.two",
        "user.ada.inner",
    ]
    assert [parent.name for parent in await containers.parents(conn, one)] == ["user.ada.inner", "user.ada.outer"]
    assert await containers.remove(conn, outer, [one, 12345]) == [one]
    event, _ = await history.of(conn, "user.ada:user.ada.inner")
    assert event.text == "it gets user.ada:user.ada.one, user.ada:user.ada.two"


async def test_a_container_never_comes_to_contain_itself(conn: Connection) -> None:
    a, b, c = [await new_container(conn, name) for name in "abc"]
    await containers.add(conn, a, [b])
    await containers.add(conn, b, [c])
    with pytest.raises(ContainerCycle, match=r"cannot be put into user.ada:user") as error:
        await containers.add(conn, c, [a])
    assert error.value.object == "user.ada:user.ada.c"
    with pytest.raises(ContainerCycle, match="that is itself"):
        await containers.add(conn, a, [a])


async def test_two_halves_of_a_cycle_added_at_the_same_time_are_refused(database: Pool) -> None:
    async with database.acquire() as conn:
        a, b = await new_container(conn, "a"), await new_container(conn, "b")

    async def put(child: int, parent: int) -> bool:
        async with database.acquire() as conn, conn.transaction():
            try:
                await containers.add(conn, parent, [child])
            except ContainerCycle:
                return False
            await asyncio.sleep(0.01)
            return True

    assert sorted(await asyncio.gather(put(a, b), put(b, a))) == [False, True]


async def test_a_closed_container_is_fixed_and_its_new_version_is_not(conn: Connection) -> None:
    one, two = await new_dataset(conn, "user.ada.one"), await new_dataset(conn, "user.ada.two")
    box = await new_container(conn, "box")
    await containers.add(conn, box, [one])
    assert await datasets.close(conn, box)
    for change in (containers.add(conn, box, [two]), containers.remove(conn, box, [one])):
        with pytest.raises(DatasetClosed, match="box is closed"):
            await change
    did = (await datasets.by_id(conn, box)).scope, "user.ada.box"
    new = await datasets.new_version(conn, datasets.Did(*did), "ada")
    assert new.id is not None
    assert await containers.add(conn, new.id, [two]) == [two]
    assert await containers.below(conn, new.id) == [one, two]
    assert await containers.below(conn, box) == [one]


async def test_what_cannot_be_in_a_container_is_said(conn: Connection) -> None:
    box, plain = await new_container(conn, "box"), await new_dataset(conn)
    dispatch = await new_dataset(conn, f"{EVNT}_dis1", kind=DatasetKind.DISPATCH)
    with pytest.raises(DatasetConflict, match="no container"):
        await containers.add(conn, plain, [box])
    with pytest.raises(DatasetConflict, match="dispatch dataset"):
        await containers.add(conn, box, [dispatch])
    with pytest.raises(DatasetNotFound):
        await containers.add(conn, box, [12345])
    with pytest.raises(DatasetConflict, match="is a container"):
        await datasets.add_files(conn, box, await new_files(conn, 1))


NODES = 6
edits = st.lists(
    st.tuples(st.booleans(), st.integers(0, NODES - 1), st.integers(0, 2 * NODES - 1)), min_size=5, max_size=30
)


def naive(edges: set[tuple[int, int]], start: int) -> set[int]:
    """Everything below a node, by walking."""
    seen, todo = set[int](), [start]
    while todo:
        node = todo.pop()
        if node not in seen:
            seen.add(node)
            todo += [child for parent, child in edges if parent == node]
    return seen


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=edits)
def test_any_edits_leave_no_cycle_and_true_totals(run_on: Run, changes: list[tuple[bool, int, int]]) -> None:
    async def check(conn: Connection) -> None:
        ids = await new_files(conn, NODES)
        nodes = [await new_container(conn, f"c{n}") for n in range(NODES)]
        nodes += [await new_dataset(conn, f"user.ada.d{n}", ids[: n + 1]) for n in range(NODES)]
        edges = set[tuple[int, int]]()
        for adds, parent, child in changes:
            if not adds:
                await containers.remove(conn, nodes[parent], [nodes[child]])
                edges.discard((parent, child))
            elif parent in naive(edges, child):
                with pytest.raises(ContainerCycle):
                    await containers.add(conn, nodes[parent], [nodes[child]])
            else:
                await containers.add(conn, nodes[parent], [nodes[child]])
                edges.add((parent, child))
        for node in range(NODES):
            leaves = {n for n in naive(edges, node) if n >= NODES}
            assert await containers.below(conn, nodes[node]) == sorted(nodes[n] for n in leaves)
            totals = await containers.totals(conn, nodes[node])
            sizes = [n - NODES + 1 for n in leaves]
            assert (totals.datasets, totals.files) == (len(leaves), sum(sizes))
            assert totals.bytes == sum(size * (size + 1) // 2 for size in sizes)

    run_on(check)
