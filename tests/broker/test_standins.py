"""An output that others have read is lost on its way and made again: what they made of it stays, once."""

import pytest

from prodchain.broker.models import Task
from prodchain.catalog import badreplicas
from prodchain.pilot_agent.messages import JobSpec

from .truths import every_event_once, left, wrong
from .world import World, evgen, finished, inside, sim


async def lose(world: World, spec: JobSpec) -> None:
    """The only copy of what a job made is bad."""
    output = await world.value("SELECT id FROM file WHERE name = $1", spec.outputs[0].lfn)
    here = await world.value("SELECT id FROM storage WHERE name = 'A-DISK'")
    await inside(world.pool, badreplicas.bad, here, [output], "ann", "the disk broke")


async def two_steps(world: World, **more: object) -> tuple[Task, JobSpec]:
    """The second step; and a run of the first one whose output travels, and is known to the second step."""
    first, second = await world.submit(evgen(destination="B-DISK")), await world.submit(sim(**more))
    await world.pool.execute("UPDATE queue SET status = 'drain' WHERE name = 'B-BATCH'")
    await world.agents()
    spec = await world.run_one("A-BATCH")
    assert spec is not None
    assert spec.task == first.id
    return second, spec


async def all_is_done(world: World, second: Task) -> None:
    await world.run_all()
    rows = await world.fetch("SELECT t.state, d.events FROM task t JOIN dataset d ON d.id = t.output_id")
    assert [tuple(row) for row in rows] == [("done", 100)] * 2
    await every_event_once(world, second)
    assert (await wrong(world), await left(world)) == ([], {})


@pytest.mark.parametrize("until", ["noted", "waits", "runs", "is made"])
@pytest.mark.parametrize("times", [1, 2])
async def test_the_second_one_stands_in_for_it_wherever_its_reader_is(world: World, until: str, times: int) -> None:
    second, spec = await two_steps(world, priority=5000)
    reader = None
    if until != "noted":
        await world.agents()
    if until in ("runs", "is made"):
        reader = await world.acquire("A-BATCH", "slow")
        assert reader is not None
        assert reader.task == second.id
    if until == "is made" and reader is not None:
        await world.report("A-BATCH", "slow", finished(reader))
    await lose(world, spec)
    await world.agents()
    if times == 2:
        again = None
        while again is None or again.outputs[0].lfn != spec.outputs[0].lfn.removesuffix("1") + "2":
            again = await world.run_one("A-BATCH")
            assert again is not None
        await lose(world, again)
        await world.agents()
    if until == "runs" and reader is not None:
        await world.expire(reader.job)
    await all_is_done(world, second)


async def test_pieces_that_have_a_part_of_it_keep_theirs(world: World) -> None:
    second, spec = await two_steps(world, events_per_job=10, boundary="none", priority=5000)
    await world.agents()
    made = await world.run_one("A-BATCH")
    assert made is not None
    assert made.task == second.id
    await lose(world, spec)
    await all_is_done(world, second)
