"""A job whose output is lost on the way to its destination fails with that reason, and its work is done again."""

import pytest

from prodchain.catalog import badreplicas, purging, recount

from .truths import wrong
from .world import World, evgen, inside, sim


@pytest.mark.parametrize("attempts", [1, 3])
async def test_an_output_that_is_lost_on_its_way_home_is_made_again_if_the_task_allows_it(
    world: World, attempts: int
) -> None:
    task = await world.submit(evgen(destination="B-DISK", max_attempts=attempts))
    await world.pool.execute("UPDATE queue SET status = 'drain' WHERE name = 'B-BATCH'")
    await world.agents()
    spec = await world.run_one("A-BATCH")
    assert spec is not None
    here = await world.value("SELECT id FROM storage WHERE name = 'A-DISK'")
    (output,) = await world.fetch("SELECT id, name FROM file WHERE name = $1", spec.outputs[0].lfn)
    assert await world.value("SELECT state FROM job WHERE id = $1", spec.job) == "transferring"

    (bad,) = await inside(world.pool, badreplicas.bad, here, [output["id"]], "ann", "the disk broke")
    assert bad.state == "lost"
    (job,) = await world.fetch("SELECT state, reason FROM job WHERE id = $1", spec.job)
    assert job["state"] == "failed"
    assert job["reason"] == (
        f"its output mc26:{output['name']} is lost before it was at its destination:"
        " the last copy, at A-DISK, was bad: the disk broke"
    )
    assert await world.value("SELECT count(*) FROM dataset_file WHERE file_id = $1", output["id"]) == 0
    assert await world.value("SELECT count(*) FROM hold WHERE holder = $1", f"deliver:{spec.job}") == 0
    assert await world.value("SELECT count(*) FROM transfer WHERE file_id = $1", output["id"]) == 0
    again = await world.value("SELECT max(attempt) FROM job")
    assert again == (2 if attempts > 1 else 1)

    await world.run_all()
    state, events = ("done", 100) if attempts > 1 else ("finished", 75)
    assert await world.value("SELECT state FROM task WHERE id = $1", task.id) == state
    assert await world.value("SELECT events FROM dataset WHERE id = $1", task.output_id) == events
    assert await inside(world.pool, recount.check) == []


async def test_an_output_with_another_copy_is_not_lost(world: World) -> None:
    await world.submit(evgen(destination="B-DISK"))
    await world.pool.execute("UPDATE queue SET status = 'drain' WHERE name = 'B-BATCH'")
    await world.agents()
    spec = await world.run_one("A-BATCH")
    assert spec is not None
    await world.move()
    (file,) = await world.fetch("SELECT id FROM file WHERE name = $1", spec.outputs[0].lfn)
    here = await world.value("SELECT id FROM storage WHERE name = 'A-DISK'")
    await inside(world.pool, badreplicas.bad, here, [file["id"]], "ann", "the disk broke")
    assert await world.value("SELECT state FROM job WHERE id = $1", spec.job) == "finished"


async def test_what_else_the_job_made_goes_too_as_it_is_made_again_under_another_name(world: World) -> None:
    await world.submit(evgen(events=25))
    await world.run_all()
    command = ["Sim.py", "{inputs}", "{output}", "{log}"]
    logs = {"log": "mc26.700001.Z.simul.LOG.v1"}
    task = await world.submit(sim(command=command, outputs=logs, destination="B-DISK"))
    await world.pool.execute("UPDATE queue SET status = 'drain' WHERE name = 'B-BATCH'")
    await world.agents()
    spec = await world.run_one("A-BATCH")
    assert spec is not None and len(spec.outputs) == 2
    here = await world.value("SELECT id FROM storage WHERE name = 'A-DISK'")
    hits, log = [await world.value("SELECT id FROM file WHERE name = $1", output.lfn) for output in spec.outputs]

    await inside(world.pool, badreplicas.bad, here, [hits], "ann", "the disk broke")
    assert await world.value("SELECT count(*) FROM dataset_file WHERE file_id = ANY($1)", [hits, log]) == 0
    assert await wrong(world) == []
    await world.pool.execute("UPDATE storage SET deletable = true")
    assert await inside(world.pool, purging.reap, here) == 1
    assert await world.value("SELECT count(*) FROM replica WHERE file_id = $1", log) == 0
    await world.run_all()
    assert await world.value("SELECT state FROM task WHERE id = $1", task.id) == "done"
    assert await wrong(world) == []
