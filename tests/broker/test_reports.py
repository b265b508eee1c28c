"""A pilot's news are applied once, from the pilot that has the job, and a lost run is tried again."""

from dataclasses import replace

from prodchain.pilot_agent.messages import Update

from .world import World, evgen, finished


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
    from prodchain.broker import jobs

    from .world import inside

    await world.submit(evgen(events=25))
    await world.agents()
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    await inside(world.pool, jobs.kill, spec.job, "user:ann", "not needed")
    (answer,) = await world.report("A-BATCH", "p1", Update(spec.job, "running"))
    assert (answer.command, answer.reason) == ("discard", "the job is cancelled: not needed")


async def test_a_log_piece_sent_twice_is_kept_once(world: World) -> None:
    await world.submit(evgen(events=25))
    await world.agents()
    spec = await world.acquire("A-BATCH")
    assert spec is not None
    for offset, text in ((0, "hello "), (0, "hello "), (6, "world")):
        await world.report("A-BATCH", "p1", Update(spec.job, "running", log_offset=offset, log=text))
    assert await world.value("SELECT string_agg(text, '' ORDER BY start) FROM job_log") == "hello world"
