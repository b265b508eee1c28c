"""A dataset's story both ways, and the same as PROV that its own library reads."""

import json
from typing import Any

import pytest
from prov.model import ProvActivity, ProvDerivation, ProvDocument, ProvEntity, ProvUsage

from prodchain.broker import lineage, provenance
from prodchain.broker.database import Connection
from prodchain.catalog import containers, datasets
from prodchain.catalog.errors import DatasetNotFound
from prodchain.catalog.models import DatasetKind
from prodchain.catalog.names import parse_did

from .world import World, evgen, inside, sim

EVNT, HITS, AOD = "mc26.700001.Z.evgen.EVNT.v1", "mc26.700001.Z.simul.HITS.v1", "mc26.700001.Z.recon.AOD.v1"


@pytest.fixture
async def chain(world: World) -> World:
    """evgen, sim, reco; all done."""
    for request in (evgen(), sim(), sim(step="reco", input=HITS, output=AOD, seed=7)):
        await world.submit(request)
    await world.run_all()
    return world


async def ask(world: World, name: str, **how: int) -> dict[str, Any]:
    async def read(conn: Connection) -> dict[str, Any]:
        dataset = await datasets.get(conn, parse_did(name))
        return await lineage.lineage(conn, dataset.id or 0, **how)

    return await inside(world.pool, read)


async def test_a_dataset_is_followed_up_to_event_generation_and_down_to_what_was_made_of_it(chain: World) -> None:
    story = await ask(chain, HITS)
    assert [(each["did"], each["step"], each["events"]) for each in story["datasets"]] == [
        (f"mc26:{HITS}", 0, 100),
        (f"mc26:{EVNT}", -1, 100),
        (f"mc26:{AOD}", 1, 100),
    ]
    assert (story["did"], story["cut"]) == (f"mc26:{HITS}", False)
    first, second, third = story["tasks"]
    assert (first["step"], first["transformation"], first["input"], first["output"]) == (
        "evgen",
        "Gen_tf.py",
        None,
        f"mc26:{EVNT}",
    )
    seeds = await chain.fetch(
        "SELECT min((work ->> 'seed')::int) AS a, max((work ->> 'seed')::int) AS b FROM job"
        " GROUP BY task_id ORDER BY task_id"
    )
    assert [task["seeds"] for task in story["tasks"]] == [[row["a"], row["b"]] for row in seeds]
    assert (second["input"], third["input"], third["owner"]) == (f"mc26:{EVNT}", f"mc26:{HITS}", "ann")
    assert sum(first["jobs"].values()) == 4
    assert [each["made_by"] for each in story["datasets"]] == [second["id"], first["id"], third["id"]]


async def test_a_long_lineage_is_cut_and_says_so(chain: World, monkeypatch: pytest.MonkeyPatch) -> None:
    story = await ask(chain, AOD, up=1, down=0)
    assert ([each["did"] for each in story["datasets"]], story["cut"]) == ([f"mc26:{AOD}", f"mc26:{HITS}"], True)
    assert [task["step"] for task in story["tasks"]] == ["reco"]
    story = await ask(chain, AOD, up=2, down=0)
    assert (len(story["datasets"]), len(story["tasks"]), story["cut"]) == (3, 3, False)
    monkeypatch.setattr(lineage, "SIZE", 2)
    story = await ask(chain, EVNT)
    assert (len(story["datasets"]), story["cut"]) == (2, True)


async def test_versions_and_members_are_part_of_the_story(chain: World) -> None:
    async def change(conn: Connection) -> None:
        await datasets.new_version(conn, parse_did(AOD), "bob")
        box = await datasets.create(conn, parse_did("user.bob.box"), DatasetKind.CONTAINER, "bob")
        old = await datasets.get(conn, parse_did(AOD), 1)
        await containers.add(conn, box.id or 0, [old.id or 0])

    await inside(chain.pool, change)
    story = await ask(chain, AOD)
    assert [(each["did"], each["step"]) for each in story["datasets"]][:2] == [
        (f"mc26:{AOD}", 0),
        (f"mc26:{AOD}@1", -1),
    ]
    assert story["datasets"][0]["revises"] == [f"mc26:{AOD}@1"]
    story = await ask(chain, "user.bob.box")
    assert story["datasets"][0]["members"] == [f"mc26:{AOD}@1"]
    assert [each["step"] for each in story["datasets"]] == [0, -1, -2, -3]


async def test_the_export_is_read_back_by_the_library_with_nothing_lost(chain: World) -> None:
    story = await ask(chain, AOD)
    text = json.dumps(provenance.prov(story))
    read = ProvDocument.deserialize(content=text, format="json")
    entities = {str(each.identifier): each for each in read.get_records(ProvEntity)}
    assert set(entities) == {f"dataset:mc26:{name}" for name in (EVNT, HITS, AOD)}
    activities = list(read.get_records(ProvActivity))
    assert len(activities) == 3
    assert all(each.get_startTime() <= each.get_endTime() for each in activities)
    derived = {
        tuple(str(value) for _, value in each.formal_attributes[:2]) for each in read.get_records(ProvDerivation)
    }
    assert derived == {
        (f"dataset:mc26:{HITS}", f"dataset:mc26:{EVNT}"),
        (f"dataset:mc26:{AOD}", f"dataset:mc26:{HITS}"),
    }
    assert len(list(read.get_records(ProvUsage))) == 2
    (first,) = [each for each in activities if each.label == "evgen"]
    facts = {str(name): value for name, value in first.attributes}
    assert (facts["prodchain:first_seed"], facts["prodchain:last_seed"]) == tuple(story["tasks"][0]["seeds"])
    assert json.loads(facts["prodchain:command"]) == story["tasks"][0]["command"]


async def test_an_unknown_dataset_has_no_story(world: World) -> None:
    async def read(conn: Connection) -> object:
        return await lineage.lineage(conn, 12345)

    with pytest.raises(DatasetNotFound):
        await inside(world.pool, read)
