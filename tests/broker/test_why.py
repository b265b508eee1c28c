"""Why tells the truth: a reason in each state, what is missing, the rank, the cheapest change, and the past."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from prodchain.broker import job_orders, orders, queue_orders, throttling, why, workquotas
from prodchain.broker.errors import BadRequest, NotFound
from prodchain.broker.models import QueueStatus, Task
from prodchain.catalog import datasets
from prodchain.catalog.models import DatasetKind
from prodchain.catalog.names import parse_did
from prodchain.pilot_agent.messages import Acquire, Update

from .world import World, evgen, inside, sim


async def job_why(world: World, job: int, at: datetime | None = None) -> dict[str, Any]:
    answer: dict[str, Any] = await inside(world.pool, why.job_why, job, at)
    assert all(reason["what"] for reason in answer["reasons"]) and answer["reasons"]
    return answer


async def task_why(world: World, task: Task, at: datetime | None = None) -> dict[str, Any]:
    answer: dict[str, Any] = await inside(world.pool, why.task_why, task.id, at)
    assert all(reason["what"] for reason in answer["reasons"]) and answer["reasons"]
    return answer


def what(answer: dict[str, Any]) -> str:
    return "\n".join(reason["what"] for reason in answer["reasons"])


async def first_job(world: World, task: Task) -> int:
    number: int = await world.value("SELECT min(id) FROM job WHERE task_id = $1", task.id)
    return number


async def now(world: World) -> datetime:
    at: datetime = await world.value("SELECT clock_timestamp()")
    return at


async def call(world: World, queue: str, memory_mb: int, pilot: str = "small") -> None:
    """A pilot asks for work."""
    queue_id = await world.value("SELECT id FROM queue WHERE name = $1", queue)
    await world.dispatcher.acquire(queue_id, Acquire(pilot, f"r-{pilot}", "node", 1, memory_mb, 86400, wait_s=0))


async def test_a_refused_job_names_the_cheapest_change_of_all_queues(world: World) -> None:
    await world.pool.execute("UPDATE queue SET memory_mb = 3000 WHERE name = 'B-BATCH'")
    task = await world.submit(evgen(memory_mb=4000))
    await world.agents()
    answer = await job_why(world, await first_job(world, task))
    assert answer["state"] == "defined"
    assert "A-BATCH: offers 2000 MB, the job needs 4000 MB" in what(answer)
    best = answer["cheapest"]
    assert (best["who"], best["queue"], best["change"]) == ("user", "B-BATCH", {"task": {"memory_mb": 3000}})
    assert best["command"] == f"prodchain task set {task.id} memory_mb=3000"
    assert [verdict["passed"] for verdict in answer["verdicts"]] == [False, False]
    of_task = await task_why(world, task)
    assert of_task["cheapest"] == best
    assert of_task["reasons"][0]["jobs"] == 4


async def test_a_queue_that_is_drained_is_brought_back_by_its_operator(world: World) -> None:
    for queue in ("A-BATCH", "B-BATCH"):
        await inside(world.pool, queue_orders.order, queue, QueueStatus.DRAIN, "user:op", "new disks")
    task = await world.submit(evgen())
    await world.agents()
    best = (await job_why(world, await first_job(world, task)))["cheapest"]
    assert (best["who"], best["command"]) == ("operator", f"prodchain queue online {best['queue']}")


async def test_each_state_of_a_job_has_its_reason(world: World) -> None:
    task = await world.submit(evgen(events=25))
    await inside(world.pool, lambda conn: conn.execute("UPDATE queue SET status = 'offline' WHERE name = 'A-BATCH'"))
    assert "agents" in what(await task_why(world, task)) or "registered" in what(await task_why(world, task))
    await world.agents()
    job = await first_job(world, task)
    answer = await job_why(world, job)
    assert "no pilot of B-BATCH has called" in what(answer)
    assert answer["cheapest"]["change"] == {"pilots": {"queue": "B-BATCH"}}

    spec = await world.acquire("B-BATCH")
    assert spec is not None
    assert "pilot p1 got it and has not reported yet" in what(await job_why(world, job))
    await world.report("B-BATCH", "p1", Update(job, "running"))
    running = await job_why(world, job)
    assert "pilot p1 runs it" in what(running) and "its lease runs" in what(running)
    assert running["cheapest"] is None
    await world.expire(job)
    assert "does not call any more" in what(await job_why(world, job))
    await world.report("B-BATCH", "p1", Update(job, "running"))
    await world.report("B-BATCH", "p1", Update(job, "failed", error="No module named x"))
    failed = await job_why(world, job)
    assert "rule no-such-program" in what(failed) and "its work goes on as job" in what(failed)
    again = await world.value("SELECT max(id) FROM job")
    await inside(world.pool, job_orders.kill, again, "user:ann", "not that one")
    killed = await job_why(world, again)
    assert "killed by ann: not that one" in what(killed)
    assert killed["cheapest"]["command"] == f"prodchain task retry {task.id}"


async def test_a_job_on_its_way_says_which_files_are_missing_and_where_they_come_from(world: World) -> None:
    first = await world.submit(evgen())
    second = await world.submit(sim())
    await world.agents()
    await world.run_one("B-BATCH")
    waits = await task_why(world, second)
    assert f"still being made by task {first.id}" in what(waits)
    await world.pool.execute("UPDATE queue SET status = 'drain' WHERE name = 'B-BATCH'")
    await world.agents()
    job = await first_job(world, second)
    answer = await job_why(world, job)
    (missing,) = answer["missing"]
    name = await world.value("SELECT f.scope || ':' || f.name FROM file f JOIN job_input i ON i.file_id = f.id")
    assert (missing["file"], missing["storage"], missing["state"]) == (name, "A-DISK", "new")
    assert missing["bytes"] > 0

    await world.pool.execute(
        "UPDATE transfer SET phase = 'waiting', error = 'disk full', attempts = 2,"
        " not_before = now() + interval '1 h'"
    )
    failing = await job_why(world, job)
    assert failing["missing"][0]["error"] == "disk full" and "disk full" in what(failing)
    assert failing["missing"][0]["next_try"] is not None
    copy = await job_why(world, await world.value("SELECT id FROM job WHERE state = 'transferring'"))
    assert "its output" in what(copy) and copy["missing"][0]["storage"] == "A-DISK"


async def test_a_job_that_no_pilot_suits_says_what_they_offer(world: World) -> None:
    await world.pool.execute("UPDATE queue SET memory_mb = 8000 WHERE name = 'B-BATCH'")
    task = await world.submit(evgen(memory_mb=4000))
    await world.agents()
    await call(world, "B-BATCH", 2000)
    answer = await job_why(world, await first_job(world, task))
    assert "4000 MB of memory (offered: 2000 MB)" in what(answer)
    assert answer["cheapest"]["change"] == {"task": {"memory_mb": 2000}}
    assert answer["rank"] is None


async def test_the_rank_counts_what_a_like_pilot_would_take_before(world: World) -> None:
    await world.pool.execute("UPDATE queue SET status = 'drain' WHERE name = 'B-BATCH'")
    large = await world.submit(evgen(output="user.ann.large", memory_mb=1900))
    small = await world.submit(evgen(priority=2000))
    await world.agents()
    last = await world.value("SELECT max(id) FROM job WHERE task_id = $1", small.id)
    await world.pool.execute(
        "INSERT INTO pilot (name, queue_id, host, offer) SELECT 'p', id, 'n', $1 FROM queue WHERE name = 'A-BATCH'",
        {"cores": 1, "memory_mb": 2000, "remaining_s": 86400, "disk_mb": 20000, "architecture": "x86_64", "jobs": 1},
    )
    assert (await job_why(world, last))["rank"] == {"place": 4, "of": 8, "ahead_in_share": 3, "more_than": []}
    assert (await job_why(world, await first_job(world, large)))["rank"]["place"] == 5
    await world.pool.execute("UPDATE pilot SET offer = offer || '{\"memory_mb\": 1500}'")
    assert (await job_why(world, last))["rank"]["of"] == 4, "such a pilot takes no large ones"


async def test_the_rank_goes_by_shares(world: World) -> None:
    await world.pool.execute("UPDATE queue SET status = 'drain' WHERE name = 'B-BATCH'")
    await world.submit(evgen(events=225))
    analysis = await world.submit(evgen(output="user.ann.x", events=225, activity="analysis"))
    await world.agents()
    await call(world, "A-BATCH", 2000, "one")
    await call(world, "A-BATCH", 2000, "two")
    last = await world.value("SELECT max(id) FROM job WHERE task_id = $1", analysis.id)
    answer = await job_why(world, last)
    rank = answer["rank"]
    assert rank["of"] == await world.value("SELECT count(*) FROM ready")
    assert rank["place"] > rank["ahead_in_share"] + 1, "production has turns before"
    assert rank["place"] <= rank["of"]


async def test_a_long_queue_is_counted_to_a_limit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from prodchain.broker.why import rank

    monkeypatch.setattr(rank, "COUNTED", 3)
    await world.pool.execute("UPDATE queue SET status = 'drain' WHERE name = 'B-BATCH'")
    task = await world.submit(evgen(events=250))
    await world.agents()
    await world.pool.execute("INSERT INTO pilot (name, queue_id, host) SELECT 'p', id, 'n' FROM queue LIMIT 1")
    await call(world, "A-BATCH", 2000)
    last = await world.value("SELECT max(id) FROM job WHERE task_id = $1", task.id)
    found = (await job_why(world, last))["rank"]
    assert found == {"place": 4, "of": 3, "ahead_in_share": 3, "more_than": ["place", "of", "ahead_in_share"]}


async def test_tasks_say_what_they_wait_for(world: World) -> None:
    await inside(world.pool, datasets.create, parse_did("user.ann.mine"), DatasetKind.USER, "ann")
    task = await world.submit(sim(input="user.ann.mine"))
    await world.agents()
    answer = await task_why(world, task)
    assert "its input user.ann:user.ann.mine is open with 0 files" in what(answer)
    assert answer["cheapest"]["command"] == "prodchain dataset close user.ann.mine"

    await inside(world.pool, orders.pause, task.id, "user:bob", "the beam is off")
    paused = await task_why(world, task)
    assert "it is paused by bob: the beam is off" in what(paused)
    assert paused["cheapest"]["command"] == f"prodchain task resume {task.id}"


async def test_a_throttled_task_says_its_quota(world: World) -> None:
    await inside(world.pool, workquotas.set_limits, "user:ann", {"queued": 1}, "user:op")
    task = await world.submit(evgen())
    await world.agents()
    await inside(world.pool, throttling.throttle)
    assert "quota of user:ann" in what(await task_why(world, task))
    at = await now(world)
    await inside(world.pool, workquotas.set_limits, "user:ann", {"queued": None}, "user:op")
    await inside(world.pool, throttling.throttle)
    assert "quota" not in what(await task_why(world, task))
    assert "quota of user:ann" in what(await task_why(world, task, at))


async def test_scouts_say_what_they_do(world: World) -> None:
    task = await world.submit(evgen(scouts=2))
    await world.agents()
    answer = await task_why(world, task)
    assert "its 2 scouts are measured first" in what(answer) and "2 activated" in what(answer)


async def test_what_was_true_yesterday_is_told_whatever_is_true_today(world: World) -> None:
    task = await world.submit(evgen(memory_mb=4000, events=25))
    await world.agents()
    job = await first_job(world, task)
    refused, before = await now(world), await job_why(world, job)
    # Everything is otherwise today: more memory, other names of reasons, the job is done.
    await world.pool.execute("UPDATE queue SET memory_mb = 9000 WHERE name = 'A-BATCH'")
    await world.agents()
    assert (await job_why(world, job))["state"] == "activated"
    waiting = await now(world)
    spec = await world.acquire("A-BATCH")
    assert spec is None, "the pilot of this test offers less than the job needs"
    await call(world, "A-BATCH", 9000, "big")
    had = await now(world)
    await inside(world.pool, orders.kill, task.id, "user:ann", "no need")
    await world.pool.execute("UPDATE queue SET memory_mb = 100")

    then = await job_why(world, job, refused)
    assert then["state"] == "defined"
    assert what(then) == what(before) and then["cheapest"] == before["cheapest"]
    assert then["verdicts"] == before["verdicts"]
    then = await job_why(world, job, waiting)
    assert then["state"] == "activated" and "it waited for a pilot of A-BATCH" in what(then)
    assert "not on record" in what(then)
    assert {verdict["queue"]: verdict["passed"] for verdict in then["verdicts"]} == {
        "A-BATCH": True,
        "B-BATCH": False,
    }
    assert "pilot big had it at A-BATCH, sent" in what(await job_why(world, job, had))
    assert "was killed: no need (ann)" in what(await job_why(world, job, await now(world)))
    assert "1 defined, e.g. job" in what(await task_why(world, task, refused))
    assert (await task_why(world, task, waiting))["state"] == "running"


async def test_what_was_missing_then_is_told_after_it_has_come(world: World) -> None:
    await world.submit(evgen())
    second = await world.submit(sim())
    await world.agents()
    await world.run_one("B-BATCH")
    await world.pool.execute("UPDATE queue SET status = 'drain' WHERE name = 'B-BATCH'")
    await world.agents()
    job = await first_job(world, second)
    at = await now(world)
    await world.move()
    await world.agents()
    assert (await job_why(world, job))["missing"] == []
    then = await job_why(world, job, at)
    assert then["state"] == "assigned"
    (missing,) = then["missing"]
    assert missing["storage"] == "A-DISK" and "and arrived at" in missing["words"]
    (part,) = [
        reason["what"] for reason in (await task_why(world, second, at))["reasons"] if "job" in reason["what"]
    ][-1:]
    assert "1 assigned" in part


async def test_what_is_not_on_record_any_more_is_said(world: World) -> None:
    task = await world.submit(evgen(memory_mb=4000, events=25))
    await world.agents()
    job, at = await first_job(world, task), await now(world)
    await world.pool.execute("DELETE FROM assignment")
    await world.pool.execute("DELETE FROM round")
    answer = await job_why(world, job, at)
    assert "what that said of it is not on record" in what(answer)
    assert answer["verdicts"] == [] and answer["cheapest"] is None


async def test_there_is_no_answer_for_times_before_and_times_to_come(world: World) -> None:
    task = await world.submit(evgen())
    await world.agents()
    with pytest.raises(NotFound, match="there was no task"):
        await task_why(world, task, datetime.now(UTC) - timedelta(days=1))
    with pytest.raises(NotFound, match="there was no job"):
        await job_why(world, await first_job(world, task), datetime.now(UTC) - timedelta(days=1))
    with pytest.raises(BadRequest, match="in the future"):
        await task_why(world, task, datetime.now(UTC) + timedelta(days=1))


async def test_the_answer_about_a_large_task_reads_few_of_its_jobs(world: World) -> None:
    task = await world.submit(evgen(events=100, events_per_job=100))
    await world.agents()
    await world.pool.execute(
        """
        INSERT INTO job (task_id, number, work, actor, reason, requirement_id)
        SELECT $1, n, '{}', 'test', 'test', requirement_id FROM job CROSS JOIN generate_series(2, 20000) n
        """,
        task.id,
    )
    await world.pool.execute("ANALYZE")
    read = "SELECT sum(seq_tup_read + idx_tup_fetch)::int FROM pg_stat_xact_all_tables WHERE relname = ANY($1)"
    async with world.pool.acquire() as conn, conn.transaction():
        tables = ["job", "event", "mass_event", "unplaced", "ready"]
        before = await conn.fetchval(read, tables)
        answer = await why.task_why(conn, task.id or 0)
        after = await conn.fetchval(read, tables)
    assert "19999 defined" in what(answer)
    assert after - before < 6000
