"""A task from submission to the closed dataset, with the steps of agents, pilots and movers by hand."""

from prodchain.broker import sitefile, sites, why

from .world import SITES, World, evgen, inside, sim


async def test_a_task_without_input_makes_its_jobs_and_ends_with_a_closed_dataset(world: World) -> None:
    task = await world.submit(evgen())
    await world.run_all()

    assert await world.states(task) == ["finished"] * 4
    assert await world.value("SELECT state FROM task WHERE id = $1", task.id) == "done"
    dataset = (await world.fetch("SELECT * FROM dataset WHERE id = $1", task.output_id))[0]
    assert (dataset["state"], dataset["files"], dataset["events"]) == ("closed", 4, 100)


async def test_a_second_step_starts_on_the_first_files_of_the_first(world: World) -> None:
    first = await world.submit(evgen())
    second = await world.submit(sim())
    await world.agents()
    assert await world.states(second) == []

    await world.run_one("A-BATCH")
    await world.agents()
    assert len(await world.states(second)) == 1
    assert "running" not in await world.states(first)

    await world.run_all()
    assert await world.states(second) == ["finished"] * 4
    assert await world.value("SELECT state FROM task WHERE id = $1", second.id) == "done"


async def test_outputs_made_away_travel_home_through_a_sub_dataset(world: World) -> None:
    task = await world.submit(evgen())
    await world.agents()
    spec = await world.run_one("B-BATCH")
    assert spec is not None
    assert "transferring" in await world.states(task)
    sub = (await world.fetch("SELECT * FROM dataset WHERE kind = 'sub'"))[0]
    assert (sub["name"], sub["files"]) == ("mc26.700001.Z.evgen.EVNT.v1_sub.B-DISK", 1)

    await world.move()
    assert (await world.value("SELECT state FROM job WHERE id = $1", spec.job)) == "finished"


async def test_a_job_waits_for_its_dispatch_dataset_and_says_so(world: World) -> None:
    await world.submit(evgen())
    second = await world.submit(sim())
    await world.agents()
    await world.run_one("B-BATCH")
    await world.pool.execute("UPDATE queue SET status = 'drain' WHERE name = 'B-BATCH'")
    await world.agents()

    job = (await world.fetch("SELECT id, state FROM job WHERE task_id = $1", second.id))[0]
    assert job["state"] == "assigned"
    dispatch = (await world.fetch("SELECT * FROM dataset WHERE kind = 'dispatch'"))[0]
    assert (dispatch["state"], dispatch["files"]) == ("closed", 1)
    answer = await inside(world.pool, why.job_why, job["id"])
    assert "is not at A-DISK yet" in answer["reasons"][0]["what"]
    verdicts = {verdict["queue"]: verdict for verdict in answer["verdicts"]}
    assert verdicts["B-BATCH"]["reason"] == "the queue is drain"

    await world.move()
    assert await world.value("SELECT state FROM job WHERE id = $1", job["id"]) == "activated"


async def test_counters_agree_with_the_jobs(world: World) -> None:
    await world.submit(evgen())
    await world.submit(sim())
    await world.run_all()
    counted = await world.fetch(
        "SELECT task_id, state, sum(jobs)::int AS n FROM job_count GROUP BY 1, 2 HAVING sum(jobs) <> 0 ORDER BY 1, 2"
    )
    real = await world.fetch("SELECT task_id, state, count(*)::int AS n FROM job GROUP BY 1, 2 ORDER BY 1, 2")
    assert [tuple(row) for row in counted] == [tuple(row) for row in real]


async def test_a_queue_that_the_sites_file_drains_takes_no_new_job(world: World) -> None:
    drained = SITES.replace('storage = "B-DISK"', 'storage = "B-DISK"\nstatus = "drain"')
    changes = await inside(world.pool, sites.apply, sitefile.parse(drained, world.folder))
    assert changes == ["queue B-BATCH: status 'online' -> 'drain'"]
    await world.submit(evgen())
    await world.agents()
    queues = await world.fetch("SELECT DISTINCT q.name FROM job j JOIN queue q ON q.id = j.queue_id")
    assert [row["name"] for row in queues] == ["A-BATCH"]
