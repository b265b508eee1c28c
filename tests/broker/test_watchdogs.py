"""Watchdogs and lost pilots: runs that do not get on end, once, and their work goes on."""

import asyncio

import pytest

from prodchain.broker import leases, watchdogs
from prodchain.broker.settings import Settings
from prodchain.broker.states import ON_PILOT
from prodchain.pilot_agent.messages import Update

from .world import World, evgen, inside


def test_each_part_of_the_way_with_a_pilot_has_a_watchdog_with_a_limit_of_its_own() -> None:
    assert [dog.state for dog in watchdogs.WATCHDOGS] == list(ON_PILOT)
    assert len({dog.setting for dog in watchdogs.WATCHDOGS}) == len({dog.name for dog in watchdogs.WATCHDOGS}) == 4
    assert all(dog.setting in Settings.model_fields for dog in watchdogs.WATCHDOGS)


@pytest.mark.parametrize("dog", watchdogs.WATCHDOGS, ids=lambda dog: dog.name)
async def test_a_run_that_does_not_get_on_ends_and_its_work_is_done_elsewhere(
    world: World, dog: watchdogs.Watchdog
) -> None:
    await world.submit(evgen(events=25, max_attempts=1, walltime_s=100))
    await world.agents()
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    if dog.state != "sent":
        await world.report("A-BATCH", "p1", Update(spec.job, dog.state))
    settings = Settings()
    limit = getattr(settings, dog.setting) + (100 if dog.extra else 0)

    async def look_after(seconds: float) -> int:
        await world.pool.execute(
            "UPDATE job SET changed_at = now() - make_interval(secs => $2) WHERE id = $1", spec.job, seconds
        )
        return await inside(world.pool, watchdogs.look, settings)

    assert await look_after(limit - 5) == 0
    assert await look_after(limit + 5) == 1
    assert await inside(world.pool, watchdogs.look, settings) == 0
    first = (await world.fetch("SELECT state, error, reason FROM job WHERE id = $1", spec.job))[0]
    assert first["state"] == "failed"
    assert f"(watchdog {dog.name})" in first["error"] and "p1" in first["error"]
    assert "rule lost-pilot; this run does not count" in first["reason"]
    assert await world.value("SELECT state FROM job WHERE attempt = 2") == "defined"
    assert await world.value("SELECT count(*) FROM event WHERE job_id = $1 AND state = 'failed'", spec.job) == 1


async def test_many_lost_pilots_are_reclaimed_in_one_go_and_each_job_once(world: World) -> None:
    await world.submit(evgen(events=500, events_per_job=25))
    await world.agents()
    given = [await world.acquire(queue, f"p{n}") for n in range(10) for queue in ("A-BATCH", "B-BATCH")]
    assert all(given)
    await world.pool.execute("UPDATE lease SET until = now() - interval '1 s'")
    both = await asyncio.gather(*(inside(world.pool, leases.reclaim) for _ in range(2)))
    assert sum(both) == 20
    assert await world.value("SELECT count(*) FROM job WHERE state = 'failed'") == 20
    assert await world.value("SELECT count(*) FROM job WHERE attempt = 2 AND state = 'defined'") == 20
