"""Datasets by pattern, fields and places: every way finds the same."""

import fnmatch
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prodchain.catalog import datasets, lookup, query, replicas, search
from prodchain.catalog.connection import Connection
from prodchain.catalog.errors import BadName, BadStorage
from prodchain.catalog.models import DatasetKind
from prodchain.catalog.names import Did
from prodchain.catalog.query import Query

from .conftest import Run
from .material import EVNT, new_dataset, new_files, new_storages


async def names_of(conn: Connection, pattern: str, **options: Any) -> list[str]:
    return [row.dataset.name for row in (await lookup.find(conn, Query(pattern, **options))).rows]


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
        for sort in ("name", "-created", "bytes"):
            seen: list[Did] = []
            after: str | None = None
            while True:
                page = await lookup.find(conn, Query("x*", limit=limit, sort=sort, after=after))
                assert len(page.rows) <= limit
                seen += [Did(row.dataset.scope, row.dataset.name) for row in page.rows]
                if (after := page.after) is None:
                    break
            assert sorted(seen) == sorted(expected)
            assert sort != "name" or seen == sorted(expected, key=lambda did: (did.name, did.scope))

    run_on(check)


async def test_bookkeeping_is_hidden_unless_asked_for(conn: Connection) -> None:
    await new_dataset(conn, EVNT)
    dispatch = f"{EVNT}_dis1"
    await new_dataset(conn, dispatch, kind=DatasetKind.DISPATCH)
    assert await names_of(conn, "mc26*") == [EVNT]
    assert await names_of(conn, "mc26*", bookkeeping=True) == [EVNT, dispatch]
    assert await names_of(conn, "mc26*", kinds=[DatasetKind.DISPATCH]) == [dispatch]


async def test_a_field_that_does_not_exist_is_refused(conn: Connection) -> None:
    with pytest.raises(BadName, match="colour"):
        Query(facets={"colour": "red"})
    with pytest.raises(BadName, match="sorted by 'weight'"):
        Query(sort="weight")
    with pytest.raises(BadName, match="NUL"):
        Query("a\0*")
    with pytest.raises(BadName, match="continues no list"):
        await lookup.find(conn, Query(sort="-bytes", after="x~y"))


async def test_places_owners_and_ages_narrow_a_list(conn: Connection) -> None:
    here, _ = await new_storages(conn, "file:/a", "memory://b/")
    first, second = await new_files(conn, 2)
    whole = await new_dataset(conn, "mc11.whole", [first])
    await new_dataset(conn, "mc11.part", [first, second])
    await new_dataset(conn, "mc11.empty")
    await datasets.create(conn, Did("mc11", "mc11.hers"), DatasetKind.USER, "eve")
    await replicas.arrive(conn, here, [first])
    await conn.execute("UPDATE dataset SET created_at = '2006-01-01Z' WHERE id = $1", whole)

    assert (
        await names_of(conn, "*", at="DISK-A")
        == await names_of(conn, "*", at="SITE-A")
        == ["mc11.part", "mc11.whole"]
    )
    assert await names_of(conn, "*", not_at="SITE-A") == ["mc11.empty", "mc11.hers"]
    assert await names_of(conn, "*", complete_at="DISK-A") == ["mc11.whole"]
    assert await names_of(conn, "*", at="SITE-B") == await names_of(conn, "*e*", at="SITE-B", sort="-bytes") == []
    hers = await datasets.get(conn, Did("mc11", "mc11.hers"))
    await datasets.charge(conn, hers, "group:higgs")
    assert await names_of(conn, "*", owner="group:higgs") == ["mc11.hers"]
    assert await names_of(conn, "mc11*", owner="group:higgs", sort="-bytes") == ["mc11.hers"]
    assert await names_of(conn, "mc11*", owner="eve") == await names_of(conn, "*", owner="eve", sort="name")
    assert await names_of(conn, "*", since=datetime(2006, 1, 2, tzinfo=UTC), owner="ada") == [
        "mc11.empty",
        "mc11.part",
    ]
    assert await names_of(conn, "*", sort="-bytes", owner="ada") == ["mc11.part", "mc11.whole", "mc11.empty"]
    assert (await names_of(conn, "*", sort="created"))[0] == "mc11.whole"
    rows = (await lookup.find(conn, Query("mc11.*"))).rows
    assert {row.dataset.name: row.sites for row in rows} == {
        "mc11.empty": [], "mc11.hers": [], "mc11.part": ["SITE-A"], "mc11.whole": ["SITE-A"]
    }  # fmt: skip
    with pytest.raises(BadStorage, match="'BNL'"):
        await names_of(conn, "*", at="BNL")


async def test_versions_and_the_deleted_are_shown_when_asked_for(conn: Connection) -> None:
    old = await new_dataset(conn, "mc11.a")
    await new_dataset(conn, "mc11.b")
    await conn.execute("UPDATE dataset SET latest = false WHERE id = $1", old)
    await conn.execute("INSERT INTO dataset (scope, name, version) VALUES ('mc11', 'mc11.a', 2)")
    await conn.execute("UPDATE dataset SET deleted_at = now() WHERE name = 'mc11.b'")
    assert await names_of(conn, "mc11.*") == ["mc11.a"]
    assert await names_of(conn, "mc11.*", deleted=True) == ["mc11.a", "mc11.b"]
    assert await names_of(conn, "mc11.*", versions=True) == ["mc11.a", "mc11.a"]
    page = await lookup.find(conn, Query("mc11.*", versions=True, limit=1))
    (rest,) = (await lookup.find(conn, Query("mc11.*", versions=True, after=page.after))).rows
    assert (page.rows[0].dataset.version, rest.dataset.version) == (1, 2)


PIECES = ("mc11", "csc11", "recon", "digit", "RDO", "AOD", "tid0999", "tid0998", "Z_ee", "Zmm")
asked = st.builds(
    Query,
    pattern=st.lists(st.sampled_from((*PIECES, "*", "*", "?", ".", "m", "cs")), max_size=4).map("".join),
    bookkeeping=st.booleans(),
    owner=st.sampled_from((None, None, "ada", "eve")),
    facets=st.dictionaries(st.sampled_from(("project", "step", "format")), st.sampled_from(PIECES), max_size=2),
    since=st.sampled_from((None, datetime(2020, 1, 10, tzinfo=UTC))),
    sort=st.sampled_from(("name", "-bytes", "created")),
    limit=st.integers(1, 40),
)


async def fill(conn: Connection) -> list[Mapping[str, Any]]:
    """Every combination of some fields; each third one is the system's own."""
    rows: list[dict[str, Any]] = [
        {
            "name": f"{project}.005001.{physics}.{step}.{format_}.v1_{tags}",
            "project": project,
            "step": step,
            "format": format_,
        }
        for project, step, format_, tags, physics in product(*(PIECES[n : n + 2] for n in range(0, 10, 2)))
    ]
    for number, row in enumerate(rows):
        row |= {
            "kind": "sub" if number % 3 == 0 else "production",
            "bytes": number % 5,
            "owner": "eve" if number % 7 == 0 else "ada",
            "created_at": datetime(2020, 1, 1, tzinfo=UTC) + timedelta(number),
        }
    columns, places = ", ".join(rows[0]), ", ".join(f"${place + 1}" for place in range(len(rows[0])))
    statement = f"INSERT INTO dataset (scope, {columns}) VALUES ('all', {places})"
    await conn.executemany(statement, [tuple(row.values()) for row in rows])
    return rows


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wanted=asked, turns=st.sampled_from((((1, 0), (3, 2), (5, 100)), ((2, 1000),), ())))
def test_every_way_finds_what_reading_all_rows_finds(wanted: Query, turns: Any, run_on: Run) -> None:
    async def check(conn: Connection) -> None:
        expected = {
            row["name"]
            for row in await fill(conn)
            if fnmatch.fnmatchcase(row["name"], wanted.pattern)
            and (wanted.bookkeeping or row["kind"] != "sub")
            and wanted.owner in (None, row["owner"])
            and all(row[field] == value for field, value in wanted.facets.items())
            and (wanted.since is None or row["created_at"] >= wanted.since)
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(search, "TURNS", turns)
            page = await lookup.find(conn, wanted)
            seen = [row.dataset.name for row in page.rows]
            while page.after is not None:
                page = await lookup.find(conn, replace(wanted, after=page.after))
                seen += [row.dataset.name for row in page.rows]
        assert sorted(seen) == sorted(expected)
        assert wanted.sort != "name" or seen == sorted(expected)
        assert (await lookup.facet_counts(conn, wanted)).datasets == len(expected)

    run_on(check)


@given(st.text("abZ.:_-19", min_size=0, max_size=12))
def test_the_database_packs_the_same_runs_of_characters(text: str) -> None:
    assert query.grams(text) == [
        ord(a) << 16 | ord(b) << 8 | ord(c) for a, b, c in zip(text, text[1:], text[2:], strict=False)
    ]


async def test_a_part_of_a_name_is_looked_up_in_the_index(conn: Connection) -> None:
    await new_dataset(conn, "user.ada.mc11.v1")
    grams = query.grams("user.ada:user.ada.mc11.v1")
    assert await conn.fetchval("SELECT name_grams('user.ada', 'user.ada.mc11.v1')") == grams
    assert query.parts(Query("user.a*:*c11?v1")) == ["user.a", "c11"]
    assert await conn.fetchval("SELECT dataset_with_grams($1, 1)", grams[-2:]) is not None
    assert await conn.fetchval("SELECT dataset_with_grams($1, 1)", query.grams("v2.")) is None
