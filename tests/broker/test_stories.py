"""Stories of jobs that many changed together: the same as one by one, in few rows, found by looking at few."""

import asyncio
import json
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from prodchain.broker import orders, task_spans, task_views, why
from prodchain.broker.database import Connection
from prodchain.broker.errors import BadRequest
from prodchain.broker.jobs import send_back
from prodchain.broker.models import Task

from .test_page_views import rows_of
from .truths import wrong
from .world import World, evgen, fresh, inside

JOBS = 40
BLOCK = 10_000
"""Jobs whose numbers differ in the last four digits only may share a row."""
MOVES = {
    "place": ("defined", "activated", "queue_id = 1, actor = 'brokerage'"),
    "send back": ("activated", "defined", "queue_id = NULL, actor = 'watch'"),
    "cancel": ("activated", "cancelled", "actor = 'user:ann'"),
    "give": ("activated", "sent", "actor = 'pilot:p' || id"),
    "run": ("sent", "running", "actor = 'pilot:p' || id"),
    "give to farms": ("activated", "sent", "actor = 'pilot:f' || id % 3"),
    "run at farms": ("sent", "running", "actor = 'pilot:f' || id % 3"),
    "stop": ("running", "cancelled", "actor = 'user:bob'"),
    "lose": ("running", "failed", "actor = 'watch'"),
}
schedules = st.lists(
    st.tuples(st.sampled_from([*MOVES]), st.integers(0, JOBS - 1), st.sampled_from([1, 1, 2, 5])), max_size=12
)
Stories = dict[int, list[tuple[Any, ...]]]


async def defined(world: World, jobs: int, first: int = 1) -> Task:
    """A task with so many jobs, numbered from ``first`` on, that find no queue."""
    await world.value("SELECT setval(pg_get_serial_sequence('job', 'id'), $1, false)", first)
    await world.pool.execute("UPDATE queue SET status = 'offline'")
    task = await world.submit(evgen(events=jobs, events_per_job=1))
    await world.agents()
    return task


async def moved(world: World, told: Stories, name: str, ids: list[int], reason: str) -> None:
    """Make a move with those of the jobs that can, and tell of it as single rows would."""
    before, state, changes = MOVES[name]
    rows = await world.fetch(
        f"UPDATE job SET state = $1, reason = $2, {changes} WHERE id = ANY($3) AND state = $4 RETURNING id, actor",
        state,
        reason,
        ids,
        before,
    )
    for job, actor in rows:
        steps = [("defined", "assigned"), ("assigned", "activated")] if name == "place" else [(before, state)]
        told[job] += [(*step, actor, reason) for step in steps]


async def stories(world: World, jobs: list[int]) -> Stories:
    rows = await world.fetch(
        "SELECT e.* FROM unnest($1::bigint[]) AS job CROSS JOIN LATERAL events_of(job) e ORDER BY e.id", jobs
    )
    found: Stories = defaultdict(list)
    for row in rows:
        found[row["job_id"]].append((row["before"], row["state"], row["actor"], row["reason"]))
    return found


async def told_by_task(conn: Connection, task: Task) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = []
    after: str | None = None
    while True:
        page, after = await task_views.task_story(conn, task.id or 0, limit=7, after=after)
        items += page
        if after is None:
            return items


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
@given(schedule=schedules)
@example(schedule=[("give", 0, 1), ("run", 0, 1), ("lose", 0, 2), ("stop", 0, 1)])
@example(schedule=[("give to farms", 0, 1), ("run at farms", 0, 2), ("run", 1, 2), ("lose", 0, 5), ("stop", 0, 1)])
@example(schedule=[("send back", 0, 2), ("cancel", 0, 5), ("place", 0, 1), ("cancel", 3, 1)])
def test_stories_of_jobs_moved_together_are_those_of_jobs_moved_one_by_one(
    schedule: list[tuple[str, int, int]], postgres_url: str, template: str
) -> None:
    asyncio.run(fresh(postgres_url, template, lambda world: check(world, schedule)))


async def check(world: World, schedule: list[tuple[str, int, int]]) -> None:
    task = await defined(world, JOBS, first=BLOCK - 15)
    jobs = [row["id"] for row in await world.fetch("SELECT id FROM job ORDER BY id")]
    told: Stories = {job: [(None, "defined", "generation", "work to do")] for job in jobs}
    for n, (move, start, stride) in enumerate([("place", 0, 1), *schedule]):
        await moved(world, told, move, jobs[start::stride], f"move {n}")
    assert await stories(world, jobs) == told

    whole = await inside(world.pool, told_by_task, task)
    by_task: Stories = defaultdict(list)
    for item in whole:
        if item["job"] is not None:
            by_task[item["job"]].append((item["before"], item["state"], item["actor"], item["reason"]))
    assert by_task == told
    newest = await world.fetch("SELECT id, job_id, state FROM newest_events($1, 1000000)", task.id)
    assert [row["id"] for row in newest] == sorted((row["id"] for row in newest), reverse=True)
    assert sorted((row["job_id"] or 0, row["state"]) for row in newest) == sorted(
        (item["job"] or 0, item["state"]) for item in whole
    )

    singles = await world.value("SELECT count(*) FROM event WHERE state = 'failed'")
    assert singles == sum(event[1] == "failed" for story in told.values() for event in story)
    rows = await world.fetch("SELECT state, lower(jobs) AS first, upper(jobs) - 1 AS last FROM mass_event")
    assert {row["state"] for row in rows} >= {"defined", "assigned", "activated"}
    assert all(row["first"] // BLOCK == row["last"] // BLOCK for row in rows)


async def test_a_task_of_a_thousand_jobs_has_few_rows_and_its_jobs_whole_stories(world: World) -> None:
    task = await defined(world, 1000)
    await world.pool.execute("UPDATE queue SET status = 'online', slots = 5000 WHERE name = 'A-BATCH'")
    await world.agents()
    await inside(world.pool, send_back, list(range(1, 1001)), "watch", "the queue is closed")
    await world.agents()
    await inside(world.pool, orders.kill, task.id, "user:ann", "not needed")
    await world.agents()
    assert await world.states(task) == ["cancelled"] * 1000
    states = ["defined", "assigned", "activated", "defined", "assigned", "activated", "cancelled"]
    for job, story in (await stories(world, list(range(1, 1001)))).items():
        assert [event[1] for event in story] == states, job
    assert await world.value("SELECT count(*) FROM event WHERE job_id IS NOT NULL") == 0
    assert await world.value("SELECT count(*) FROM mass_event") < 20
    assert await wrong(world) == []


@pytest.mark.parametrize(("pilots", "rows"), [(1, 1), (10, 10), (40, 0)])
async def test_a_farms_pilot_leaves_a_row_for_its_jobs_and_others_one_for_each(
    world: World, pilots: int, rows: int
) -> None:
    task = await defined(world, JOBS)
    jobs = list(range(1, JOBS + 1))
    await moved(world, defaultdict(list), "place", jobs, "to A")
    given = f"UPDATE job SET state = 'sent', actor = 'pilot:f' || id % {pilots}, reason = 'given'"
    await world.pool.execute(given)
    assert await world.value("SELECT count(*) FROM mass_event WHERE state = 'sent'") == rows
    assert await world.value("SELECT count(*) FROM event WHERE state = 'sent'") == (0 if rows else JOBS)
    for job, story in (await stories(world, jobs)).items():
        assert story[-1] == ("activated", "sent", f"pilot:f{job % pilots}", "given")
    assert await world.states(task) == ["sent"] * JOBS


async def test_jobs_far_apart_do_not_share_a_row(world: World) -> None:
    """The index would find such a row for every job between them."""
    await defined(world, 30)
    async with world.pool.acquire() as conn, conn.transaction():
        await conn.execute("SET LOCAL session_replication_role = replica")
        await conn.execute("UPDATE job SET id = id * 10000")
    await world.pool.execute("UPDATE job SET state = 'cancelled', actor = 'user:ann', reason = 'not needed'")
    assert await world.value("SELECT count(*) FROM event WHERE state = 'cancelled'") == 30
    assert await world.value("SELECT count(*) FROM mass_event WHERE state = 'cancelled'") == 0


MANY = 3000
FIRST = 5_000_000


async def crowded(conn: Connection, task: Task) -> None:
    """The task gets events of a thousand jobs each by the thousand, three a second, and others theirs before."""
    await conn.execute(
        "INSERT INTO event (at, task_id, job_id, state, actor, reason)"
        " SELECT now() - interval '1 day', $1, n, 'sent', 'x', '' FROM generate_series(1, 20000) n",
        (task.id or 0) + 1,
    )
    await conn.execute(
        """
        INSERT INTO mass_event (at, task_id, jobs, state, actor, reason)
        SELECT now() - make_interval(secs => $2 - n), $1,
               int8multirange(int8range($3 + n * 1000, $3 + n * 1000 + 1000)), s, 'x', 'event ' || n
        FROM generate_series(0, $2 - 1) n
        CROSS JOIN LATERAL unnest(ARRAY['defined', 'assigned', 'activated']) WITH ORDINALITY AS u (s, step)
        ORDER BY n, step
        """,
        task.id,
        MANY,
        FIRST,
    )
    await conn.execute("ANALYZE mass_event")
    await conn.execute("ANALYZE event")


async def plan_of(conn: Connection, statement: str, *values: object) -> dict[str, Any]:
    text = await conn.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", *values)
    plan: dict[str, Any] = (json.loads(text) if isinstance(text, str) else text)[0]["Plan"]
    return plan


def indexes(plan: dict[str, Any]) -> set[str]:
    own = {plan["Index Name"]} if "Index Name" in plan else set()
    return own.union(*map(indexes, plan.get("Plans", [])))


async def test_a_story_is_found_by_indexes_however_many_events_the_task_has(world: World) -> None:
    task = await defined(world, 10)
    async with world.pool.acquire() as conn, conn.transaction():
        await crowded(conn, task)
        plan = await plan_of(conn, "SELECT * FROM events_of($1) ORDER BY id", FIRST + 1_500_500)
        assert (plan["Actual Rows"], rows_of(plan)) == (3, 3)
        assert indexes(plan) == {"event_job", "mass_event_jobs"}
        newest = await plan_of(conn, "SELECT * FROM newest_events($1, 500)", task.id)
        assert newest["Actual Rows"] == 500
        assert rows_of(newest) <= 510


async def test_pages_about_a_crowded_task_are_answered_from_few_rows(world: World) -> None:
    task = await defined(world, 10)
    async with world.pool.acquire() as conn, conn.transaction():
        await crowded(conn, task)
        statements: list[tuple[str, tuple[Any, ...]]] = []
        with conn.query_logger(lambda query: statements.append((query.query, tuple(query.args)))):
            await task_spans.spans(conn, task.id or 0)
            await why.task_why(conn, task.id or 0)
            await task_views.task_story(conn, task.id or 0, limit=100, after=f"{MANY}~0")
        for statement, values in statements:
            assert rows_of(await plan_of(conn, statement, *values)) <= 5000, statement


async def test_the_past_of_a_task_is_found_among_events_of_many_jobs(world: World) -> None:
    task = await defined(world, 10)
    async with world.pool.acquire() as conn, conn.transaction():
        await conn.execute("UPDATE event SET at = at - interval '1 day'")
        await crowded(conn, task)
        await conn.execute(
            "INSERT INTO job (id, task_id, number, work, actor, reason, requirement_id) OVERRIDING SYSTEM VALUE"
            " SELECT $2, task_id, 100, work, actor, reason, requirement_id FROM job WHERE task_id = $1 LIMIT 1",
            task.id,
            FIRST + 1014 * 1000,
        )
        at = await conn.fetchval("SELECT now() - make_interval(secs => $1)", MANY - 1020.5)
        answer = await why.task_why(conn, task.id or 0, at)
    # 20 000 changes are the three of each of the jobs of six events, and two of those of the one before.
    assert f"7000 activated, e.g. job {FIRST + 1014 * 1000}" in answer["reasons"][0]["what"]


@pytest.mark.parametrize("mark", ["", "7", "7~", "7~x", "1~2~3", f"{2**63}~1", "²~1"])
async def test_only_a_mark_of_a_story_continues_it(world: World, mark: str) -> None:
    task = await world.submit(evgen())
    with pytest.raises(BadRequest, match="not a mark of this list"):
        await inside(world.pool, lambda conn: task_views.task_story(conn, task.id or 0, after=mark))
