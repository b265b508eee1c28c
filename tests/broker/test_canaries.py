"""Queues drained by what fails there, tried out and taken back, by the agents' steps."""

from typing import Any

import pytest

from prodchain.broker import canaries, rebrokerage, task_views
from prodchain.broker.errors import BadRequest
from prodchain.broker.health import Limits
from prodchain.broker.recovery import book
from prodchain.broker.settings import Settings
from prodchain.catalog.names import parse_did
from prodchain.pilot_agent.messages import JobSpec, Update

from .world import World, evgen, finished, inside

WATCH = canaries.Watch(Limits())
NO_PROGRAM = "command not found: Gen_tf.py"


async def watch(world: World) -> int:
    """The health agent's turn, and that of re-brokerage."""
    changed = 0
    for queue in await inside(world.pool, WATCH.due):
        changed += await inside(world.pool, WATCH.look, queue)
    settings = Settings(home=world.folder)
    for dog in rebrokerage.WATCHDOGS:
        changed += await inside(world.pool, rebrokerage.look, settings, dog)
    await world.agents()
    return changed


async def fail_one(world: World, queue: str = "A-BATCH", error: str = NO_PROGRAM) -> JobSpec | None:
    spec = await world.acquire(queue)
    if spec is not None:
        await world.report(queue, "p1", Update(spec.job, "failed", error=error))
    return spec


async def fail(world: World, times: int, queue: str = "A-BATCH", error: str = NO_PROGRAM) -> None:
    for _ in range(times):
        assert await fail_one(world, queue, error) is not None
        await world.agents()


async def health(world: World, queue: str = "A-BATCH") -> Any:
    rows = await world.fetch(
        "SELECT h.* FROM queue_health h JOIN queue q ON q.id = h.queue_id WHERE q.name = $1", queue
    )
    return rows[0] if rows else None


async def journal(world: World) -> list[tuple[str, ...]]:
    rows = await world.fetch("SELECT actor, verb, object, reason FROM journal ORDER BY id")
    return [tuple(row.values()) for row in rows]


async def pause_is_over(world: World) -> None:
    await world.pool.execute("UPDATE queue_health SET next_at = now() WHERE health = 'drained'")


async def big(world: World) -> Any:
    """Forty pieces: both queues have more waiting than fail."""
    task = await world.submit(evgen(events=40, events_per_job=1))
    await world.agents()
    return task


async def drained(world: World) -> Any:
    task = await big(world)
    await fail(world, 10)
    assert await watch(world) > 0
    return task


async def test_a_queue_where_all_fails_is_drained_with_the_reason_and_loses_what_waits_there(world: World) -> None:
    await big(world)
    await fail(world, 9)
    assert await watch(world) == 0
    await fail(world, 1)
    await watch(world)
    found = await health(world)
    assert (found["health"], found["strikes"]) == ("drained", 1)
    assert found["reason"] == f"10 of the last 10 runs failed, all with '{NO_PROGRAM}'"
    assert await journal(world) == [("watch", "drained", "queue A-BATCH", found["reason"])]
    counts = await world.fetch(
        "SELECT q.name, sum(c.jobs)::int AS jobs FROM job_count c LEFT JOIN queue q ON q.id = c.queue_id"
        " WHERE c.state IN ('assigned', 'activated', 'defined') GROUP BY 1 HAVING sum(c.jobs) <> 0 ORDER BY 1"
    )
    assert {row["name"]: row["jobs"] for row in counts} == {"B-BATCH": 20, None: 20}  # B has its fill
    told = await world.fetch(
        "SELECT DISTINCT e.reason FROM job j CROSS JOIN LATERAL events_of(j.id) e"
        " WHERE e.state = 'defined' AND e.before = 'activated'"
    )
    assert [row["reason"] for row in told] == [f"A-BATCH is drained: {found['reason']} (watchdog closed-queue)"]
    refusal = await world.value("SELECT reason FROM assignment WHERE queue_id IS NULL ORDER BY id DESC LIMIT 1")
    assert f"A-BATCH: it is drained: {found['reason']}" in refusal
    assert await watch(world) == 0  # its pause is not over, and nothing is sent back twice


async def test_a_canary_that_succeeds_brings_it_back_and_is_in_nobodys_way(world: World) -> None:
    await drained(world)
    await pause_is_over(world)
    await watch(world)
    found = await health(world)
    assert (found["health"], found["next_at"]) == ("probing", None)
    spec = await world.run_one("A-BATCH")
    assert spec is not None
    assert spec.task == found["canary"]
    assert await world.run_one("A-BATCH") is None  # nothing else goes there meanwhile
    await world.agents()
    await watch(world)
    found = await health(world)
    assert (found["health"], found["canary"], found["strikes"]) == ("good", None, 1)
    assert found["reason"] == f"its canary succeeded: task {spec.task}"
    assert [entry[1] for entry in await journal(world)] == ["drained", "probing", "good"]
    assert await world.run_one("A-BATCH") is not None
    shown, _ = await inside(world.pool, task_views.tasks)
    assert [task["step"] for task in shown] == ["evgen"]
    canary, *_ = await world.fetch(
        "SELECT t.owner, d.kind, d.expires_at - d.created_at AS lives, d.files FROM task t"
        " JOIN dataset d ON d.id = t.output_id WHERE t.step = 'canary'"
    )
    assert (canary["owner"], canary["kind"], canary["lives"].total_seconds(), canary["files"]) == (
        "prodchain",
        "log",
        86400,
        1,
    )


async def test_a_canary_that_fails_is_a_strike_and_the_next_one_waits_longer(world: World) -> None:
    await drained(world)
    await pause_is_over(world)
    await watch(world)
    await fail(world, 1, error="command not found: /bin/sh")
    await watch(world)
    found = await health(world)
    assert (found["health"], found["strikes"], found["canary"]) == ("drained", 2, None)
    assert found["reason"].startswith("its canary failed: task 1")
    assert found["reason"].endswith(": command not found: /bin/sh")
    waits = found["next_at"] - found["since"]
    assert waits == 2 * Limits().pause
    jobs = await world.value("SELECT count(*) FROM job j JOIN task t ON t.id = j.task_id WHERE t.step = 'canary'")
    assert jobs == 1  # it is not repeated


async def test_runs_that_began_before_the_trouble_and_succeed_do_not_bring_it_back(world: World) -> None:
    await big(world)
    running = [await world.acquire("A-BATCH", f"slow{n}") for n in range(5)]
    await fail(world, 10)
    await watch(world)
    for n, spec in enumerate(running):
        assert spec is not None
        await world.report("A-BATCH", f"slow{n}", finished(spec, 1))
        await watch(world)
        assert (await health(world))["health"] == "drained"


async def test_what_failed_there_costs_the_work_no_attempt_even_where_none_was_left(world: World) -> None:
    await inside(world.pool, book.apply, '[rule.site]\nmatch = "command"\nelsewhere = true', "admin", "")
    task = await world.submit(evgen(events=40, events_per_job=1, max_attempts=1))
    await world.agents()
    await fail(world, 10)
    assert sorted(await world.states(task)).count("failed") == 10
    assert await world.value("SELECT count(*) FROM job WHERE attempt > 1") == 0
    await watch(world)
    rows = await world.fetch("SELECT attempt, spared, avoid, reason FROM job WHERE attempt > 1")
    queue = await world.value("SELECT id FROM queue WHERE name = 'A-BATCH'")
    assert {(row["attempt"], row["spared"], *row["avoid"]) for row in rows} == {(2, 1, queue)}
    assert len(rows) == 10
    assert rows[0]["reason"] == "it failed at A-BATCH, which was drained: that does not count"
    await world.run_all()
    assert await world.value("SELECT state FROM task WHERE id = $1", task.id) == "done"


async def test_one_bad_task_drains_one_queue_at_most_and_others_work_goes_on(world: World) -> None:
    bad = await world.submit(evgen(events=30, events_per_job=1, priority=5000))
    await world.agents()
    for _ in range(30):
        for queue in ("A-BATCH", "B-BATCH"):
            await fail_one(world, queue)
        await watch(world)
    states = {(await health(world, queue) or {"health": "good"})["health"] for queue in ("A-BATCH", "B-BATCH")}
    assert states == {"good"}
    assert await world.value("SELECT state FROM task WHERE id = $1", bad.id) == "failed"


async def test_an_operator_tries_a_queue_out_by_hand_whatever_its_state(world: World) -> None:
    await world.pool.execute(
        """UPDATE queue SET status = 'offline', allow = '["group:higgs"]' WHERE name = 'A-BATCH'"""
    )
    task = await inside(world.pool, canaries.test, "A-BATCH")
    assert await inside(world.pool, canaries.test, "A-BATCH") == task  # the one under way serves as well
    await world.agents()
    await watch(world)
    spec = await world.run_one("A-BATCH")
    assert spec is not None
    assert spec.task == task
    await world.agents()
    await watch(world)
    found = await health(world)
    assert (found["health"], found["canary"]) == ("good", None)
    assert await world.value("SELECT state FROM task WHERE id = $1", task) == "done"
    assert await journal(world) == []


async def test_no_canary_is_sent_where_nobody_wants_one(world: World) -> None:
    await drained(world)
    await world.pool.execute("UPDATE queue SET status = 'offline' WHERE name = 'A-BATCH'")
    await pause_is_over(world)
    await watch(world)
    assert (await health(world))["health"] == "drained"
    assert await world.value("SELECT count(*) FROM task WHERE step = 'canary'") == 0


async def test_old_ends_are_forgotten_and_the_newest_stay(world: World) -> None:
    await big(world)
    await fail(world, 6)
    await world.pool.execute(
        "UPDATE run_end SET at = at - interval '7 h' WHERE id <= (SELECT min(id) + 3 FROM run_end)"
    )
    await inside(world.pool, canaries.forget, Limits())
    assert await world.value("SELECT count(*) FROM run_end") == 2
    await world.pool.execute("UPDATE run_end SET at = at - interval '7 h'")
    await inside(world.pool, canaries.forget, Limits())
    assert await world.value("SELECT count(*) FROM run_end") == 0


def test_the_names_of_canaries_outputs_can_be_dataset_names() -> None:
    assert parse_did("canary.SITE-A_1.20260301-120000-000001.log").scope == "canary"


async def test_work_that_a_drain_gives_back_to_a_task_that_merges_already_is_done(world: World) -> None:
    merge = {"command": ["Merge_tf.py", "{inputs}", "{output}"], "files_per_job": 20}
    task = await world.submit(evgen(events=40, events_per_job=1, max_attempts=1, merge=merge))
    await world.agents()
    await fail(world, 10, error="it broke")
    for n in range(3):  # what is known elsewhere to do well is not to blame
        assert await world.run_one("B-BATCH", f"b{n}")
    while await world.run_one("B-BATCH") or await world.run_one("A-BATCH"):
        await world.agents()
    await world.pool.execute("DELETE FROM run_end WHERE NOT failed AND queue_id = 1")  # the failures are the newest
    assert await world.value("SELECT state FROM task WHERE id = $1", task.id) == "merging"
    assert await watch(world) > 0
    await world.run_all()
    rows = await world.fetch("SELECT state FROM task WHERE step <> 'canary' ORDER BY id")
    assert [row["state"] for row in rows] == ["done", "done"]
    assert await world.value("SELECT events FROM dataset WHERE id = $1", task.output_id) == 40


async def test_nobody_else_calls_a_task_a_canary(world: World) -> None:
    with pytest.raises(BadRequest, match="step canary"):
        await world.submit(evgen(step="canary"))
