"""A pilot's news are applied once, from the pilot that has the job, and a lost run is tried again."""

import asyncio
from dataclasses import replace

from prodchain.broker import job_orders, leases
from prodchain.pilot_agent.messages import Acquire, Update

from .world import World, evgen, finished, inside


async def test_a_repeated_request_gets_the_same_job(world: World) -> None:
    await world.submit(evgen())
    await world.agents()
    first = await world.acquire("A-BATCH", request="r1")
    again = await world.acquire("A-BATCH", request="r1")
    other = await world.acquire("A-BATCH", request="r2")
    assert first is not None and again is not None and other is not None
    assert again.job == first.job != other.job


async def test_a_repeated_final_report_registers_nothing_twice(world: World) -> None:
    await world.submit(evgen(events=25))
    await world.agents()
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    for _ in range(3):
        (answer,) = await world.report("A-BATCH", "p1", finished(spec))
        assert answer.command == "continue"
    assert await world.value("SELECT count(*) FROM file") == 1
    assert await world.value("SELECT files FROM dataset") == 1


async def test_another_pilot_cannot_report_the_job(world: World) -> None:
    await world.submit(evgen(events=25))
    await world.agents()
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    (answer,) = await world.report("A-BATCH", "thief", finished(spec))
    assert answer.command == "discard"
    (answer,) = await world.report("B-BATCH", "p1", finished(spec))
    assert answer.command == "discard"
    assert await world.value("SELECT count(*) FROM file") == 0


async def test_a_lost_pilot_s_work_gets_a_new_attempt_and_its_late_report_is_discarded(world: World) -> None:
    task = await world.submit(evgen(events=25))
    await world.agents()
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    await world.expire(spec.job)
    await world.agents()
    assert (await world.states(task))[0] == "failed"
    (answer,) = await world.report("A-BATCH", "p1", finished(spec))
    assert answer.command == "discard" and "lost heartbeat" in answer.reason
    second = await world.acquire("A-BATCH") or await world.acquire("B-BATCH")
    assert second is not None
    assert second.outputs[0].lfn == spec.outputs[0].lfn.removesuffix(".1") + ".2"
    assert await world.value("SELECT count(*) FROM garbage") == 1


async def test_a_failing_payload_uses_up_its_attempts_and_the_task_fails_with_its_words(world: World) -> None:
    task = await world.submit(evgen(events=25, max_attempts=2))
    for _ in range(2):
        await world.agents()
        for queue in ("A-BATCH", "B-BATCH"):
            spec = await world.acquire(queue)
            if spec is not None:
                failed = Update(spec.job, "failed", exit_code=65, error="TRF_EXEC_FAIL: no event generated")
                await world.report(queue, "p1", failed)
    await world.agents()
    assert await world.states(task) == ["failed", "failed"]
    row = (await world.fetch("SELECT state, reason FROM task"))[0]
    assert (row["state"], row["reason"]) == ("failed", "none of 1 jobs finished")
    assert await world.value("SELECT error FROM job LIMIT 1") == "TRF_EXEC_FAIL: no event generated"
    assert await world.value("SELECT state FROM dataset") == "open"


async def test_a_success_without_its_output_is_a_failure(world: World) -> None:
    task = await world.submit(evgen(events=25))
    await world.agents()
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    (answer,) = await world.report("A-BATCH", "p1", replace(finished(spec), outputs=[]))
    assert answer.command == "discard"
    assert "is missing" in answer.reason
    assert (await world.states(task))[0] == "failed"


async def test_a_killed_job_tells_its_pilot_to_discard(world: World) -> None:
    await world.submit(evgen(events=25))
    await world.agents()
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    await inside(world.pool, job_orders.kill, spec.job, "user:ann", "not needed")
    (answer,) = await world.report("A-BATCH", "p1", Update(spec.job, "running"))
    assert (answer.command, answer.reason) == ("discard", "the job is cancelled: killed by ann: not needed")


async def test_a_log_piece_sent_twice_is_kept_once(world: World) -> None:
    await world.submit(evgen(events=25))
    await world.agents()
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    for offset, text in ((0, "hello "), (0, "hello "), (6, "world")):
        await world.report("A-BATCH", "p1", Update(spec.job, "running", log_offset=offset, log=text))
    assert await world.value("SELECT string_agg(text, '' ORDER BY start) FROM job_log") == "hello world"


async def test_without_a_server_nobody_is_called_silent_and_a_new_server_gives_all_time(world: World) -> None:
    task = await world.submit(evgen(events=25))
    await world.agents()
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    await world.pool.execute("UPDATE agent SET seen_at = now() - interval '1 minute' WHERE name = 'server'")
    await world.expire(spec.job)
    await world.agents()
    assert await world.states(task) == ["sent"]
    await inside(world.pool, leases.server_starts, 30.0)
    await world.agents()
    assert await world.states(task) == ["sent"]


async def test_a_pilot_that_stops_asks_only_for_what_it_may_have_got(world: World) -> None:
    await world.submit(evgen(events=25))
    await world.agents()
    queue = await world.value("SELECT id FROM queue WHERE name = 'A-BATCH'")
    ask = Acquire("p1", "r1", "node", 1, 1000, remaining_s=0, wait_s=0)
    assert (await world.dispatcher.acquire(queue, ask)).jobs == []
    taken = await world.acquire("A-BATCH", request="r1")
    assert taken is not None
    assert (await world.dispatcher.acquire(queue, ask)).jobs[0].job == taken.job


async def test_a_parked_request_that_came_twice_gets_one_job(world: World) -> None:
    queue = await world.value("SELECT id FROM queue WHERE name = 'A-BATCH'")
    await world.dispatcher.start()
    ask = Acquire("p1", "r1", "node", 1, 1000, remaining_s=3600, wait_s=5)
    parked = [asyncio.create_task(world.dispatcher.acquire(queue, ask)) for _ in range(2)]
    await asyncio.sleep(0.3)
    await world.submit(evgen())
    await world.agents()
    answers = await asyncio.gather(*parked)
    assert len({answer.jobs[0].job for answer in answers}) == 1
    assert await world.value("SELECT count(*) FROM lease") == 1


async def test_a_request_takes_one_job_whatever_plan_the_database_chooses(world: World) -> None:
    """Nested loops read the head of the queue once for each row, so a limit inside them is no limit."""
    await world.submit(evgen(events=200))
    await world.agents()
    ready = "SELECT count(*) FROM ready r JOIN queue q ON q.id = r.queue_id WHERE q.name = 'A-BATCH'"
    before = await world.value(ready)
    assert before >= 3
    database = await world.value("SELECT current_database()")
    for plan in ("hashjoin", "mergejoin", "hashagg", "material", "sort"):
        await world.pool.execute(f"ALTER DATABASE {database} SET enable_{plan} = off")
    await world.pool.expire_connections()
    assert await world.acquire("A-BATCH") is not None
    assert await world.value(ready) == before - 1


async def test_a_server_starts_while_another_one_serves_heartbeats(world: World) -> None:
    await world.pool.execute("UPDATE queue SET status = 'offline' WHERE name = 'B-BATCH'")
    await world.submit(evgen(events=50))
    await world.agents()
    first, second = sorted([(await world.acquire("A-BATCH", f"p{n}")).job for n in range(2)])  # type: ignore[union-attr]
    await world.expire(first)  # in the table it comes behind the other now
    one = "SELECT FROM lease WHERE job_id = $1 FOR UPDATE"
    async with world.pool.acquire() as conn, conn.transaction():
        await conn.execute(one, first)
        starting = asyncio.create_task(inside(world.pool, leases.server_starts, 30.0))
        await asyncio.sleep(0.3)
        await conn.execute(one, second)
    await starting
