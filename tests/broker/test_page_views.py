"""What pages show of a task, job or queue beside its view: errors, stories, details, time, health."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from prodchain.broker import (
    attempts,
    error_views,
    job_views,
    orders,
    queue_orders,
    queue_views,
    share_views,
    story_views,
    task_changes,
    task_details,
    task_spans,
    task_views,
    why,
)
from prodchain.broker.database import Connection
from prodchain.broker.errors import NotFound
from prodchain.broker.models import QueueStatus, Task
from prodchain.broker.task_details import expected_end
from prodchain.pilot_agent.messages import JobSpec, Update

from .world import World, evgen, finished, inside, sim


async def read(world: World, view: Callable[..., Awaitable[Any]], *keys: Any, **filters: Any) -> Any:
    async with world.pool.acquire() as conn:
        return await view(conn, *keys, **filters)


async def taken(world: World, queue: str, pilot: str) -> JobSpec:
    spec = await world.acquire(queue, pilot)
    assert spec is not None
    return spec


async def fail(world: World, queue: str, pilot: str, error: str, exit_code: int | None = None) -> JobSpec:
    spec = await taken(world, queue, pilot)
    await world.report(queue, pilot, Update(spec.job, "failed", exit_code=exit_code, error=error))
    return spec


async def started(world: World, **changes: Any) -> Task:
    task = await world.submit(evgen(**changes))
    await world.agents()
    return task


async def test_like_errors_are_one_with_their_sites_rule_and_remedy(world: World) -> None:
    task = await started(world)
    await fail(world, "A-BATCH", "p1", "no space left on device: /scratch/17", 1)
    last = await fail(world, "B-BATCH", "p2", "no space left on device: /scratch/4711", 1)
    found = await read(world, error_views.errors, task=task.id)
    [error] = found["items"]
    assert (error["message"], error["jobs"], error["example_job"]) == (
        "no space left on device: PATH",
        2,
        last.job,
    )
    assert error["sites"] == {"A": 1, "B": 1}
    assert (error["rule"], error["exit_code"], error["tasks"]) == ("scratch-full", 1, [task.id])
    assert f"prodchain task set {task.id} scratch_mb" in error["remedy"]
    assert "at another queue" in error["then"]
    assert error["first_seen"] <= error["last_seen"]
    assert found["looked_at"] == 2


async def test_errors_are_found_by_task_and_by_site(world: World) -> None:
    first = await started(world)
    second = await started(world, output="mc26.700002.W.evgen.EVNT.v1")
    await fail(world, "A-BATCH", "p1", "strange thing")
    await fail(world, "B-BATCH", "p2", "strange thing")
    assert [e["jobs"] for e in (await read(world, error_views.errors))["items"]] == [2]
    assert [e["jobs"] for e in (await read(world, error_views.errors, site="B"))["items"]] == [1]
    by_task = [(await read(world, error_views.errors, task=task.id))["looked_at"] for task in (first, second)]
    assert sum(by_task) == 2
    [unknown] = (await read(world, error_views.errors))["items"]
    assert (unknown["rule"], unknown["remedy"]) == ("", "")
    assert unknown["then"].startswith("no rule fits")


async def test_a_story_has_events_and_orders_in_the_order_of_time(world: World) -> None:
    task = await started(world)
    await inside(world.pool, orders.pause, task.id, "user:ann", "wait for the calibration")
    await inside(world.pool, orders.resume, task.id, "user:ann", "it is there")
    story = await read(world, story_views.of_task, task.id)
    told = [item["verb"] or item["state"] for item in story["items"]]
    assert told == ["registered", "ready", "running", "pause", "paused", "resume", "running"]
    order = story["items"][3]
    assert (order["actor"], order["reason"]) == ("user:ann", "wait for the calibration")
    assert order["changes"]["state"] == ["running", "paused"]
    assert [item["at"] for item in story["items"]] == sorted(item["at"] for item in story["items"])
    assert not story["cut"]


async def test_a_dry_run_is_in_no_story(world: World) -> None:
    task = await started(world)
    with pytest.raises(RuntimeError):
        async with world.pool.acquire() as conn, conn.transaction():
            await orders.pause(conn, task.id, "user:ann", "only asked")
            raise RuntimeError("undone as a dry run is")
    assert [item["verb"] for item in (await read(world, story_views.of_task, task.id))["items"]] == ["", "", ""]


async def test_a_long_story_is_cut_at_its_old_end(world: World) -> None:
    task = await started(world)
    await world.pool.execute(
        "INSERT INTO event (task_id, state, actor, reason) SELECT $1, 'running', 'x', 'n' || n"
        " FROM generate_series(1, 300) n",
        task.id,
    )
    story = await read(world, story_views.of_task, task.id)
    assert story["cut"]
    assert [item["reason"] for item in story["items"]] == [f"n{n}" for n in range(101, 301)]


async def test_details_tell_sizes_data_share_and_decisions(world: World) -> None:
    await started(world)
    task = await world.submit(sim(group="", memory_mb=1000))
    await world.agents()
    await inside(world.pool, task_changes.change, task.id, {"memory_mb": 1500}, "user:ann", "more pile-up")
    found = await read(world, task_details.details, task.id)
    assert found["sizes"] == [{"name": "memory_mb", "submitted": 1000, "scouts": None, "ordered": 1500, "now": 1500}]
    assert [item["did"] for item in found["inputs"]] == ["mc26:mc26.700001.Z.evgen.EVNT.v1"]
    assert [item["did"] for item in found["outputs"]] == ["mc26:mc26.700001.Z.simul.HITS.v1"]
    assert (found["share"], found["throttled"], found["merging"], found["parent"]) == ("production", "", None, None)


async def test_details_name_the_merging_task_of_a_parent_and_the_parent_of_a_merging_task(world: World) -> None:
    parent = await started(world, merge={"command": ["merge", "{inputs}", "{output}"], "files_per_job": 2})
    child = await world.value("SELECT id FROM task WHERE parent_id = $1", parent.id)
    assert (await read(world, task_details.details, parent.id))["merging"]["id"] == child
    assert (await read(world, task_details.details, child))["parent"] == parent.id


async def test_details_tell_what_scouts_measured(world: World) -> None:
    task = await started(world, scouts=1, target_walltime_s=3600)
    spec = await taken(world, "A-BATCH", "p1")
    await world.report("A-BATCH", "p1", Update(spec.job, "running"))
    done = finished(spec)
    done.metrics.update({"wall_s": 100.0, "max_rss_mb": 980.0})
    await world.report("A-BATCH", "p1", done)
    await world.agents()
    found = await read(world, task_details.details, task.id)
    assert found["scouts"]["reason"].startswith("1 scouts: memory 980 MB")
    sizes = {size["name"]: size for size in found["sizes"]}
    assert sizes["memory_mb"]["now"] == sizes["memory_mb"]["scouts"] == 1250
    assert sizes["events_per_job"]["submitted"] == 25


def paced(ends: int, **changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    begin = datetime(2026, 11, 22, tzinfo=UTC)
    task = {
        "state": "running",
        "generated": True,
        "jobs": {"finished": 11, "running": 5, "failed": 2},
        "events_done": 1100,
        "events_total": 10_000,
    }
    pace = {"ends": ends, "first": begin, "last": begin + timedelta(minutes=10)}
    return task | changes, {"throttled": "", "pace": pace}


def test_a_task_is_expected_to_go_on_as_it_did_of_late() -> None:
    task, details = paced(11)  # one a minute
    assert expected_end(task, details) == details["pace"]["last"] + timedelta(minutes=5)


def test_work_without_jobs_yet_counts_by_its_events() -> None:
    task, details = paced(11, generated=False)
    assert expected_end(task, details) == details["pace"]["last"] + timedelta(minutes=89)


@pytest.mark.parametrize("changes", [{"state": "paused"}, {"state": "done"}, {"state": "exhausted"}])
def test_a_task_that_does_not_go_on_has_no_expected_end(changes: dict[str, Any]) -> None:
    assert expected_end(*paced(11, **changes)) is None


def test_one_end_tells_nothing_of_the_next_and_neither_do_those_of_a_task_that_is_stopped() -> None:
    assert expected_end(*paced(1)) is None
    task, details = paced(11)
    assert expected_end(task, details | {"throttled": "over its quota"}) is None


async def test_the_spans_of_a_task_have_its_copies_and_its_runs(world: World) -> None:
    await world.submit(evgen())
    task = await world.submit(sim())
    for _ in range(2):
        await world.agents()
        await world.run_one("A-BATCH")
    await world.agents()
    await world.pool.execute("UPDATE queue SET status = 'drain' WHERE name = 'A-BATCH'")
    await world.run_all()
    found = (await read(world, task_spans.spans, task.id))["items"]
    whats = {span["what"] for item in found for span in item["spans"]}
    assert {"assigned", "activated", "sent", "running"} <= whats
    assert "defined" not in whats and "finished" not in whats
    for item in found:
        states = [span for span in item["spans"] if span["what"] != "copy"]
        assert all(span["from"] <= (span["until"] or span["from"]) for span in states)
        assert all(one["until"] == other["from"] for one, other in pairwise(states))


async def test_a_copy_that_a_job_waits_for_is_among_its_spans(world: World) -> None:
    await started(world)
    task = await world.submit(sim())
    await world.run_one("A-BATCH")  # its output is at home
    await world.pool.execute("UPDATE queue SET status = 'offline' WHERE name = 'A-BATCH'")
    await world.agents()
    waiting = await world.value("SELECT id FROM job WHERE task_id = $1 AND state = 'assigned'", task.id)
    assert waiting is not None
    begun = await world.value("UPDATE transfer SET started_at = clock_timestamp() RETURNING started_at")
    [item] = (await read(world, task_spans.spans, task.id))["items"]
    [copy, wait] = item["spans"]
    assert (copy["what"], copy["from"], copy["until"]) == ("copy", begun, None)
    assert "to B-DISK" in copy["words"]
    assert (wait["what"], wait["until"]) == ("assigned", None)


async def test_the_runs_of_a_piece_of_work_say_why_each_was_made(world: World) -> None:
    await started(world)
    first = await fail(world, "A-BATCH", "p1", "std::bad_alloc", 134)
    found = (await read(world, attempts.attempts, first.job))["items"]
    assert [item["attempt"] for item in found] == [2, 1]
    again, before = found
    assert f"job {first.job} failed: rule out-of-memory" in again["reason"]
    assert again["memory_mb"] > before["memory_mb"]
    assert (before["state"], before["error"], before["queue"]) == ("failed", "std::bad_alloc", "A-BATCH")
    assert await read(world, attempts.attempts, again["job"]) == {"items": found}


async def test_queues_tell_their_latest_runs_and_what_was_ordered(world: World) -> None:
    await started(world)
    await world.run_one("A-BATCH")
    failed = await fail(world, "A-BATCH", "p1", "strange thing")
    await inside(world.pool, queue_orders.order, "A-BATCH", QueueStatus.DRAIN, "user:root", "disk is swapped")
    [queue] = (await read(world, queue_views.whole_health, "A"))["items"]
    assert (queue["runs"], queue["failed"], queue["status"], queue["health"]) == (2, 1, "drain", "good")
    assert [end["failed"] for end in queue["ends"]] == [False, True]
    assert queue["ends"][1]["job"] == failed.job
    assert queue["orders"][0]["reason"] == "disk is swapped"
    assert [view["queue"] for view in await read(world, queue_views.troubled)] == ["A-BATCH"]
    assert [view["queue"] for view in (await read(world, queue_views.health))["items"]] == ["A-BATCH", "B-BATCH"]


async def test_what_does_not_exist_is_said_to_be_so(world: World) -> None:
    for view in (story_views.of_task, story_views.of_job, task_details.details, attempts.attempts):
        with pytest.raises(NotFound):
            await read(world, view, 5)


MANY = 20_000
ROWS = 12_000
"""What the statements of a page may touch, of a task with ten times as many events."""


async def large(conn: Connection, task: int) -> None:
    """The task gets jobs by the ten thousand, each with a story; nearly none failed, and those are old."""
    await conn.execute("SET session_replication_role = replica")
    await conn.execute(
        "INSERT INTO job (id, task_id, number, state, error, work, spec, metrics) OVERRIDING SYSTEM VALUE"
        " SELECT 900000 + n, $1, 100 + n, CASE WHEN n <= 50 THEN 'failed' ELSE 'finished' END,"
        " CASE WHEN n <= 50 THEN 'broken' END, '{}', '{}', '{}' FROM generate_series(1, $2::int) n",
        task,
        MANY,
    )
    await conn.execute(
        "INSERT INTO mass_event (task_id, jobs, state, actor, reason)"
        " SELECT $1, int8multirange(int8range(first, first + 2000)), s, 'x', ''"
        " FROM generate_series(900001, 900000 + $2::int, 2000) first"
        " CROSS JOIN LATERAL unnest(ARRAY['defined', 'assigned', 'activated']) s",
        task,
        MANY,
    )
    await conn.execute(
        "INSERT INTO event (task_id, job_id, state, actor, reason)"
        " SELECT $1, 900000 + n, s, 'x', '' FROM generate_series(1, $2::int) n CROSS JOIN LATERAL unnest(ARRAY["
        " 'sent', 'running', CASE WHEN n <= 50 THEN 'failed' ELSE 'finished' END"
        "]) s",
        task,
        MANY,
    )
    await conn.execute("SET session_replication_role = origin")
    await conn.execute("ANALYZE event")
    await conn.execute("ANALYZE mass_event")
    await conn.execute("ANALYZE job")


def rows_of(plan: dict[str, Any]) -> float:
    """The most rows that any part of a plan has read, filtered ones too."""
    own = (plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)) * plan["Actual Loops"]
    return max([own, *(rows_of(part) for part in plan.get("Plans", []))])


async def test_the_page_of_a_large_task_reads_few_rows(world: World) -> None:
    task = await started(world)
    statements: list[tuple[str, tuple[Any, ...]]] = []
    async with world.pool.acquire() as conn:
        await large(conn, task.id or 0)
        with conn.query_logger(lambda query: statements.append((query.query, tuple(query.args)))):
            for view in (
                task_views.task,
                why.task_why,
                story_views.of_task,
                task_details.details,
                task_spans.spans,
            ):
                await view(conn, task.id or 0)
            for state in (None, "finished", "failed", "running", "defined"):
                await job_views.jobs(conn, task=task.id, state=state)
            await share_views.listing(conn)
            found = await error_views.errors(conn, task=task.id)
            await error_views.errors(conn)
        assert [error["jobs"] for error in found["items"]] == [50]
        assert len(statements) >= 15
        for statement, values in statements:
            text = await conn.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *values)
            read_rows = rows_of((json.loads(text) if isinstance(text, str) else text)[0]["Plan"])
            assert read_rows <= ROWS, f"{read_rows} rows are read by {statement}"
