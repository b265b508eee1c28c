"""Quotas of work: who is over one waits with a sentence, and goes on by himself."""

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodchain.broker import throttling, workquotas
from prodchain.broker.errors import BadRequest, NotFound
from prodchain.broker.models import Task
from prodchain.broker.workquotas import Limits, Use, stop
from prodchain.pilot_agent.messages import JobSpec

from .test_orders import entries, give
from .world import World, evgen, finished, inside

TODAY = date(2026, 11, 22)
ROOT = "user:root"


def test_a_sentence_says_whose_limit_how_much_is_used_and_when_it_goes_on() -> None:
    cores = stop(Limits("user:ann", running=4), Use(cores=4, job_core_s=2400.0), TODAY, stopped=False)
    assert cores == ("quota of user:ann: 4 of 4 cores are in use; it goes on as its jobs end, one about every 10 min")
    queued = stop(Limits("group:higgs", queued=10), Use(queued=12), TODAY, stopped=False)
    assert queued == "quota of group:higgs: 12 of 10 jobs wait at queues; it goes on as pilots take them"
    use = Use(days={TODAY - timedelta(days=6): 3600 * 60, TODAY: 3600 * 50})
    hours = stop(Limits("user:ann", core_hours=100, days=7), use, TODAY, stopped=False)
    assert hours == ("quota of user:ann: 110 of 100 core hours in 7 days are used; it goes on on 2026-11-23 (UTC)")
    assert stop(Limits("user:ann", 5, 5, 120, 7), use, TODAY, stopped=False) == ""


@given(
    limit=st.integers(0, 50),
    use=st.lists(st.integers(0, 60), min_size=1),
    what=st.sampled_from(["running", "queued"]),
)
def test_who_was_stopped_goes_on_well_below_the_limit_and_not_before(limit: int, use: list[int], what: str) -> None:
    limits = Limits("user:ann", **{what: limit})
    stopped = False
    for used in use:
        now = bool(stop(limits, Use(cores=used, queued=used), TODAY, stopped=stopped))
        if used >= limit:
            assert now
        elif used <= limit * workquotas.GO_ON:
            assert not now
        else:
            assert now is stopped  # between the two nothing changes
        stopped = now


@given(
    limit=st.integers(1, 20),
    days=st.integers(1, 10),
    used=st.lists(st.integers(0, 15), min_size=10, max_size=10),
)
def test_the_day_that_is_told_is_the_first_on_which_work_goes_on(limit: int, days: int, used: list[int]) -> None:
    limits = Limits("user:ann", core_hours=limit, days=days)
    use = Use(days={TODAY - timedelta(days=back): hours * 3600 for back, hours in enumerate(used)})
    sentence = stop(limits, use, TODAY, stopped=False)
    day = TODAY
    while stop(limits, use, day, stopped=True):
        day += timedelta(days=1)
    assert (f"it goes on on {day} (UTC)" in sentence) is bool(sentence)


async def quota(world: World, subject: str, **limits: Any) -> Any:
    return await give(world, workquotas.set_limits, subject, limits, ROOT)


async def with_group(world: World) -> None:
    await world.pool.execute("INSERT INTO membership (group_name, user_name) VALUES ('higgs', 'ann')")


async def throttled(world: World, task: Task) -> str:
    await inside(world.pool, throttling.throttle)
    return str(await world.value("SELECT throttled FROM task WHERE id = $1", task.id))


async def test_the_limit_of_each_user_does_not_stop_what_tries_queues_out(world: World) -> None:
    await quota(world, "user:*", running=0)
    assert await inside(world.pool, workquotas.room, "ann", "") == 0
    assert await inside(world.pool, workquotas.room, workquotas.SYSTEM, "") is None


async def test_who_is_over_the_limit_goes_on_by_himself_as_his_jobs_end(world: World) -> None:
    await quota(world, "user:*", running=2)
    task = await world.submit(evgen())
    most = 0
    specs: list[tuple[str, JobSpec]] = []
    for _ in range(20):
        sentence = await throttled(world, task)
        await world.agents()
        use = await inside(world.pool, workquotas.use_of, "user:ann", 1)
        most = max(most, use.cores)
        assert bool(sentence) == (use.cores >= 2) or not sentence
        for queue in ("A-BATCH", "B-BATCH"):
            while (spec := await world.acquire(queue)) is not None:
                specs.append((queue, spec))
        if specs:
            queue, spec = specs.pop(0)
            await world.report(queue, "p1", finished(spec))
        await world.move()
    assert most == 2
    assert await world.value("SELECT state FROM task WHERE id = $1", task.id) == "done"
    assert await world.value("SELECT events FROM dataset WHERE id = $1", task.output_id) == 100


async def test_a_group_has_an_account_of_its_own(world: World) -> None:
    await quota(world, "user:ann", running=1)
    await with_group(world)
    await quota(world, "group:higgs", running=1000)
    mine = await world.submit(evgen())
    ours = await world.submit(evgen(group="higgs", output="mc26.700002.Z.evgen.EVNT.v1"))
    await world.agents()
    assert await throttled(world, mine) == "quota of user:ann: 1 of 1 cores are in use; it goes on as its jobs end"
    assert await throttled(world, ours) == ""
    counted = await inside(world.pool, workquotas.use_of, "group:higgs", 30)
    assert counted.cores == 4
    assert (await inside(world.pool, workquotas.notice, "ann", "")).startswith("quota of user:ann: 1 of 1")
    assert await inside(world.pool, workquotas.room, "ann", "") == 0
    assert await inside(world.pool, workquotas.room, "ann", "higgs") == 996
    assert await inside(world.pool, workquotas.room, "bob", "") is None


async def test_core_hours_are_those_of_runs_that_ended(world: World) -> None:
    await quota(world, "user:ann", core_hours=1, days=7)
    task = await world.submit(evgen())
    await world.agents()
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    await world.pool.execute("UPDATE job SET started_at = now() - interval '2 h' WHERE id = $1", spec.job)
    assert await throttled(world, task) == ""
    await world.report("A-BATCH", "p1", finished(spec))
    assert "2 of 1 core hours in 7 days are used" in await throttled(world, task)
    await quota(world, "user:ann", core_hours=None)  # without any limit there is no quota
    assert await world.value("SELECT count(*) FROM work_quota") == 0
    assert await throttled(world, task) == ""
    await world.run_all()
    assert await world.value("SELECT state FROM task WHERE id = $1", task.id) == "done"


async def test_a_new_task_of_who_is_over_the_limit_waits_from_the_start(world: World) -> None:
    await quota(world, "user:ann", running=0)
    task = await world.submit(evgen())
    sentence = await inside(world.pool, throttling.admit, task)
    assert sentence == "quota of user:ann: 0 of 0 cores are in use; it goes on as its jobs end"
    await world.agents()
    assert await world.states(task) == []
    await quota(world, "user:ann", running=4)
    assert await throttled(world, task) == ""
    await world.run_all()
    assert await world.value("SELECT state FROM task WHERE id = $1", task.id) == "done"


async def test_quotas_are_set_once_and_listed_with_their_use(world: World) -> None:
    await with_group(world)
    outcome = await quota(world, "group:higgs", running=500, core_hours=1e5)
    assert outcome.changes == {"running": [None, 500], "core_hours": [None, 1e5]}
    assert not (await quota(world, "group:higgs", running=500)).changed
    assert (await quota(world, "group:higgs", days=7)).changes == {"days": [30, 7]}
    await quota(world, "user:*", queued=1000)
    views, following = await inside(world.pool, workquotas.quotas)
    assert following is None
    assert [(view["subject"], view["running"], view["cores_used"]) for view in views] == [
        ("group:higgs", 500, 0),
        ("user:*", None, None),
    ]
    assert [each["object"] for each in await entries(world, verb="quota set")] == [
        "user:*",
        "group:higgs",
        "group:higgs",
    ]
    for subject in ("ann", "group:*", "user:", "site:A"):
        with pytest.raises(BadRequest, match="no account"):
            await quota(world, subject, running=1)
    with pytest.raises(NotFound, match="there is no group higs"):
        await quota(world, "group:higs", running=1)
