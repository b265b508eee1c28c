"""Counts beside a list: as the browser of 2006 had them, and of more than can be counted."""

import pytest

from prodchain.catalog import facets, lookup
from prodchain.catalog.connection import Connection
from prodchain.catalog.query import Query

from .material import new_dataset

# Counts of csc11 datasets of release v11004103 at BNL in 2006, from the seed's dataset browser.
STEPS = {"recon": 105, "evgen": 8, "digit": 6, "simul": 3}
FORMATS = {"AOD": 27, "log": 33, "ESD": 26, "CBNT": 26, "EVNT": 4, "HITS": 3, "RDO": 3}


async def browser_of_2006(conn: Connection) -> None:
    steps = [step for step, count in STEPS.items() for _ in range(count)]
    formats = [format_ for format_, count in FORMATS.items() for _ in range(count)]
    for number, (step, format_) in enumerate(zip(steps, formats, strict=True), start=5001):
        await new_dataset(conn, f"csc11.{number:06d}.pythia.{step}.{format_}.v11004103")
    await new_dataset(conn, "csc11.006000.pythia.recon.AOD.v11000301")
    await new_dataset(conn, "mc11.006000.pythia.recon.AOD.v11004103")


async def test_facets_count_as_the_dataset_browser_of_2006_did(conn: Connection) -> None:
    await browser_of_2006(conn)
    counts = await lookup.facet_counts(conn, Query("csc11*", facets={"tags": "v11004103"}))
    assert (counts.datasets, counts.exact) == (122, True)
    assert counts.fields["step"] == STEPS
    assert counts.fields["format"] == FORMATS
    assert counts.fields["tags"] == {"v11004103": 122, "v11000301": 1}
    for field, values in (("step", STEPS), ("format", FORMATS)):
        for value, count in values.items():
            wanted = Query("csc11*", facets={field: value, "tags": "v11004103"}, limit=1000)
            assert len((await lookup.find(conn, wanted)).rows) == count


async def test_a_field_is_counted_as_if_nothing_were_asked_of_it(conn: Connection) -> None:
    await browser_of_2006(conn)
    wanted = {"project": "csc11", "tags": "v11004103", "format": "AOD", "step": "recon"}
    counts = await lookup.facet_counts(conn, Query(facets=wanted))
    assert counts.datasets == 27
    assert counts.fields["format"] == {"log": 33, "AOD": 27, "ESD": 26, "CBNT": 19}
    assert counts.fields["project"] == {"csc11": 27, "mc11": 1}
    assert counts.fields["number"]["005001"] == 1


async def test_of_too_many_datasets_a_sample_is_counted(conn: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    await browser_of_2006(conn)
    monkeypatch.setattr(facets, "EXACT_MOST", 20)
    counts = await lookup.facet_counts(conn, Query(facets={"step": "recon"}))
    assert not counts.exact
    assert counts.datasets == 107  # a table of so few pages is its own sample
    assert (await lookup.facet_counts(conn, Query("*.evgen.*"))).exact
