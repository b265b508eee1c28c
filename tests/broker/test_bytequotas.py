"""Quotas of bytes: a group's data is on the group's account, and what finds no room at its destination waits."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodchain.broker import bytequotas, incremental, throttling, why, workquotas
from prodchain.broker.errors import BadRequest, NotFound
from prodchain.broker.models import Task
from prodchain.catalog import deletion, purging, quotas, recount
from prodchain.catalog.names import file_name
from prodchain.catalog.quotas import QuotaUse

from .material import fill, reopen
from .test_merging import MERGE
from .world import World, evgen, finished, inside, sim

EVNT = "mc26.700001.Z.evgen.EVNT.v1"
HITS = "mc26.700001.Z.simul.HITS.v1"
SIZE = len(file_name(EVNT, 1, 1))
"""What an output of a pretended job has, in bytes."""
ON = "it goes on when something there is deleted or the limit is raised"


def use(used: int, limit: int, moving: int = 0) -> QuotaUse:
    return QuotaUse("group:higgs", "SITE-A-DISK", 1, limit, used, moving)


async def limit(world: World, account: str, storage: str, most: int) -> None:
    await inside(world.pool, quotas.set, account, await at(world, storage), most, "root")


async def at(world: World, storage: str) -> int:
    return int(await world.value("SELECT id FROM storage WHERE name = $1", storage))


async def used(world: World, account: str, storage: str) -> int:
    sums = "SELECT coalesce(sum(bytes), 0)::bigint FROM owner_use WHERE owner = $1 AND storage_id = $2"
    return int(await world.value(sums, account, await at(world, storage)))


async def throttled(world: World, task: Task) -> str:
    await inside(world.pool, throttling.throttle)
    return str(await world.value("SELECT throttled FROM task WHERE id = $1", task.id))


async def truth(world: World) -> None:
    assert await inside(world.pool, recount.check) == []


def test_the_sentence_says_whose_how_much_where_and_what_ends_it() -> None:
    gb = 10**9
    assert bytequotas.stop(use(498 * gb, 500 * gb), stopped=False) == ""
    assert bytequotas.stop(use(500 * gb, 500 * gb), stopped=False) == (
        "quota of group:higgs: 500.0 GB of 500.0 GB at SITE-A-DISK are used;"
        " it goes on when something there is deleted or the limit is raised"
    )
    assert "498.0 GB of 500.0 GB at SITE-A-DISK are used, 2.0 GB more are on their way; it" in bytequotas.stop(
        use(498 * gb, 500 * gb, 2 * gb), stopped=False
    )
    assert bytequotas.stop(use(0, 0), stopped=False)
    assert bytequotas.stop(use(451 * gb, 500 * gb), stopped=True)
    assert not bytequotas.stop(use(450 * gb, 500 * gb), stopped=True)


@given(st.integers(0, 10**13), st.integers(1, 10**13), st.integers(0, 10**12))
def test_what_a_remedy_names_is_enough_and_not_much_more(there: int, most: int, moving: int) -> None:
    full = use(there, most, moving)
    assert not bytequotas.stop(use(there, bytequotas.enough(full), moving), stopped=True)
    if bytequotas.stop(full, stopped=True):
        less = there + moving - bytequotas.too_much(full)
        assert not bytequotas.stop(use(less, most), stopped=True)
        assert bytequotas.stop(use(less + 1, most), stopped=True)


async def accounts(world: World) -> Mapping[str, str | None]:
    rows = await world.fetch("SELECT name || '@' || version AS name, charged FROM dataset")
    return {row["name"]: row["charged"] for row in rows}


async def test_what_a_group_makes_is_on_its_account_and_on_nobody_elses(world: World) -> None:
    log = {"outputs": {"log": "mc26.700001.Z.evgen.LOG.v1"}, "command": ["Gen_tf.py", "{output}", "{log}"]}
    await world.submit(evgen(group="higgs", **log))
    await world.submit(evgen(output="mc26.700002.Z.evgen.EVNT.v1"))
    await world.run_all()
    found = await accounts(world)
    assert (found[f"{EVNT}@1"], found["mc26.700002.Z.evgen.EVNT.v1@1"]) == ("group:higgs", None)
    ours = await world.value("SELECT sum(bytes)::bigint FROM dataset WHERE name LIKE '%700001%' AND kind <> 'sub'")
    assert ours > 4 * SIZE, "the logs count too"
    assert await used(world, "group:higgs", "A-DISK") == ours
    assert await used(world, "ann", "A-DISK") == 4 * SIZE
    await truth(world)


async def test_later_versions_stay_on_the_account(world: World) -> None:
    await fill(world, EVNT, [10])
    task = await world.submit(sim(group="higgs"))
    await world.run_all()
    await reopen(world, EVNT)
    await fill(world, EVNT, [10])
    await inside(world.pool, incremental.extend, task.id, "user:ann")
    await world.run_all()
    found = await accounts(world)
    assert (found[f"{HITS}@1"], found[f"{HITS}@2"], found[f"{EVNT}@2"]) == ("group:higgs", "group:higgs", None)
    assert await used(world, "group:higgs", "A-DISK") == 3 * len(file_name(HITS, 1, 1))
    await truth(world)


async def test_what_is_merged_for_a_group_is_on_its_account(world: World) -> None:
    await world.submit(evgen(group="higgs", merge=MERGE))
    await world.run_all()
    assert (await accounts(world))[f"{EVNT}@1"] == "group:higgs"
    merged = await world.value("SELECT bytes FROM dataset WHERE name = $1", EVNT)
    assert await used(world, "group:higgs", "A-DISK") == merged > 0
    assert await used(world, "ann", "A-DISK") == 0
    await truth(world)


@pytest.mark.parametrize("group", ["", "higgs"])
async def test_outputs_count_where_they_are_made_and_on_their_way_home(group: str, world: World) -> None:
    account = bytequotas.account_of("ann", group)
    await world.pool.execute("UPDATE queue SET status = 'offline' WHERE name = 'A-BATCH'")
    for storage in ("A-DISK", "B-DISK"):
        await limit(world, account, storage, 10**6)
    await world.submit(evgen(group=group))
    await world.agents()
    for _ in range(2):
        await world.run_one("B-BATCH")

    async def there() -> list[tuple[str, int, int]]:
        return [(each.storage, each.used, each.moving) for each in await inside(world.pool, quotas.of, account)]

    assert await there() == [("A-DISK", 0, 2 * SIZE), ("B-DISK", 2 * SIZE, 0)]
    await world.move()
    assert await there() == [("A-DISK", 2 * SIZE, 0), ("B-DISK", 2 * SIZE, 0)]
    await world.run_all()
    assert await there() == [("A-DISK", 4 * SIZE, 0), ("B-DISK", 4 * SIZE, 0)]
    await truth(world)


async def test_a_task_without_room_waits_goes_on_and_loses_nothing(world: World) -> None:
    await limit(world, "ann", "A-DISK", 2 * SIZE)
    task = await world.submit(evgen(max_attempts=1))
    await world.agents()
    specs = [await world.acquire("A-BATCH") for _ in range(2)]
    assert await throttled(world, task) == ""
    for spec in specs:
        assert spec is not None
        await world.report("A-BATCH", "p1", finished(spec))
    sentence = await throttled(world, task)
    assert sentence == f"quota of user:ann: {2 * SIZE} B of {2 * SIZE} B at A-DISK are used; {ON}"

    elsewhere = await world.submit(evgen(output="mc26.700002.Z.evgen.EVNT.v1", destination="B-DISK"))
    here = await world.submit(evgen(output="mc26.700003.Z.evgen.EVNT.v1"))
    assert await inside(world.pool, throttling.admit, elsewhere) == ""
    assert await inside(world.pool, throttling.admit, here) == sentence
    await world.run_all()
    assert await world.value("SELECT state FROM task WHERE id = $1", elsewhere.id) == "done"
    assert await world.value("SELECT count(*) FROM job WHERE task_id = $1", here.id) == 0
    assert await used(world, "ann", "A-DISK") > 2 * SIZE, "what had been placed ran, and was registered"

    answer = await inside(world.pool, why.task_why, here.id)
    assert answer["reasons"][0]["what"].endswith(ON)
    assert "of what user:ann has at A-DISK, or ask for a limit of" in answer["reasons"][0]["remedy"]
    most = bytequotas.enough((await inside(world.pool, quotas.of, "ann"))[0])
    await limit(world, "ann", "A-DISK", most - 1)
    assert await throttled(world, here), "it stays until use is well below the limit"
    await limit(world, "ann", "A-DISK", most)
    assert await throttled(world, here) == ""
    await limit(world, "ann", "A-DISK", 10**6)
    await world.run_all()
    assert [row["state"] for row in await world.fetch("SELECT state FROM task")] == ["done"] * 3
    told = await world.fetch("SELECT reason FROM event WHERE task_id = $1 AND actor = 'throttle'", here.id)
    assert [row["reason"][:5] for row in told] == ["quota", "there"]
    await truth(world)


async def test_deleting_makes_room(world: World) -> None:
    await world.submit(evgen(group="higgs"))
    await world.run_all()
    await limit(world, "group:higgs", "A-DISK", 4 * SIZE)
    task = await world.submit(evgen(group="higgs", output="mc26.700002.Z.evgen.EVNT.v1"))
    assert await throttled(world, task)
    answer = await inside(world.pool, why.task_why, task.id)
    [reason] = answer["reasons"]
    assert reason["what"] == f"quota of group:higgs: {4 * SIZE} B of {4 * SIZE} B at A-DISK are used; {ON}"
    assert reason["remedy"].startswith(
        f"delete {4 * SIZE - int(4 * SIZE * 0.9)} B of what group:higgs has at A-DISK, or"
    )
    assert "`prodchain ls --owner group:higgs --at A-DISK`" in reason["remedy"]
    first = await world.value("SELECT id FROM dataset WHERE name = $1", EVNT)
    await inside(world.pool, deletion.delete, first, "ann", timedelta())
    await inside(world.pool, purging.purge)
    [reason] = (await inside(world.pool, why.task_why, task.id))["reasons"]
    assert reason["remedy"] == "nothing to do: it goes on when there is room"
    assert await throttled(world, task) == ""
    assert "quota" not in str(await inside(world.pool, why.task_why, task.id))
    await truth(world)


async def test_quotas_of_work_and_of_bytes_stop_and_let_go_each_for_itself(world: World) -> None:
    task = await world.submit(evgen())
    await inside(world.pool, workquotas.set_limits, "user:ann", {"queued": 0}, "user:root")
    assert "jobs wait at queues" in await throttled(world, task)
    await limit(world, "ann", "A-DISK", 0)
    assert "0 B of 0 B" in await throttled(world, task)
    [reason] = (await inside(world.pool, why.task_why, task.id))["reasons"]
    assert (reason["who"], reason["remedy"]) == (
        "operator",
        "raise the limit of what user:ann has at A-DISK: `prodchain quota set ann A-DISK 1`",
    )
    await inside(world.pool, quotas.remove, "ann", await at(world, "A-DISK"), "root")
    assert "jobs wait at queues" in await throttled(world, task)
    await inside(world.pool, workquotas.set_limits, "user:ann", {"queued": None}, "user:root")
    assert await throttled(world, task) == ""
    told = await world.fetch("SELECT reason FROM event WHERE task_id = $1 AND actor = 'throttle'", task.id)
    assert len(told) == 4


async def test_an_account_is_a_user_or_a_group_that_there_is(world: World) -> None:
    async def named(text: str, *, limited: bool = True) -> Any:
        async with world.pool.acquire() as conn:
            return await bytequotas.account_named(conn, text, limited=limited)

    assert (await named("ann"), await named("user:ann")) == ("ann", "ann")
    for text in ("*", "user:*", "group:", "group:*", "user:"):
        with pytest.raises(BadRequest, match="no account"):
            await named(text)
    with pytest.raises(NotFound, match="there is no group higgs"):
        await named("group:higgs")
    assert await named("group:higgs", limited=False) == "group:higgs", "what it had is taken away"
    await world.pool.execute("INSERT INTO membership (group_name, user_name) VALUES ('higgs', 'ann')")
    assert await named("group:higgs") == "group:higgs"
    with pytest.raises(NotFound) as refused:
        await named("group:higs")
    assert refused.value.hint == "did you mean higgs?"
