"""Runs that fail: the rules decide what their work gets."""

import asyncpg

from prodchain.broker import orders
from prodchain.broker.recovery import book
from prodchain.pilot_agent.messages import Update

from .world import World, evgen, finished, inside, sim


async def failed(world: World, error: str, exit_code: int | None = None) -> None:
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    await world.report("A-BATCH", "p1", Update(spec.job, "failed", error=error, exit_code=exit_code))


async def newest(world: World) -> asyncpg.Record:
    rows = await world.fetch(
        "SELECT j.*, r.memory_mb FROM job j JOIN requirement r ON r.id = j.requirement_id ORDER BY j.id DESC LIMIT 1"
    )
    return rows[0]


async def test_the_next_run_gets_more_memory_and_says_why(world: World) -> None:
    await world.submit(evgen(events=25))
    await world.agents()
    await failed(world, "payload was killed by signal 9 (SIGKILL)")
    job = await newest(world)
    assert (job["attempt"], job["memory_mb"], job["state"]) == (2, 1500, "defined")
    assert "rule out-of-memory; attempt 2 of 3 follows; with 1500 MB instead of 1000" in job["reason"]
    first = await world.fetch("SELECT error, reason FROM job WHERE attempt = 1")
    assert first[0]["error"] == "payload was killed by signal 9 (SIGKILL)"
    assert first[0]["reason"].endswith("[rule out-of-memory; attempt 2 of 3 follows; with 1500 MB instead of 1000]")


async def test_work_that_fails_the_same_way_every_time_is_not_tried_again(world: World) -> None:
    task = await world.submit(evgen(events=50))
    await world.agents()
    await failed(world, "payload failed with exit code 2 (unrecognized arguments: --x)", 2)
    await world.run_all()
    assert sorted(await world.states(task)) == ["failed", "finished"]
    assert await world.value("SELECT state FROM task") == "finished"


async def test_a_piece_that_is_too_large_comes_back_as_two_and_every_event_is_made_once(world: World) -> None:
    await inside(world.pool, book.apply, "[rule.big]\nsmaller = true", "admin", "try")
    task = await world.submit(evgen(events=50))
    await world.agents()
    await failed(world, "too much")
    rows = await world.fetch("SELECT number, attempt, events, work FROM job WHERE state = 'defined' ORDER BY number")
    assert [(row["number"], row["attempt"], row["events"]) for row in rows] == [(1, 2, 13), (3, 1, 12)]
    assert len({row["work"]["seed"] for row in rows}) == 2
    await world.run_all()
    assert await world.value("SELECT state || events FROM dataset WHERE id = $1", task.output_id) == "closed50"
    assert await world.value("SELECT numbers FROM task") == 3


async def test_files_are_cut_between_files(world: World) -> None:
    await world.submit(evgen())
    await world.run_all()
    await inside(world.pool, book.apply, "[rule.big]\nsmaller = true", "admin", "try")
    task = await world.submit(sim(files_per_job=4))
    await world.agents()
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    await world.report("A-BATCH", "p1", Update(spec.job, "failed", error="too much"))
    rows = await world.fetch(
        "SELECT j.number, j.events, (SELECT count(*) FROM job_input i WHERE i.job_id = j.id) AS files"
        " FROM job j WHERE task_id = $1 AND state = 'defined' ORDER BY number",
        task.id,
    )
    assert [tuple(row.values()) for row in rows] == [(1, 50, 2), (2, 50, 2)]
    await world.run_all()
    assert await world.value("SELECT state || events FROM dataset WHERE id = $1", task.output_id) == "closed100"


async def test_a_lost_pilot_costs_no_attempt_and_the_queue_is_avoided(world: World) -> None:
    await world.submit(evgen(events=25, max_attempts=1))
    await world.agents()
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    await world.expire(spec.job)
    await world.agents()
    job = await newest(world)
    queue = await world.value("SELECT id FROM queue WHERE name = 'A-BATCH'")
    assert (job["attempt"], job["spared"], job["avoid"]) == (2, 1, [queue])


async def test_other_rules_are_in_force_at_once_and_the_journal_has_it(world: World) -> None:
    text = "[rule.never]\nretry = false"
    outcome = await inside(world.pool, book.apply, text, "user:root", "too many")
    assert outcome.changes["never"] == [None, {"retry": False}]
    assert outcome.changes["out-of-memory"][1] is None
    again = await inside(world.pool, book.apply, text, "user:root", "too many")
    assert (again.changed, again.note) == (False, "the same rules are in force already")
    assert await world.value("SELECT count(*) FROM journal WHERE object = 'rules'") == 1
    await world.submit(evgen(events=25))
    await world.agents()
    await failed(world, "x")
    assert await world.value("SELECT count(*) FROM job") == 1


async def test_a_run_of_an_ended_task_just_ends(world: World) -> None:
    task = await world.submit(evgen(events=25))
    await world.agents()
    spec = await world.acquire("A-BATCH")
    assert spec is not None and task.id is not None
    await inside(world.pool, orders.kill, task.id, "user:ann", "no need")
    await world.report("A-BATCH", "p1", finished(spec, 25))
    assert await world.value("SELECT count(*) FROM job") == 1


async def test_work_that_always_fails_is_not_cut_without_end(world: World) -> None:
    await inside(world.pool, book.apply, "[rule.big]\nsmaller = true", "admin", "try")
    task = await world.submit(evgen(events=64, events_per_job=64))
    await world.agents()
    for _ in range(40):
        spec = await world.acquire("A-BATCH") or await world.acquire("B-BATCH", "p1")
        if spec is None:
            break
        queue = await world.value(
            "SELECT q.name FROM job j JOIN queue q ON q.id = queue_id WHERE j.id = $1", spec.job
        )
        await world.report(queue, "p1", Update(spec.job, "failed", error="too much"))
        await world.agents()
    assert len(await world.states(task)) == 1 + 2 + 4  # three attempts, as for work in one piece
