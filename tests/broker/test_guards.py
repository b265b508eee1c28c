"""The database refuses what no code path may do."""

import asyncpg
import pytest

from prodchain.broker.models import JobWay, TaskWay
from prodchain.broker.states import JOB_WAYS, TASK_WAYS, JobState

from .world import World, evgen, sim


async def test_the_database_knows_the_same_ways_as_the_code(world: World) -> None:
    for table, ways in ((JobWay, JOB_WAYS), (TaskWay, TASK_WAYS)):
        rows = await world.fetch(f"SELECT before, state FROM {table.__tablename__}")
        assert {(row["before"], row["state"]) for row in rows} == {(a, b) for a, later in ways.items() for b in later}


@pytest.mark.parametrize("state", [s for s in JobState if s not in JOB_WAYS[JobState.DEFINED] and s != "defined"])
async def test_a_job_cannot_leave_the_known_ways(world: World, state: str) -> None:
    await world.submit(evgen())
    await world.pool.execute("UPDATE queue SET status = 'offline'")
    await world.agents()
    with pytest.raises(asyncpg.CheckViolationError, match=f"cannot go from defined to {state}"):
        await world.pool.execute("UPDATE job SET state = $1, queue_id = 1", state)


async def test_a_job_cannot_be_activated_before_its_inputs_are_at_its_storage(world: World) -> None:
    await world.submit(evgen())
    second = await world.submit(sim())
    await world.agents()
    await world.run_one("B-BATCH")
    await world.pool.execute("UPDATE queue SET status = 'drain' WHERE name = 'B-BATCH'")
    await world.agents()
    assert await world.states(second) == ["assigned"]
    with pytest.raises(asyncpg.CheckViolationError, match="no verified replica at its queue's storage"):
        await world.pool.execute("UPDATE job SET state = 'activated' WHERE state = 'assigned'")


async def test_a_closed_dataset_takes_and_loses_no_file(world: World) -> None:
    task = await world.submit(evgen())
    await world.run_all()
    with pytest.raises(asyncpg.CheckViolationError, match="closed dataset"):
        await world.pool.execute("DELETE FROM dataset_file WHERE dataset_id = $1", task.output_id)


async def test_every_change_of_a_job_leaves_an_event(world: World) -> None:
    task = await world.submit(evgen(events=25))
    await world.run_all()
    rows = await world.fetch("SELECT before, state, actor FROM event WHERE job_id IS NOT NULL ORDER BY id")
    assert [row["state"] for row in rows] == ["defined", "assigned", "activated", "sent", "running", "finished"]
    assert all(row["actor"] for row in rows)
    assert await world.value("SELECT state FROM task WHERE id = $1", task.id) == "done"


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO job (task_id, number) VALUES (4711, 1)",
        "UPDATE job SET state = 'assigned', queue_id = 4711",
        "UPDATE job SET state = 'activated'",
        "UPDATE job SET state = 'assigned', queue_id = 1, assignment_id = 4711",
        "DELETE FROM job",
        "DELETE FROM task",
        "DELETE FROM queue",
        "UPDATE job SET id = id + 1",
    ],
)
async def test_a_job_is_of_a_task_and_at_a_queue_for_ever(world: World, statement: str) -> None:
    await world.submit(evgen())
    await world.pool.execute("UPDATE queue SET status = 'offline'")
    await world.agents()
    with pytest.raises(asyncpg.ForeignKeyViolationError):
        await world.pool.execute(statement)


async def test_the_decision_for_a_job_stays(world: World) -> None:
    await world.submit(evgen())
    await world.agents()
    with pytest.raises(asyncpg.ForeignKeyViolationError, match="a decision for a queue stays"):
        await world.pool.execute("DELETE FROM assignment")


async def test_both_steps_of_a_job_that_waits_for_nothing_say_why(world: World) -> None:
    await world.submit(evgen(events=25))
    await world.agents()
    rows = await world.fetch("SELECT before, state, reason FROM event WHERE job_id IS NOT NULL ORDER BY id")
    assert [(row["before"], row["state"]) for row in rows[1:]] == [("defined", "assigned"), ("assigned", "activated")]
    assert rows[1]["reason"] == await world.value("SELECT reason FROM assignment")
    assert rows[2]["reason"].startswith("all inputs are at ")
