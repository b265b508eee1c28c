"""Shares in the database: which one a task gets, who may change them, and what that moves."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from prodchain.broker import groups, share_views, sharefile, shares, watching
from prodchain.broker.errors import Forbidden, NotFound
from prodchain.broker.models import TokenKind
from prodchain.broker.tokens import Caller

from .test_sharefile import TREE
from .world import World, evgen, inside

ADMIN = "user:root"


async def applied(world: World, text: str = TREE) -> dict[str, list[Any]]:
    outcome = await inside(world.pool, shares.apply, sharefile.parse(text), ADMIN)
    return dict(outcome.changes)


async def listed(world: World) -> dict[str, dict[str, Any]]:
    return {share["name"]: share for share in await inside(world.pool, share_views.listing)}


async def share_of(world: World, **request: Any) -> str:
    task = await world.submit(evgen(**request))
    return str(await world.value("SELECT name FROM share WHERE id = $1", task.share_id))


async def test_a_task_gets_its_share_when_it_is_submitted_and_so_do_its_jobs(world: World) -> None:
    assert await share_of(world, activity="analysis") == "analysis"
    await applied(world)
    assert await share_of(world, output="mc26.700002.Z.evgen.EVNT.v1", group="higgs-bb") == "higgs"
    await world.agents()
    rows = await world.fetch("SELECT DISTINCT s.name FROM job j JOIN share s ON s.id = j.share_id ORDER BY 1")
    assert [row["name"] for row in rows] == ["analysis", "higgs"]


async def test_apply_says_what_changes_once_and_keeps_what_is_not_named_as_retired(world: World) -> None:
    changes = await applied(world)
    assert changes["higgs.target_percent"] == [None, 70.0]
    assert changes["analysis.target_percent"] == [20.0, 30.0]
    assert await applied(world) == {}
    await applied(world, TREE.replace("[share.analysis]", "[share.users]"))
    assert await world.value("SELECT retired FROM share WHERE name = 'analysis'")
    assert set(await listed(world)) == {"production", "higgs", "users"}
    await applied(world)
    assert set(await listed(world)) == {"production", "higgs", "analysis"}
    assert await world.value("SELECT count(*) FROM journal WHERE verb = 'apply'") == 3


async def test_setting_a_value_tells_all_targets_that_move(world: World) -> None:
    outcome = await inside(world.pool, shares.set_value, "analysis", 80.0, ADMIN, "a conference")
    assert outcome.changes == {
        "production.target_percent": [80.0, 50.0],
        "analysis.target_percent": [20.0, 50.0],
        "analysis.value": [20.0, 80.0],
    }
    [entry] = await world.fetch("SELECT actor, verb, object, reason FROM journal")
    assert tuple(entry) == (ADMIN, "set", "share analysis", "a conference")
    again = await inside(world.pool, shares.set_value, "analysis", 80.0, ADMIN)
    assert not again.changed
    assert await world.value("SELECT count(*) FROM journal") == 1


async def test_leaders_set_values_below_the_share_of_their_group_and_no_others(world: World) -> None:
    below = '[share.bb]\nparent = "higgs"\nvalue = 1\n[share.gg]\nparent = "higgs"\nvalue = 1\n'
    await applied(world, TREE.replace('"higgs*"', '"higgs"') + below)
    await inside(world.pool, _leads, "ann")
    later = datetime.now(UTC) + timedelta(hours=1)
    ann, bob = (Caller(TokenKind.USER, name, None, later) for name in ("ann", "bob"))
    await inside(world.pool, shares.may_set, ann, "bb")
    await inside(world.pool, shares.may_set, Caller(TokenKind.ADMIN, "root", None, later), "production")
    for caller, name in ((ann, "higgs"), (ann, "analysis"), (bob, "bb")):
        with pytest.raises(Forbidden):
            await inside(world.pool, shares.may_set, caller, name)
    with pytest.raises(NotFound):
        await inside(world.pool, shares.may_set, ann, "top")


async def _leads(conn: Any, user: str) -> None:
    await groups.add(conn, "higgs", user, ADMIN, leader=True)


async def test_the_list_shows_what_is_used_waits_and_was_used_and_folding_changes_nothing_of_it(world: World) -> None:
    await applied(world)
    for number, group in enumerate(("higgs", "higgs", "top"), 1):
        await world.submit(evgen(output=f"mc26.70000{number}.Z.evgen.EVNT.v1", group=group))
    await world.agents()
    for queue in ("A-BATCH", "B-BATCH", "A-BATCH"):
        assert await world.run_one(queue) is not None
    await world.acquire("A-BATCH")
    await world.pool.execute("UPDATE job_move SET core_s = 1800 WHERE core_s IS NOT NULL")
    before = await listed(world)
    for _ in range(2):
        await inside(world.pool, watching.fold)
        assert await listed(world) == before
    assert await world.value("SELECT count(*) FROM job_move") == 0
    tops = [share for share in before.values() if share["parent"] is None]
    assert [sum(share[key] for share in tops) for key in ("waiting", "cores", "core_hours")] == [8, 1, 1.5]
    for key in ("cores", "waiting", "core_hours"):
        assert before["higgs"][key] == before["production"][key]
    assert (round(before["higgs"]["target"], 9), before["higgs"]["depth"]) == (0.7, 1)
