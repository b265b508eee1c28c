"""Scouts run first; what they measured sizes the other jobs, unless people said otherwise."""

from dataclasses import replace

import pytest

from prodchain.broker.models import Task
from prodchain.pilot_agent.messages import Update

from .material import fill
from .world import World, evgen, finished, sim

METRICS = {"wall_s": 100.0, "cpu_s": 90.0, "max_rss_mb": 1900.0, "scratch_mb": 300.0}


async def task_of(world: World, task: Task) -> dict[str, object]:
    return dict((await world.fetch("SELECT * FROM task WHERE id = $1", task.id))[0])


async def run_scouts(world: World, task: Task, *, failing: int = 0) -> None:
    """All of the task's jobs so far run; the first ones fail as often as they are tried."""
    made = "SELECT numbers FROM task WHERE id = $1"
    scouts = await world.value(made, task.id)
    busy = True
    while busy:
        busy = await world.move() > 0
        for queue in ("A-BATCH", "B-BATCH"):
            while spec := await world.acquire(queue):
                busy = True
                number, events = (await world.fetch("SELECT number, events FROM job WHERE id = $1", spec.job))[0]
                await world.report(queue, "p1", Update(spec.job, "running"))
                good = replace(finished(spec, events), metrics=METRICS)
                failed = Update(spec.job, "failed", exit_code=1, error="no such geometry", metrics=METRICS)
                await world.report(queue, "p1", failed if number <= failing else good)
        await world.agents()
        if scouts != await world.value(made, task.id):
            return


async def test_only_scouts_run_until_they_are_measured(world: World) -> None:
    task = await world.submit(evgen(scouts=2, events_per_job=10, target_walltime_s=300))
    await world.agents()
    assert (await task_of(world, task))["state"] == "scouting"
    assert [row["scout"] for row in await world.fetch("SELECT scout FROM job")] == [True, True]

    await run_scouts(world, task)
    after = await task_of(world, task)
    assert after["state"] == "running"
    assert after["sizing"] == {"memory_mb": 2500, "events_per_job": 30, "walltime_s": 600, "scratch_mb": 1500}
    rows = await world.fetch(
        "SELECT events, scout, memory_mb FROM job JOIN requirement r ON r.id = requirement_id"
        " WHERE task_id = $1 ORDER BY number",
        task.id,
    )
    assert [tuple(row) for row in rows] == [
        (10, True, 1000), (10, True, 1000), (30, False, 2500), (30, False, 2500), (20, False, 2500),
    ]  # fmt: skip
    reason = await world.value("SELECT reason FROM event WHERE job_id IS NULL AND state = 'running'")
    assert reason.startswith("2 scouts: memory 1900 MB, 10 s for one of the events, so that 30 events take 300 s")


async def test_what_people_ordered_wins_over_what_scouts_taught(world: World) -> None:
    task = await world.submit(evgen(scouts=2))
    await world.agents()
    await world.pool.execute("UPDATE task SET changes = $2 WHERE id = $1", task.id, {"memory_mb": 1250})
    await run_scouts(world, task)
    rows = await world.fetch(
        "SELECT DISTINCT memory_mb FROM job JOIN requirement r ON r.id = requirement_id WHERE NOT scout"
    )
    assert [row["memory_mb"] for row in rows] == [1250]


@pytest.mark.parametrize(("failing", "state"), [(4, "exhausted"), (3, "exhausted"), (2, "running")])
async def test_a_task_is_exhausted_when_most_scouts_fail(world: World, failing: int, state: str) -> None:
    task = await world.submit(evgen(scouts=4, events_per_job=10, max_attempts=1))
    await world.agents()
    await run_scouts(world, task, failing=failing)
    after = await task_of(world, task)
    assert after["state"] == state
    if state == "exhausted":
        assert after["reason"] == (
            f"{4 - failing} of 4 scouts finished, too few to tell what the other jobs need;"
            " most often: no such geometry"
        )


async def test_an_input_with_fewer_files_than_scouts_is_done_by_scouts(world: World) -> None:
    await fill(world, "mc26.700001.Z.evgen.EVNT.v1", [5, 5])
    task = await world.submit(sim(scouts=5))
    await world.run_all()
    assert (await task_of(world, task))["state"] == "done"


async def test_scouts_of_a_growing_input_are_made_as_it_grows(world: World) -> None:
    name = "mc26.700001.Z.evgen.EVNT.v1"
    await fill(world, name, [5], close=False)
    task = await world.submit(sim(scouts=2))
    await world.run_all()
    assert (await task_of(world, task))["state"] == "scouting"
    await fill(world, name, [5, 5])
    await world.run_all()
    assert (await task_of(world, task))["state"] == "done"
    assert await world.states(task) == ["finished"] * 3
