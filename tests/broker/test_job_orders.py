"""Orders for single jobs."""

from typing import Any

import pytest

from prodchain.broker import job_orders
from prodchain.broker.errors import BadRequest, WrongState
from prodchain.broker.models import Task

from .test_orders import ANN, entries, give
from .world import World, evgen


async def waiting(world: World) -> tuple[Task, int]:
    task = await world.submit(evgen(events=50))
    await world.agents()
    return task, int(await world.value("SELECT min(id) FROM job"))


async def queue_of(world: World, job: int) -> Any:
    return await world.value("SELECT q.name FROM job j JOIN queue q ON q.id = j.queue_id WHERE j.id = $1", job)


async def test_a_job_is_killed_once(world: World) -> None:
    _, job = await waiting(world)
    outcome = await give(world, job_orders.kill, job, ANN, "not needed")
    assert (outcome.changes, outcome.jobs) == ({"state": ["activated", "cancelled"]}, {"activated": 1})
    assert await world.value("SELECT reason FROM job WHERE id = $1", job) == "killed by ann: not needed"
    assert (await give(world, job_orders.kill, job, ANN)).note == f"job {job} is cancelled already: nothing changes"
    assert [each["verb"] for each in await entries(world, object=f"job {job}")] == ["kill"]


async def test_a_reassigned_job_goes_elsewhere_or_where_it_is_sent(world: World) -> None:
    _, job = await waiting(world)
    first = await queue_of(world, job)
    other = "B-BATCH" if first == "A-BATCH" else "A-BATCH"
    outcome = await give(world, job_orders.reassign, job, None, ANN)
    assert (outcome.changes, outcome.jobs) == ({"avoid": [[], [first]]}, {"activated": 1})
    await world.agents()
    assert await queue_of(world, job) == other

    site = first.partition("-")[0]
    await give(world, job_orders.reassign, job, site, ANN)
    await world.agents()
    assert await queue_of(world, job) == first
    assert (
        await give(world, job_orders.reassign, job, site, ANN)
    ).note == f"job {job} is there already: nothing changes"
    with pytest.raises(BadRequest, match="no site or queue NOWHERE"):
        await give(world, job_orders.reassign, job, "NOWHERE", ANN)


async def test_a_job_is_not_sent_where_its_task_may_not_run(world: World) -> None:
    task, job = await waiting(world)
    here = await queue_of(world, job)
    there = "B-BATCH" if here == "A-BATCH" else "A-BATCH"
    await world.pool.execute(
        "UPDATE task SET changes = jsonb_build_object('sites', jsonb_build_array($2::text)) WHERE id = $1",
        task.id,
        here,
    )
    with pytest.raises(WrongState, match=f"allows {here} only") as refused:
        await give(world, job_orders.reassign, job, there, ANN)
    assert refused.value.hint.endswith(f"sites={here},{there}`")
    assert (await give(world, job_orders.reassign, job, here[0], ANN)).jobs == {}


async def test_a_job_that_is_moved_up_is_taken_next(world: World) -> None:
    _, job = await waiting(world)
    last = await world.value("SELECT max(id) FROM job")
    outcome = await give(world, job_orders.prioritise, last, 2000, ANN)
    assert (outcome.changes, outcome.jobs) == ({"priority": [1000, 2000]}, {"activated": 1})
    assert not (await give(world, job_orders.prioritise, last, 2000, ANN)).changed
    spec = await world.acquire(await queue_of(world, last))
    assert spec is not None and spec.job == last != job
    for order, values in ((job_orders.prioritise, (5,)), (job_orders.reassign, (None,))):
        with pytest.raises(WrongState, match="is sent: only jobs that no pilot has"):
            await give(world, order, last, *values, ANN)
