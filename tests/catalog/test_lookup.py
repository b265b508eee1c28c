"""What people ask the catalog."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prodchain.catalog import datasets, files, lookup, replicas
from prodchain.catalog.connection import Connection
from prodchain.catalog.errors import BadName
from prodchain.catalog.models import DatasetKind
from prodchain.catalog.names import Did

from .conftest import Run
from .material import EVNT, new_dataset, new_file, new_files, new_storages

# Counts of csc11 datasets of release v11004103 at BNL in 2006, from the seed's dataset browser.
STEPS = {"recon": 105, "evgen": 8, "digit": 6, "simul": 3}
FORMATS = {"AOD": 27, "log": 33, "ESD": 26, "CBNT": 26, "EVNT": 4, "HITS": 3, "RDO": 3}


async def names_of(conn: Connection, pattern: str, **options: object) -> list[str]:
    return [dataset.name for dataset in await lookup.find(conn, pattern, **options)]  # type: ignore[arg-type]


async def test_a_search_goes_over_all_scopes_unless_one_is_given(conn: Connection) -> None:
    mine = "user.ada.mc11.RDO"
    for name in ("mc11.1.a.digit.RDO.v1", "mc12.1.a.digit.RDO.v1", mine):
        await new_dataset(conn, name)
    await datasets.create(conn, Did("shared", "mc11.1.a.digit.RDO.v1"), DatasetKind.USER, "ada")
    assert len(await names_of(conn, "*RDO*")) == 4
    assert await names_of(conn, "mc11.*RDO*") == ["mc11.1.a.digit.RDO.v1"] * 2
    assert await names_of(conn, "mc1?:*RDO*") == ["mc11.1.a.digit.RDO.v1", "mc12.1.a.digit.RDO.v1"]
    assert await names_of(conn, "user.ada:*") == [mine]
    assert await names_of(conn, mine) == [mine]
    assert await names_of(conn, "mc1?.1.a.digit.RDO.v2") == []


async def test_an_underscore_means_itself(conn: Connection) -> None:
    await new_dataset(conn, "mc11.a_b")
    await new_dataset(conn, "mc11.axb")
    assert await names_of(conn, "mc11.a_*") == ["mc11.a_b"]
    assert await names_of(conn, "mc11.a?b") == ["mc11.a_b", "mc11.axb"]
    assert await names_of(conn, "mc11.a%") == await names_of(conn, "mc11.a\\_b") == []


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(known=st.sets(st.text("aZ_.-0", min_size=1, max_size=4), max_size=12), limit=st.integers(1, 5))
def test_pages_show_every_name_once_in_order(known: set[str], limit: int, run_on: Run) -> None:
    async def check(conn: Connection) -> None:
        expected = {Did(scope, f"x{name}") for name in known for scope in ("s", "t")}
        for did in expected:
            await datasets.create(conn, did, DatasetKind.USER, "ada")
        seen: list[Did] = []
        while page := await lookup.find(conn, "x*", limit=limit, after=seen[-1] if seen else None):
            assert len(page) <= limit
            seen += [Did(dataset.scope, dataset.name) for dataset in page]
        assert seen == sorted(expected, key=lambda did: (did.name, did.scope))

    run_on(check)


async def test_bookkeeping_is_hidden_unless_asked_for(conn: Connection) -> None:
    await new_dataset(conn, EVNT)
    dispatch = f"{EVNT}_dis1"
    await new_dataset(conn, dispatch, kind=DatasetKind.DISPATCH)
    assert await names_of(conn, "mc26*") == [EVNT]
    assert await names_of(conn, "mc26*", bookkeeping=True) == [EVNT, dispatch]
    assert await names_of(conn, "mc26*", kinds=[DatasetKind.DISPATCH]) == [dispatch]


async def test_facets_count_as_the_dataset_browser_of_2006_did(conn: Connection) -> None:
    steps = [step for step, count in STEPS.items() for _ in range(count)]
    formats = [format_ for format_, count in FORMATS.items() for _ in range(count)]
    for number, (step, format_) in enumerate(zip(steps, formats, strict=True), start=5001):
        await new_dataset(conn, f"csc11.{number:06d}.pythia.{step}.{format_}.v11004103")
    await new_dataset(conn, "csc11.006000.pythia.recon.AOD.v11000301")
    for field, counts in (("step", STEPS), ("format", FORMATS)):
        for value, count in counts.items():
            wanted = {field: value, "tags": "v11004103"}
            assert len(await lookup.find(conn, "csc11*", facets=wanted, limit=1000)) == count
    with pytest.raises(BadName, match="colour"):
        await lookup.find(conn, "*", facets={"colour": "red"})


async def test_files_are_listed_with_the_urls_of_their_copies(conn: Connection) -> None:
    here, there = await new_storages(conn, "file:/a", "memory://b/")
    ids = await new_files(conn, 3)
    dataset = await new_dataset(conn, file_ids=ids)
    await replicas.arrive(conn, here, ids[:2])
    await replicas.arrive(conn, there, ids[:1])
    first, second = await lookup.files(conn, dataset, limit=2)
    (third,) = await lookup.files(conn, dataset, after=second.id)
    path = "mc26_13p6TeV/" + first.replicas[0].url.partition("mc26_13p6TeV/")[2]
    assert [(r.storage, r.url) for r in first.replicas] == [
        ("DISK-A", f"file:/a/{path}"),
        ("DISK-B", f"memory://b/{path}"),
    ]
    assert first.guid == new_file(1).guid
    assert (third.bytes, third.events, third.replicas) == (3, 10, [])


async def test_a_subscription_without_files_is_no_copy(conn: Connection) -> None:
    (here,) = await new_storages(conn, "file:/a")
    dataset = await new_dataset(conn, file_ids=await files.register(conn, [new_file(1)]))
    await conn.execute("INSERT INTO dataset_replica (dataset_id, storage_id, files, bytes) VALUES ($1, $2, 0, 0)",
                       dataset, here)  # fmt: skip
    assert await lookup.replicas(conn, dataset) == []
