"""Small outputs are merged by a task of its own, which people see and steer by its parent."""

from typing import Any

import pytest

from prodchain.broker import orders
from prodchain.broker.models import Task
from prodchain.catalog import deletion
from prodchain.catalog.errors import DatasetDeleted
from prodchain.pilot_agent.messages import Update

from .world import World, evgen, inside

NAME = "mc26.700001.Z.evgen.EVNT.v1"
MERGE = {"command": ["Merge_tf.py", "{inputs}", "{output}"], "files_per_job": 3}


async def rows_of(world: World) -> list[dict[str, Any]]:
    return [dict(row) for row in await world.fetch("SELECT * FROM task ORDER BY id")]


async def dataset(world: World, name: str) -> dict[str, Any]:
    return dict((await world.fetch("SELECT * FROM dataset WHERE name = $1", name))[0])


async def with_merge(world: World, **changes: Any) -> Task:
    return await world.submit(evgen(merge=MERGE, **changes))


async def test_enough_small_outputs_are_merged_and_the_rest_at_the_end(world: World) -> None:
    await with_merge(world)
    await world.run_all()
    parent, child = await rows_of(world)
    assert (parent["state"], child["state"], child["key"]) == ("done", "done", f"merge:mc26:{NAME}")
    assert child["parent_id"] == parent["id"]
    merged, small = await dataset(world, NAME), await dataset(world, f"{NAME}.unmerged")
    assert (merged["state"], merged["files"], merged["events"]) == ("closed", 2, 100)
    assert (small["state"], small["files"], small["kind"]) == ("closed", 4, "sub")
    assert await world.value("SELECT count(*) FROM dataset WHERE name LIKE '%.unmerged_sub.%'") == 0
    states = await world.fetch(
        "SELECT state FROM event WHERE task_id = $1 AND job_id IS NULL ORDER BY id", parent["id"]
    )
    assert [row["state"] for row in states] == ["registered", "ready", "running", "merging", "done"]


async def test_merging_begins_while_the_parent_still_runs(world: World) -> None:
    await with_merge(world, events_per_job=10)
    await world.agents()
    for n in range(8):
        if await world.value("SELECT count(*) FROM job j JOIN task t ON t.id = task_id WHERE parent_id IS NOT NULL"):
            break
        assert await world.run_one("A-BATCH", f"p{n}") or await world.run_one("B-BATCH", f"p{n}")
        await world.agents()
    parent, child = await rows_of(world)
    assert (parent["state"], child["numbers"]) == ("running", 1)
    await world.run_all()
    assert (await dataset(world, NAME))["files"] == 4


async def test_a_parent_that_made_nothing_has_nothing_merged(world: World) -> None:
    await with_merge(world, events_per_job=100, max_attempts=1)
    await world.agents()
    spec = await world.acquire("A-BATCH") or await world.acquire("B-BATCH")
    assert spec is not None
    queue = await world.value("SELECT q.name FROM job j JOIN queue q ON q.id = queue_id WHERE j.id = $1", spec.job)
    await world.report(queue, "p1", Update(spec.job, "failed", exit_code=1, error="no"))
    await world.agents()
    assert [row["state"] for row in await rows_of(world)] == ["failed", "aborted"]
    assert (await dataset(world, NAME))["state"] == "open"


async def test_what_failed_is_made_again_and_merged_with_the_rest(world: World) -> None:
    task = await with_merge(world, max_attempts=1)
    await world.agents()
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    await world.report("A-BATCH", "p1", Update(spec.job, "failed", exit_code=1, error="no"))
    await world.run_all()
    assert [row["state"] for row in await rows_of(world)] == ["finished", "done"]
    assert (await dataset(world, NAME))["state"] == "open"

    await inside(world.pool, orders.retry, task.id, "user:ann")
    await world.run_all()
    assert [row["state"] for row in await rows_of(world)] == ["done", "done"]
    merged = await dataset(world, NAME)
    assert (merged["state"], merged["files"], merged["events"]) == ("closed", 2, 100)


async def test_a_kill_of_the_parent_ends_both(world: World) -> None:
    task = await with_merge(world)
    await world.agents()
    await inside(world.pool, orders.kill, task.id, "user:ann")
    assert [row["state"] for row in await rows_of(world)] == ["aborted", "aborted"]
    await inside(world.pool, orders.retry, task.id, "user:ann")
    await world.run_all()
    assert [row["state"] for row in await rows_of(world)] == ["done", "done"]


async def test_a_paused_task_that_is_ordered_to_finish_merges_what_there_is(world: World) -> None:
    task = await with_merge(world)
    await world.agents()
    assert await world.run_one("A-BATCH")
    await inside(world.pool, orders.pause, task.id, "user:ann")
    await inside(world.pool, orders.finish, task.id, "user:ann")
    await world.run_all()
    assert [row["state"] for row in await rows_of(world)] == ["finished", "done"]
    assert (await dataset(world, NAME))["files"] == 1


async def test_a_retry_after_the_small_outputs_are_gone_is_refused_before_anything_runs(world: World) -> None:
    task = await with_merge(world, max_attempts=1)
    await world.agents()
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    await world.report("A-BATCH", "p1", Update(spec.job, "failed", exit_code=1, error="no"))
    await world.run_all()
    await world.pool.execute("UPDATE dataset SET expires_at = now() WHERE expires_at > now()")
    await inside(world.pool, deletion.Expiry().step)
    with pytest.raises(DatasetDeleted, match="unmerged"):
        await inside(world.pool, orders.retry, task.id, "user:ann")
