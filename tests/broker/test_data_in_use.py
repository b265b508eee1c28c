"""What tasks and jobs use is not deleted under them; what is gone all the same is decided anew."""

from datetime import timedelta

import pytest

from prodchain.broker import orders, why
from prodchain.broker.database import Connection
from prodchain.broker.errors import BadRequest
from prodchain.broker.models import Task
from prodchain.catalog import badreplicas, datasets, deletion, hooks, purging, recount, replicas
from prodchain.catalog.errors import DatasetDeleted, DatasetNeeded
from prodchain.catalog.models import DatasetKind
from prodchain.catalog.names import parse_did

from .world import World, evgen, inside, sim

EVNT = "mc26.700001.Z.evgen.EVNT.v1"
NO_GRACE = timedelta()


async def at_b(world: World) -> tuple[Task, Task]:
    """Events made at A, to be simulated at B: the jobs wait for their copies."""
    first = await world.submit(evgen())
    await world.pool.execute("UPDATE queue SET status = 'drain' WHERE name = 'B-BATCH'")
    await world.run_all()
    await world.pool.execute("UPDATE queue SET status = CASE name WHEN 'B-BATCH' THEN 'online' ELSE 'drain' END")
    second = await world.submit(sim(files_per_job=2, destination="B-DISK"))
    await world.agents()
    assert await world.states(second) == ["assigned", "assigned"]
    return first, second


async def delete(world: World, dataset_id: int, grace: timedelta = NO_GRACE) -> None:
    await inside(world.pool, deletion.delete, dataset_id, "ann", grace)


async def test_what_a_task_reads_or_fills_is_needed_until_the_task_is_over(world: World) -> None:
    first, second = await at_b(world)
    dispatch = await world.value("SELECT min(id) FROM dataset WHERE kind = 'dispatch'")
    for dataset, words in (
        (first.output_id, rf"task {second.id} \(running\), which reads it"),
        (second.output_id, rf"task {second.id} \(running\), which fills it"),
        (dispatch, "the hold release:"),
    ):
        with pytest.raises(DatasetNeeded, match=words):
            await delete(world, dataset)
    await world.run_all()
    await delete(world, first.output_id)
    await delete(world, second.output_id)


async def test_a_sub_dataset_is_needed_while_its_task_fills_it(world: World) -> None:
    await world.submit(evgen(destination="B-DISK"))
    await world.agents()
    await world.run_one("A-BATCH")
    sub = await world.value("SELECT id FROM dataset WHERE kind = 'sub'")
    await world.move()
    with pytest.raises(DatasetNeeded, match="which fills it"):
        await delete(world, sub)


async def test_deleted_data_is_neither_read_nor_made_again_by_its_name(world: World) -> None:
    first = await world.submit(evgen())
    await world.run_all()
    killed = await world.submit(sim())
    await inside(world.pool, orders.kill, killed.id, "user:ann", "no need")
    await delete(world, first.output_id)
    with pytest.raises(DatasetDeleted):
        await world.submit(sim(output="mc26.700001.Z.simul.HITS.v2"))
    with pytest.raises(DatasetDeleted):
        await inside(world.pool, orders.retry, killed.id, "user:ann")


async def test_a_task_reads_the_version_that_it_names(world: World) -> None:
    await world.submit(evgen())
    await world.run_all()

    async def again(conn: Connection) -> None:
        new = await datasets.new_version(conn, parse_did(EVNT), "ann")
        await datasets.close(conn, new.id or 0)
        await datasets.create(conn, parse_did("user.ann.box"), DatasetKind.CONTAINER, "ann")
        await datasets.create(conn, parse_did(f"{EVNT}_dis1"), DatasetKind.DISPATCH, "prodchain")

    await inside(world.pool, again)
    old = await world.submit(sim(input=f"{EVNT}@1"))
    new = await world.submit(sim(output="mc26.700001.Z.simul.HITS.v2"))
    versions = await world.fetch("SELECT id FROM dataset WHERE name = $1 ORDER BY version", EVNT)
    assert [old.input_id, new.input_id] == [row["id"] for row in versions]
    assert (await world.submit(sim(input=f"mc26:{EVNT}@1"))).id == old.id
    for text, words in (("user.ann.box", "has no datasets"), (f"{EVNT}_dis1", "is a dispatch dataset")):
        with pytest.raises(BadRequest, match=words):
            await world.submit(sim(input=text, output="mc26.700001.Z.simul.HITS.v3"))
    await world.run_all()
    assert await world.value("SELECT count(*) FROM task WHERE state <> 'done'") == 0


async def test_copies_of_waiting_and_running_jobs_and_results_at_home_stay(world: World) -> None:
    first, second = await at_b(world)
    await world.move(3)
    await world.agents()
    b = await world.value("SELECT id FROM storage WHERE name = 'B-DISK'")
    a = await world.value("SELECT id FROM storage WHERE name = 'A-DISK'")
    files = [row["file_id"] for row in await world.fetch("SELECT file_id FROM replica WHERE storage_id = $1", b)]
    read = await inside(world.pool, hooks.ask_reads, b, files)
    assert set(read) == set(files) and all(words.endswith("reads it there") for words in read.values())
    home = await inside(world.pool, hooks.ask_reads, a, files)
    assert set(home.values()) == {f"there is where task {first.id} puts it"}
    await world.run_all()
    assert await inside(world.pool, hooks.ask_reads, b, files) == {}
    assert await world.states(second) == ["finished", "finished"]


async def test_after_the_jobs_the_dispatched_copies_are_a_cache_that_may_go(world: World) -> None:
    await at_b(world)
    await world.run_all()
    await world.pool.execute("UPDATE dataset SET closed_at = closed_at - interval '2 d' WHERE kind = 'dispatch'")
    assert await inside(world.pool, deletion.Expiry().step) > 0
    while await inside(world.pool, purging.purge):
        pass
    b = await world.value("SELECT id FROM storage WHERE name = 'B-DISK'")
    cached = "SELECT count(*) FROM replica WHERE storage_id = $1 AND tombstone_at <= now()"
    assert await world.value(cached, b) == 4
    await world.pool.execute("UPDATE storage SET capacity_bytes = 1, min_free_bytes = 1000")
    assert await inside(world.pool, purging.reap, b) == 4
    assert await world.value("SELECT count(*) FROM replica WHERE storage_id = $1", b) == 2, "the results stay"
    assert await world.value("SELECT count(*) FROM dataset WHERE kind = 'dispatch'") == 0
    assert await inside(world.pool, recount.check) == []


async def test_a_job_that_waits_for_a_lost_file_says_so(world: World) -> None:
    _, second = await at_b(world)
    a = await world.value("SELECT id FROM storage WHERE name = 'A-DISK'")
    job, file = (
        await world.fetch(
            "SELECT j.id, i.file_id FROM job j JOIN job_input i ON i.job_id = j.id WHERE task_id = $1 LIMIT 1",
            second.id,
        )
    )[0]
    await inside(world.pool, badreplicas.bad, a, [file], "ann", "it does not open")
    first, *_ = (await inside(world.pool, why.job_why, job))["reasons"]
    assert first["what"].endswith("it is lost, no good copy is left anywhere")
    assert f"prodchain job kill {job}" in first["remedy"]


async def test_a_copy_that_is_gone_sends_released_jobs_back_and_lets_others_wait_again(world: World) -> None:
    _, second = await at_b(world)
    b = await world.value("SELECT id FROM storage WHERE name = 'B-DISK'")
    await world.move(3)
    rows = await world.fetch("SELECT state FROM job WHERE task_id = $1 ORDER BY state", second.id)
    assert [row["state"] for row in rows] == ["activated", "assigned"]
    files = [row["file_id"] for row in await world.fetch("SELECT file_id FROM replica WHERE storage_id = $1", b)]
    await inside(world.pool, replicas.remove, b, files)
    assert sorted(await world.states(second)) == ["assigned", "defined"]
    assert await world.value("SELECT missing FROM hold WHERE holder LIKE 'release:%'") == 2
    await world.run_all()
    assert await world.states(second) == ["finished", "finished"]
    assert await inside(world.pool, recount.check) == []
