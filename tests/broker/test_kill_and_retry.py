"""Killing and trying again: what is made stays made and is made once."""

import pytest

from prodchain.broker import job_orders, leases, orders, placement, tasks, watching
from prodchain.broker.bunches import Pace
from prodchain.broker.errors import WrongState
from prodchain.pilot_agent.messages import Update

from .world import World, evgen, finished, inside, sim


async def test_outputs_on_their_way_outlive_the_kill_and_are_not_made_again(world: World) -> None:
    task = await world.submit(evgen(events=50))
    await world.agents()
    assert await world.run_one("B-BATCH") is not None
    await inside(world.pool, orders.kill, task.id, "user:ann", "no need")
    assert sorted(await world.states(task)) == ["cancelled", "transferring"]

    await inside(world.pool, orders.retry, task.id, "user:ann")
    await world.run_all()
    assert sorted(await world.states(task)) == ["cancelled", "finished", "finished"]
    assert await world.value("SELECT state || events FROM dataset WHERE id = $1", task.output_id) == "closed50"
    assert await world.value("SELECT count(*) FROM hold") == 0


async def test_a_job_whose_outputs_are_registered_cannot_be_killed(world: World) -> None:
    await world.submit(evgen(events=25))
    await world.pool.execute("UPDATE queue SET status = 'drain' WHERE name = 'A-BATCH'")
    await world.agents()
    spec = await world.run_one("B-BATCH")
    assert spec is not None
    with pytest.raises(WrongState, match="transferring already"):
        await inside(world.pool, job_orders.kill, spec.job, "user:ann", "no need")


async def test_an_attempt_defined_during_the_kill_is_swept_or_taken_back_by_a_retry(world: World) -> None:
    task = await world.submit(evgen(events=50))
    await world.agents()
    await inside(world.pool, orders.kill, task.id, "user:ann", "no need")
    again = await world.value("SELECT id FROM job WHERE number = 1")
    await world.pool.execute(
        "INSERT INTO job (task_id, number, attempt, events, work)"
        " SELECT task_id, number, 2, events, work FROM job WHERE id = $1",
        again,
    )
    assert await inside(world.pool, watching.left_behind) == [task.id]
    assert (await inside(world.pool, placement.place, task.id, Pace(1.0, 30.0))).placed == 0
    await inside(world.pool, orders.retry, task.id, "user:ann")
    assert await inside(world.pool, watching.sweep, task.id) == 0
    await world.run_all()
    assert await world.value("SELECT max(attempt) FROM job") == 2
    assert await world.value("SELECT state || events FROM dataset WHERE id = $1", task.output_id) == "closed50"


async def test_a_task_that_is_done_at_its_second_try_wakes_the_tasks_that_wait_for_it(world: World) -> None:
    first = await world.submit(evgen(events=50, max_attempts=1))
    second = await world.submit(sim(files_per_job=5))
    await world.agents()
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    await world.report("A-BATCH", "p1", Update(spec.job, "failed", error="no space"))
    await world.run_all()
    assert await world.value("SELECT state FROM task WHERE id = $1", first.id) == "finished"
    assert await world.states(second) == []

    await inside(world.pool, orders.retry, first.id, "user:ann")
    await world.run_all()
    assert await world.value("SELECT string_agg(state, ' ') FROM task") == "done done"
    assert await world.states(second) == ["finished"]


async def test_a_pilot_that_calls_before_the_watch_acts_keeps_its_job(world: World) -> None:
    await world.submit(evgen(events=25))
    await world.agents()
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    await world.expire(spec.job)
    await world.report("A-BATCH", "p1", Update(spec.job, "running"))
    assert await inside(world.pool, leases.reclaim) == 0


async def test_news_that_were_overtaken_do_not_delete_a_registered_output(world: World) -> None:
    await world.submit(evgen(events=25))
    await world.agents()
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    await world.report("A-BATCH", "p1", finished(spec))
    for late in ("running", "holding", "failed"):
        (answer,) = await world.report("A-BATCH", "p1", Update(spec.job, late))
        assert answer.command == "continue"


async def test_a_report_that_the_catalog_refuses_fails_the_job_in_words(world: World) -> None:
    task = await world.submit(evgen(events=25))
    await world.agents()
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    news = finished(spec)
    news.outputs[0].adler32 = "no\0sum"
    (answer,) = await world.report("A-BATCH", "p1", news)
    assert answer.command == "discard" and "cannot have" in answer.reason
    assert (await world.states(task))[0] == "failed"
    assert await world.value("SELECT count(*) FROM file") == 0


async def test_texts_and_numbers_that_the_database_cannot_keep_are_cleaned(world: World) -> None:
    await world.submit(evgen(events=25))
    await world.agents()
    spec = await world.acquire("A-BATCH", pilot="p\0")
    assert spec is not None
    broken = Update(spec.job, "failed", exit_code=2**40, error="it\0broke\ud800", log="a\0\ud800", metrics={"x": 1.0})
    await world.report("A-BATCH", "p\0", broken)
    assert await world.value("SELECT error FROM job WHERE id = $1", spec.job) == "it\N{REPLACEMENT CHARACTER}broke?"


async def test_a_file_whose_events_are_unknown_is_one_piece_that_takes_all(world: World) -> None:
    first = await world.submit(evgen(events=25))
    second = await world.submit(
        sim(events_per_job=10, command=["Sim_tf.py", "--maxEvents={events}", "--outputHITSFile={output}"])
    )
    await world.agents()
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    await world.report("A-BATCH", "p1", finished(spec, events=0))
    await world.agents()
    assert len(await world.states(second)) == 1
    command = await world.value("SELECT spec -> 'command' ->> 1 FROM job WHERE task_id = $1", second.id)
    assert command == "--maxEvents=-1"
    assert first.id != second.id


async def test_all_files_go_into_one_job_however_large_the_group(world: World) -> None:
    await world.submit(evgen())
    second = await world.submit(sim(files_per_job=2_000_000))
    await world.run_all()
    assert await world.states(second) == ["finished"]


async def test_a_file_of_too_many_pieces_fails_the_task_in_words(world: World) -> None:
    await world.submit(evgen(events=25))
    second = await world.submit(sim(events_per_job=1))
    await world.agents()
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    await world.report("A-BATCH", "p1", finished(spec, events=10**9))
    await world.agents()
    row = (await world.fetch("SELECT state, reason FROM task WHERE id = $1", second.id))[0]
    assert row["state"] == "failed" and "1000000000 jobs of 1" in row["reason"]


async def test_a_dataset_that_a_task_fills_is_not_closed_by_hand(world: World) -> None:
    task = await world.submit(evgen())
    with pytest.raises(WrongState, match=f"is made by task {task.id}"):
        await inside(world.pool, tasks.refuse_to_close, task.output_id, "its name")
    await world.run_all()
    await inside(world.pool, tasks.refuse_to_close, task.output_id, "its name")


async def test_a_run_that_the_system_loses_after_a_retry_does_not_count(world: World) -> None:
    task = await world.submit(evgen(events=25, max_attempts=1))

    async def run() -> tuple[str, int]:
        await world.agents()
        for queue in ("A-BATCH", "B-BATCH"):
            if spec := await world.acquire(queue):
                return queue, spec.job
        raise AssertionError("nothing to run")

    async def fail() -> None:
        queue, job = await run()
        await world.report(queue, "p1", Update(job, "failed", error="it broke"))
        await world.agents()

    await fail()
    assert task.id is not None
    await inside(world.pool, orders.retry, task.id, "user:ann")
    _, job = await run()
    await world.expire(job)
    await fail()
    assert await world.states(task) == ["failed"] * 3  # a retry is one run that counts, as before
