"""Jobs of every kind of input: whole files and ranges of events, containers, secondary inputs, several outputs."""

import asyncio
from random import Random
from typing import Any

import pytest

from prodchain.broker import generation, placement, tasks
from prodchain.broker.bunches import Pace
from prodchain.broker.errors import BadRequest, TaskConflict
from prodchain.broker.models import Task
from prodchain.catalog.errors import DatasetNotFound
from prodchain.pilot_agent.messages import Update

from .material import contain, fill, pieces
from .world import World, evgen, inside, sim

A, B, BOTH = "mc26.700001.Z.evgen.EVNT.v1", "mc26.700001.Z.evgen.EVNT.v2", "mc26.700001.Z.evgen.EVNT.all"
MINBIAS = "mc26.900001.minbias.simul.HITS.v1"


async def state(world: World, task: Task) -> str:
    return str(await world.value("SELECT state FROM task WHERE id = $1", task.id))


async def why(world: World, task: Task) -> str | None:
    async def ask(conn: Any) -> str | None:
        return await generation.waits_for(conn, await tasks.get(conn, task.id or 0))

    answer: str | None = await inside(world.pool, ask)
    return answer


async def test_a_piece_of_events_goes_on_in_the_next_file(world: World) -> None:
    one, two, three = await fill(world, A, [70, 70, 10])
    task = await world.submit(sim(events_per_job=100, boundary="none"))
    await world.agents()
    found = [(work["files"], work["skip"], work["events"]) for work in await pieces(world, task.id)]
    assert found == [([one, two], 0, 100), ([two, three], 30, 50)]
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    assert spec.command[1:3] == [f"--inputEVNTFile={A}.0000,{A}.0001", "--skipEvents=0"]


@pytest.mark.parametrize(("boundary", "jobs"), [("none", 2), ("dataset", 2), ("file", 4)])
async def test_the_datasets_of_a_container_are_one_input(world: World, boundary: str, jobs: int) -> None:
    await fill(world, A, [10, 10])
    await fill(world, B, [10, 10])
    await contain(world, BOTH, A, B)
    size = {"events_per_job": 20} if boundary != "file" else {}
    task = await world.submit(sim(input=BOTH, boundary=boundary, **size))
    await world.run_all()
    assert await state(world, task) == "done"
    made = await pieces(world, task.id)
    assert len(made) == jobs
    assert sum(work["events"] for work in made) == 40


async def test_a_dataset_is_a_job_where_that_is_the_only_boundary(world: World) -> None:
    first = await fill(world, A, [1, 2, 3])
    await fill(world, B, [4, 5], close=False)
    await contain(world, BOTH, A, B)
    task = await world.submit(sim(input=BOTH, boundary="dataset"))
    await world.agents()
    assert [work["files"] for work in await pieces(world, task.id)] == [first]  # the other one may still grow
    await fill(world, B, [6])
    await world.agents()
    assert [len(work["files"]) for work in await pieces(world, task.id)] == [3, 3]


async def test_files_are_grouped_by_their_bytes(world: World) -> None:
    await fill(world, A, [1] * 7, size=100)
    task = await world.submit(sim(bytes_per_job=250))
    await world.agents()
    assert [len(work["files"]) for work in await pieces(world, task.id)] == [2, 2, 2, 1]


@pytest.mark.parametrize("boundary", ["file", "dataset", "none"])
async def test_each_event_is_in_one_piece_however_the_input_grows(world: World, boundary: str) -> None:
    random = Random(boundary)
    await fill(world, A, [], close=False)
    await fill(world, B, [], close=False)
    await contain(world, BOTH, A, B)
    task = await world.submit(sim(input=BOTH, events_per_job=30, boundary=boundary))
    for name in random.choices([A, B], k=8):
        await fill(world, name, [random.randint(1, 80) for _ in range(random.randint(1, 3))], close=False)
        await world.agents()
    for name in (A, B):
        await fill(world, name, [5])
    await world.agents()
    total, sizes = 0, dict(await world.fetch("SELECT id, events FROM file"))
    seen: set[tuple[int, int]] = set()
    for work in await pieces(world, task.id):
        left, skip = work["events"], work["skip"]
        for file in work["files"]:
            take = min(left, sizes[file] - skip)
            seen |= {(file, event) for event in range(skip, skip + take)}
            total, left, skip = total + take, left - take, 0
        assert left == 0 and work["events"] <= 30
    assert total == len(seen) == sum(sizes.values())
    assert await world.value("SELECT generated FROM task WHERE id = $1", task.id)


async def test_slices_of_an_input_are_pieces_without_gaps(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "BUNCH", 3)
    await fill(world, A, [25] * 5)
    task = await world.submit(sim(events_per_job=10, boundary="none"))
    await world.agents()
    rows = await world.fetch("SELECT number, events FROM job WHERE task_id = $1 ORDER BY number", task.id)
    assert [row["number"] for row in rows] == list(range(1, len(rows) + 1))
    assert sum(row["events"] for row in rows) == 125
    assert await world.value("SELECT numbers FROM task WHERE id = $1", task.id) == len(rows)


async def test_secondary_files_are_handed_out_in_turn_when_all_are_known(world: World) -> None:
    await fill(world, A, [10] * 3)
    await fill(world, MINBIAS, [1, 1, 1], close=False)
    command = ["Digi_tf.py", "--in={inputs}", "--pile={minbias}", "--seed={job_seed}", "--out={output}"]
    secondary = {"minbias": {"dataset": MINBIAS, "files_per_job": 2}}
    task = await world.submit(sim(command=command, secondary=secondary, seed=40))
    await world.agents()
    assert await state(world, task) == "ready" and await pieces(world, task.id) == []
    assert "secondary input minbias" in (await why(world, task) or "")
    assert await inside(world.pool, generation.growing_tasks) == []

    await fill(world, MINBIAS, [1])
    await world.agents()
    await world.move()
    specs = [await world.acquire("A-BATCH", f"p{n}") or await world.acquire("B-BATCH", f"p{n}") for n in range(3)]
    words = sorted(spec.command[2:4] for spec in specs if spec)
    pair = "--pile={0}.000{1},{0}.000{2}".format
    assert words == [
        [pair(MINBIAS, 0, 1), "--seed=41"], [pair(MINBIAS, 0, 1), "--seed=43"], [pair(MINBIAS, 2, 3), "--seed=42"],
    ]  # fmt: skip
    assert all(len(spec.inputs) == 3 for spec in specs if spec)
    assert await why(world, task) is None


async def test_too_few_secondary_files_end_the_task_with_a_reason(world: World) -> None:
    await fill(world, MINBIAS, [1])
    secondary = {"minbias": {"dataset": MINBIAS, "files_per_job": 2}}
    task = await world.submit(evgen(command=["Gen_tf.py", "{minbias}", "{output}"], secondary=secondary))
    await world.agents()
    assert await state(world, task) == "failed"
    assert "has 1 files, and each job wants 2" in await world.value("SELECT reason FROM task WHERE id = $1", task.id)


async def test_several_outputs_are_registered_each_in_its_dataset(world: World) -> None:
    logs = "mc26.700001.Z.evgen.LOG.v1"
    task = await world.submit(evgen(outputs={"log": logs}, command=["Gen_tf.py", "--out={output}", "--log={log}"]))
    await world.run_all()
    assert await state(world, task) == "done"
    rows = await world.fetch("SELECT name, state, files FROM dataset WHERE kind = 'production' ORDER BY name")
    assert [tuple(row) for row in rows] == [(A, "closed", 4), (logs, "closed", 4)]
    names = await world.fetch(
        "SELECT f.name FROM dataset_file m JOIN file f ON f.id = m.file_id JOIN dataset d ON d.id = m.dataset_id"
        " WHERE d.name = $1 ORDER BY 1",
        logs,
    )
    assert names[0]["name"] == f"{logs}._000001.log.1"
    home = await world.value("SELECT id FROM storage WHERE name = 'A-DISK'")
    assert await world.value("SELECT count(*) FROM replica WHERE storage_id = $1", home) == 8


async def test_a_missing_further_output_fails_the_job(world: World) -> None:
    log = {"log": "mc26.700001.Z.evgen.LOG.v1"}
    await world.submit(evgen(outputs=log, command=["Gen_tf.py", "{output}", "{log}"]))
    await world.agents()
    spec = await world.acquire("A-BATCH")
    assert spec is not None and len(spec.outputs) == 2
    await world.report("A-BATCH", "p1", Update(spec.job, "running"))
    answer = await world.report("A-BATCH", "p1", Update(spec.job, "finished", exit_code=0, outputs=[]))
    assert "is missing" in answer[0].reason


async def test_jobs_may_have_no_events(world: World) -> None:
    task = await world.submit(evgen(events=None, events_per_job=None, jobs=3))
    await world.run_all()
    assert await state(world, task) == "done"
    assert [work["seed"] for work in await pieces(world, task.id)] == [2, 3, 4]


async def test_what_cannot_be_is_refused_without_a_trace(world: World) -> None:
    await fill(world, A, [1])
    before = await world.value("SELECT count(*) FROM dataset")
    with pytest.raises(DatasetNotFound):
        await world.submit(sim(secondary={"mb": {"dataset": MINBIAS}}, command=["x", "{inputs}", "{mb}", "{output}"]))
    with pytest.raises(BadRequest, match="no site or queue nowhere"):
        await world.submit(sim(sites=["nowhere"]))
    await contain(world, BOTH)
    with pytest.raises(BadRequest, match="has no datasets"):
        await world.submit(sim(input=BOTH))
    assert await world.value("SELECT count(*) FROM dataset") == before + 1
    assert await world.value("SELECT count(*) FROM task") == 0


async def test_a_dataset_is_the_output_of_one_task(world: World) -> None:
    other = "mc26.700001.Z.evgen.LOG.v1"
    await world.submit(evgen(outputs={"log": other}, command=["Gen_tf.py", "{output}", "{log}"]))
    with pytest.raises(TaskConflict, match="fills it"):
        await world.submit(evgen(output=other))


async def test_a_file_that_fails_for_good_holds_no_other_up(world: World) -> None:
    await fill(world, A, [10] * 4, close=False)
    task = await world.submit(sim(max_attempts=1))
    await world.agents()
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    await world.report("A-BATCH", "p1", Update(spec.job, "failed", exit_code=65, error="bad event"))
    await world.run_all()
    assert sorted(await world.states(task)) == ["failed", "finished", "finished", "finished"]
    await fill(world, A, [10])
    await world.run_all()
    assert await state(world, task) == "finished"
    assert sorted(await world.states(task)) == ["failed", *["finished"] * 4]


async def test_a_dataset_that_another_task_is_named_after_is_no_further_output(world: World) -> None:
    first = await world.submit(evgen(output=B))
    with pytest.raises(TaskConflict, match=f"task {first.id} fills it"):
        await world.submit(evgen(command=["Gen_tf.py", "{output}", "{log}"], outputs={"log": B}))


_WAITS = "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND NOT granted)"


async def test_jobs_are_made_by_one_agent_while_another_places_those_before_them(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "BUNCH", 2)
    task = await world.submit(evgen(events=125))
    assert task.id is not None
    assert await inside(world.pool, generation.generate, task.id) == 2
    async with world.pool.acquire() as one, world.pool.acquire() as two, world.pool.acquire() as three:
        placing = one.transaction()
        await placing.start()
        assert (await placement.place(one, task.id, Pace(3, 15))).placed == 2
        making = two.transaction()
        await making.start()
        more = asyncio.create_task(generation.generate(two, task.id))
        while not await three.fetchval(_WAITS, two.get_server_pid()):  # noqa: ASYNC110 - the database has no event
            await asyncio.sleep(0.01)
        assert await generation.generate(three, task.id) == 0
        await placing.commit()
        assert await more == 2
        await making.commit()
    await world.agents()
    rows = await world.fetch("SELECT number FROM job WHERE task_id = $1 ORDER BY number", task.id)
    assert [row["number"] for row in rows] == [1, 2, 3, 4, 5]
