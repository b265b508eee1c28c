"""Files that join an input after its task was over: exactly the jobs that they need are made."""

from typing import Any

import pytest

from prodchain.broker import incremental
from prodchain.broker.errors import WrongState
from prodchain.catalog.models import DatasetKind

from .material import contain, fill, pieces, reopen
from .world import World, evgen, inside, sim

IN, MORE, BOTH = (f"mc26.700001.Z.evgen.EVNT.v{n}" for n in "123")
OUT = "mc26.700001.Z.simul.HITS.v1"


async def extend(world: World, task_id: int | None) -> None:
    await inside(world.pool, incremental.extend, task_id, "user:ann")


async def outputs(world: World, name: str = OUT) -> list[tuple[Any, ...]]:
    rows = await world.fetch(
        "SELECT version, state, files, events FROM dataset WHERE name = $1 ORDER BY version", name
    )
    return [tuple(row) for row in rows]


@pytest.mark.parametrize(
    "split", [{}, {"files_per_job": 2}, {"events_per_job": 7}, {"events_per_job": 15, "boundary": "none"}]
)
async def test_only_new_files_are_worked_through(world: World, split: dict[str, Any]) -> None:
    old = set(await fill(world, IN, [10, 10, 10]))
    task = await world.submit(sim(**split))
    await world.run_all()
    before = await pieces(world, task.id)

    await reopen(world, IN)
    new = set(await fill(world, IN, [10, 10]))
    await extend(world, task.id)
    await world.run_all()
    after = await pieces(world, task.id)
    assert after[: len(before)] == before
    assert {file for work in after[len(before) :] for file in work["files"]} == new
    assert {file for work in before for file in work["files"]} == old
    assert sum(work["events"] for work in after) == 50
    assert await outputs(world) == [(1, "closed", len(before), 30), (2, "closed", len(after), 50)]
    row = (await world.fetch("SELECT state, output_id, input_id FROM task"))[0]
    assert row["state"] == "done"
    latest = "SELECT id FROM dataset WHERE name = $1 AND latest"
    assert row["input_id"] == await world.value(latest, IN)
    assert row["output_id"] == await world.value(latest, OUT)


async def test_it_can_be_repeated_as_often_as_the_input_grows(world: World) -> None:
    await fill(world, IN, [10])
    task = await world.submit(sim())
    await world.run_all()
    for turn in (2, 3):
        await reopen(world, IN)
        await fill(world, IN, [10])
        await extend(world, task.id)
        await world.run_all()
        assert (await outputs(world))[-1] == (turn, "closed", turn, 10 * turn)


async def test_outputs_made_away_travel_home_after_the_first_were_gathered_and_removed(world: World) -> None:
    await world.pool.execute("UPDATE queue SET status = 'offline' WHERE name = 'A-BATCH'")
    await fill(world, IN, [10])
    task = await world.submit(sim())
    await world.run_all()
    await world.pool.execute("UPDATE dataset SET state = 'deleted', deleted_at = now() WHERE kind = 'sub'")
    await reopen(world, IN)
    await fill(world, IN, [10])
    await extend(world, task.id)
    await world.run_all()
    assert await outputs(world) == [(1, "closed", 1, 10), (2, "closed", 2, 20)]
    subs = await world.fetch("SELECT name, state FROM dataset WHERE kind = $1 ORDER BY id", DatasetKind.SUB)
    assert [tuple(row) for row in subs] == [(f"{OUT}_sub.B-DISK", "deleted"), (f"{OUT}_sub.B-DISK_v2", "closed")]


async def test_datasets_that_joined_a_container_are_new_input(world: World) -> None:
    await fill(world, IN, [10])
    await contain(world, BOTH, IN)
    task = await world.submit(sim(input=BOTH))
    await world.run_all()
    await fill(world, MORE, [10, 10])
    await contain(world, BOTH, MORE)
    await extend(world, task.id)
    await world.run_all()
    assert (await outputs(world))[-1] == (2, "closed", 3, 30)


async def test_merged_outputs_go_on_as_a_new_version(world: World) -> None:
    merge = {"command": ["Merge_tf.py", "{inputs}", "{output}"], "files_per_job": 2}
    await fill(world, IN, [10, 10])
    task = await world.submit(sim(merge=merge))
    await world.run_all()
    await reopen(world, IN)
    await fill(world, IN, [10, 10, 10])
    await extend(world, task.id)
    await world.run_all()
    assert await outputs(world) == [(1, "closed", 1, 20), (2, "closed", 3, 50)]
    assert [row["state"] for row in await world.fetch("SELECT state FROM task")] == ["done", "done"]


async def test_without_anything_new_it_is_refused(world: World) -> None:
    await fill(world, IN, [10])
    task, other = await world.submit(sim()), await world.submit(evgen(output=MORE))
    with pytest.raises(WrongState, match="only a task that is done or finished"):
        await extend(world, task.id)
    await world.run_all()
    with pytest.raises(WrongState, match="nothing has joined"):
        await extend(world, task.id)
    with pytest.raises(WrongState, match="has no input"):
        await extend(world, other.id)
    assert [row[0] for row in await outputs(world)] == [1]
