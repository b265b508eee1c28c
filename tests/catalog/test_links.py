"""What links carried, and how much more may go over them."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from prodchain.catalog import links, routing
from prodchain.catalog.connection import Connection
from prodchain.catalog.links import Capacity, LinkFacts
from prodchain.catalog.models import Storage, TransferPhase
from prodchain.catalog.routing import TRIES, Routes, Waiting

from .material import new_storages


async def test_facts_are_summed_over_hours(conn: Connection) -> None:
    a, b, c = await new_storages(conn, "file:/a", "file:/b", "file:/c")
    await conn.execute("INSERT INTO link VALUES ($1, $2, now() - interval '3 h', 7, 700, 7, 7)", a, b)
    await conn.execute(
        "INSERT INTO link VALUES ($1, $2, date_trunc('hour', now()) - interval '1 h', 1, 50, 1, 0)", a, b
    )
    for _ in range(2):
        await links.add(conn, (a, b), LinkFacts(2, 100, 0.5, 1))
    await links.add(conn, (a, c), LinkFacts(failures=3))
    facts = await links.facts(conn, datetime.now(UTC) - timedelta(hours=1))
    assert facts == {(a, b): LinkFacts(5, 250, 2.0, 2), (a, c): LinkFacts(failures=3)}
    assert (facts[a, b].rate, facts[a, c].rate) == (125.0, None)
    assert facts[a, c].success == 0.25


numbers = st.integers(1, 5)


@given(
    st.dictionaries(numbers, st.integers(0, 4), min_size=2),
    st.dictionaries(st.tuples(numbers, numbers), st.integers(0, 4)),
    st.lists(st.tuples(numbers, numbers).filter(lambda link: link[0] != link[1]), max_size=40),
)
def test_no_limit_is_ever_passed(
    storages: dict[int, int], limits: dict[tuple[int, int], int], wanted: list[tuple[int, int]]
) -> None:
    capacity = Capacity(dict(storages), dict(limits))
    begun = []
    for link in wanted:
        if capacity.room(link) > 0:
            capacity.take(link)
            begun.append(link)
    for storage in range(1, 6):
        assert sum(storage in link for link in begun) <= storages.get(storage, 0)
    for link, most in limits.items():
        assert begun.count(link) <= most


@given(
    st.sets(st.integers(2, 6)),
    st.sets(st.integers(2, 6)),
    st.lists(st.integers(2, 6), max_size=10),
    st.dictionaries(st.integers(2, 6), st.builds(LinkFacts, numbers, numbers, st.just(1.0), st.integers(0, 99))),
)
def test_every_transfer_gets_a_source_that_was_not_tried_twice_or_waits(
    copies: set[int], readable: set[int], tried: list[int], facts: dict[int, LinkFacts]
) -> None:
    storages = [
        Storage(id=n, name=f"D{n}", site="S", url="", kind="disk", readable=n in readable) for n in range(1, 7)
    ]
    routes = Routes(storages, {(source, 1): known for source, known in facts.items()})
    route = routes.choose(Waiting(1, 1, 10, None, tried, 0, False), sorted(copies))
    left = {source for source in copies & readable if tried.count(source) < TRIES}
    if left:
        assert route.source_id in left
        assert route.phase == TransferPhase.READY
        assert route.source_id in tried or not left & set(tried)
    else:
        assert (route.source_id, route.phase, route.over) == (None, TransferPhase.WAITING, True)
        assert 50 < route.wait_s < 70
        assert route.error or copies & readable


def test_waits_scatter_around_1_5_15_and_60_minutes() -> None:
    for rounds, expected in ((0, 60), (1, 300), (2, 900), (3, 3600), (99, 3600)):
        waits = {routing.wait_s(rounds) for _ in range(50)}
        assert len(waits) > 1
        assert all(0.9 * expected <= wait <= 1.1 * expected for wait in waits)
