"""Pilots at a real database: shares, offers, several jobs, one server and two."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from prodchain.broker import jobs, sharefile, shares
from prodchain.broker.errors import BadRequest, Busy
from prodchain.broker.matching import statements
from prodchain.broker.matching.dispatcher import BATCH, WOKEN, Dispatcher, Given, _Desk, _Wish
from prodchain.broker.matching.heads import Heads
from prodchain.broker.matching.statements import HEADS
from prodchain.pilot_agent.messages import Acquire

from .world import LEASE_S, World, evgen, inside

TREE = """
[share.production]
value = 70
match = {activity = "production"}
[share.higgs]
parent = "production"
value = 3
match = {group = "higgs"}
[share.rest]
parent = "production"
value = 1
[share.analysis]
value = 30
"""
TARGETS = {"higgs": 0.525, "rest": 0.175, "analysis": 0.3}

FILL = """
INSERT INTO job (task_id, number, share_id, requirement_id, priority)
SELECT $1, number, share.id, kind.id, number % 7 FROM generate_series(1, $2 * 3) AS number
JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM share
      WHERE name IN ('higgs', 'rest', 'analysis')) AS share ON share.place = number % 3
JOIN (SELECT id, row_number() OVER (ORDER BY id) - 1 AS place FROM requirement) AS kind
  ON kind.place = number / 3 % $3
"""
ACTIVATE = """
UPDATE job SET state = $2, actor = 'test', reason = '', queue_id = $3, spec = jsonb_build_object(
    'job', id, 'task', task_id, 'attempt', 1, 'command', '[]'::jsonb, 'inputs', '[]'::jsonb, 'outputs', '[]'::jsonb,
    'walltime_s', 1, 'heartbeat_s', 1) WHERE task_id = $1
"""
USED = """
SELECT s.name, sum(r.cores)::int AS cores FROM job j JOIN share s ON s.id = j.share_id
JOIN requirement r ON r.id = j.requirement_id WHERE j.state = 'sent' GROUP BY s.name
"""


async def queue_id(world: World, name: str = "A-BATCH") -> int:
    found: int = await world.value("SELECT id FROM queue WHERE name = $1", name)
    return found


async def fill(world: World, each: int, *, kinds: int = 1) -> int:
    """Jobs that are ready at A-BATCH, so many of each leaf of the tree, with priorities 0 to 6."""
    await inside(world.pool, shares.apply, sharefile.parse(TREE), "user:root")
    await world.pool.execute(
        """
        INSERT INTO requirement (cores, memory_mb, walltime_s) VALUES (2, 1000, 3600), (1, 3000, 3600), (1, 1000, 60)
        ON CONFLICT DO NOTHING
        """
    )
    task, queue = await world.submit(evgen()), await queue_id(world)
    await world.pool.execute(FILL, task.id, each, kinds)
    for state in ("assigned", "activated"):
        await world.pool.execute(ACTIVATE, task.id, state, queue)
    return queue


def ask(pilot: str, **offer: Any) -> Acquire:
    return Acquire(
        pilot, uuid.uuid4().hex, "node", **{"cores": 1, "memory_mb": 4000, "remaining_s": 3600, "wait_s": 0} | offer
    )


async def used(world: World) -> dict[str, int]:
    return {row["name"]: row["cores"] for row in await world.fetch(USED)}


@pytest.fixture
async def other_server(world: World) -> AsyncIterator[Dispatcher]:
    dispatcher = Dispatcher(world.pool, LEASE_S)
    yield dispatcher
    await dispatcher.stop()


async def pull(world: World, servers: list[Dispatcher], queue: int, pilots: int) -> list[Given]:
    """That many pilots at once, by turns at the servers."""
    asks = [servers[n % len(servers)].acquire(queue, ask(f"p{n}", cores=2)) for n in range(pilots)]
    return await asyncio.gather(*asks)


@pytest.mark.parametrize("servers", [1, 2])
async def test_use_follows_the_targets_within_two_percent(
    world: World, other_server: Dispatcher, servers: int
) -> None:
    queue = await fill(world, 700, kinds=2)
    dispatchers = [world.dispatcher, other_server][:servers]
    for _ in range(4):
        answers = await pull(world, dispatchers, queue, 240)
        assert all(len(answer.jobs) == 1 for answer in answers)
    now = await used(world)
    assert sum(now.values()) > 960
    for name, target in TARGETS.items():
        assert abs(now[name] / sum(now.values()) - target) < 0.02
    assert await world.value("SELECT count(*) FROM lease") == 960


async def test_two_servers_find_the_way_back_to_the_targets_as_jobs_end(
    world: World, other_server: Dispatcher
) -> None:
    queue = await fill(world, 700)
    await world.pool.execute(
        """
        UPDATE job SET state = 'sent', started_at = now() WHERE id IN (
            SELECT j.id FROM job j JOIN share s ON s.id = j.share_id WHERE s.name = 'rest' ORDER BY j.id LIMIT 400)
        """
    )
    # Few end between two readings, as jobs last for many: what one server gives before the other reads comes twice,
    # so that the way back is a damped one, and a large part of all jobs at once would swing.
    for _ in range(80):
        await world.pool.execute(
            """
            UPDATE job SET state = 'failed'
            WHERE id IN (SELECT id FROM job WHERE state = 'sent' ORDER BY started_at, md5(id::text) LIMIT 10)
            """
        )
        for server in (world.dispatcher, other_server):
            server._current._read_at = -10.0  # a second has gone by
        await pull(world, [world.dispatcher, other_server], queue, 10)
    now = await used(world)
    assert sum(now.values()) == 400
    for name, target in TARGETS.items():
        assert abs(now[name] / 400 - target) < 0.02


async def test_every_pilot_gets_a_job_as_long_as_one_fits_and_no_job_twice(
    world: World, other_server: Dispatcher
) -> None:
    queue = await fill(world, 100, kinds=4)
    answers = await pull(world, [world.dispatcher, other_server], queue, 320)
    given = Counter(spec.job for answer in answers for spec in answer.jobs)
    assert len(given) == 300
    assert set(given.values()) == {1}
    assert {answer.reason for answer in answers if not answer.jobs} <= {
        "no job is ready for this queue",
        *(f"{n} jobs wait, other pilots were first" for n in range(301)),
    }


async def test_within_a_share_the_highest_priority_that_fits_goes_first(world: World) -> None:
    queue = await fill(world, 60, kinds=4)
    offers = [{"cores": 1, "memory_mb": 1000}, {"cores": 2, "memory_mb": 2000}, {"cores": 1, "memory_mb": 4000}]
    fitting = """
        SELECT r.share_id, max(r.priority) AS priority FROM ready r JOIN requirement q ON q.id = r.requirement_id
        WHERE q.cores <= $1 AND q.memory_mb <= $2 GROUP BY r.share_id
    """
    for n in range(90):
        offer = offers[n % 3]
        best = {row["share_id"]: row["priority"] for row in await world.fetch(fitting, *offer.values())}
        [spec] = (await world.dispatcher.acquire(queue, ask(f"p{n}", **offer))).jobs
        row = (await world.fetch("SELECT share_id, priority FROM job WHERE id = $1", spec.job))[0]
        assert row["priority"] == best[row["share_id"]]


async def test_a_batch_sees_each_priority_in_order_however_few_heads_are_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prodchain.broker.matching.heads.ROWS", 32)  # two heads of each lane
    queue = await fill(world, 40, kinds=4)
    await pull(world, [world.dispatcher], queue, 60)
    rows = await world.fetch(
        """
        SELECT s.name FROM share s WHERE
            (SELECT min(priority) FROM job WHERE share_id = s.id AND state = 'sent')
          < (SELECT max(priority) FROM ready WHERE share_id = s.id)
        """
    )
    assert rows == []
    assert await world.value("SELECT count(*) FROM lease") == 60


async def test_one_request_gets_several_jobs_that_fit_together_and_the_same_ones_again(world: World) -> None:
    queue = await fill(world, 20)
    wish = ask("p1", cores=16, memory_mb=7500, jobs=20)
    first = await world.dispatcher.acquire(queue, wish)
    assert len(first.jobs) == 7  # of 1000 MB each
    again = await world.dispatcher.acquire(queue, wish)
    assert [spec.job for spec in again.jobs] == [spec.job for spec in first.jobs]
    await world.dispatcher.stop()  # what is known of pilots is noted every few seconds, and at the end
    assert await world.value("SELECT jobs FROM pilot WHERE name = 'p1'") == 14  # told twice
    assert await world.value("SELECT count(*) FROM lease") == 7
    offer = await world.value("SELECT offer FROM pilot WHERE name = 'p1'")
    assert (offer["cores"], offer["disk_mb"], offer["architecture"]) == (16, 20_000, "x86_64")


async def test_two_servers_answer_a_request_that_came_to_both_with_the_same_jobs(
    world: World, other_server: Dispatcher
) -> None:
    queue = await fill(world, 20)
    wish = ask("p1", cores=4, jobs=4)
    answers = await asyncio.gather(*(server.acquire(queue, wish) for server in (world.dispatcher, other_server)))
    assert len({tuple(spec.job for spec in answer.jobs) for answer in answers}) == 1
    assert await world.value("SELECT count(*) FROM lease") == 4


async def test_whoever_gets_nothing_is_told_what_was_there_and_when_to_come_back(world: World) -> None:
    queue = await fill(world, 1)
    answer = await world.dispatcher.acquire(queue, ask("p1", memory_mb=500))
    assert answer.jobs == []
    assert answer.reason == "3 jobs wait, the smallest needs 1000 MB of memory, the pilot offers 500 MB"
    assert answer.retry_after_s > 0
    answer = await world.dispatcher.acquire(queue, ask("p1", remaining_s=600))
    assert answer.reason == "3 jobs wait, the smallest needs 3600 s, the pilot offers 600 s"
    answer = await world.dispatcher.acquire(await queue_id(world, "B-BATCH"), ask("p1"))
    assert answer.reason == "no job is ready for this queue"


async def test_parked_pilots_wake_for_what_fits_and_cost_nothing_when_it_is_gone(world: World) -> None:
    queue = await fill(world, 0)
    await world.dispatcher.start()
    await asyncio.sleep(0.2)
    small = asyncio.create_task(world.dispatcher.acquire(queue, ask("small", memory_mb=10, wait_s=20)))
    large = asyncio.create_task(world.dispatcher.acquire(queue, ask("large", wait_s=20)))
    await asyncio.sleep(0.3)
    await world.submit(evgen(output="mc26.700009.Z.evgen.EVNT.v1", events=25, sites=["A"]))
    await world.agents()
    assert len((await asyncio.wait_for(large, 10)).jobs) == 1
    assert not small.done()
    await world.dispatcher.stop()
    polls = await world.value("SELECT empty_polls FROM pilot WHERE name = 'small'")
    assert polls == 1  # noted when it came, not when it was passed over
    assert (await small).reason == "the server stops"


async def test_analysis_has_its_part_of_a_queue_under_saturation_and_all_when_alone(world: World) -> None:
    queue = await fill(world, 200)
    await world.pool.execute("UPDATE queue SET analysis_percent = 60 WHERE id = $1", queue)
    await world.pool.execute("UPDATE share SET match = '{\"activity\": \"analysis\"}' WHERE name = 'analysis'")
    await pull(world, [world.dispatcher], queue, 200)
    now = await used(world)
    assert abs(now["analysis"] - 120) <= 1
    assert abs(now["higgs"] - 60) <= 1  # production's part is divided by the shares
    await pull(world, [world.dispatcher], queue, 400)
    assert sum((await used(world)).values()) == 600


async def test_no_more_jobs_than_a_queue_may_run_are_given_out(world: World) -> None:
    queue = await fill(world, 20)
    await world.pool.execute("UPDATE queue SET max_jobs = 5 WHERE id = $1", queue)
    answers = await pull(world, [world.dispatcher], queue, 8)
    assert sum(len(answer.jobs) for answer in answers) == 5
    assert "the queue runs 5 jobs already, as many as it may" in answers[-1].reason


async def test_a_new_priority_counts_for_the_next_pilot(world: World) -> None:
    queue = await fill(world, 10)
    rows = await world.fetch(
        "SELECT DISTINCT ON (share_id) job_id FROM ready ORDER BY share_id, priority, job_id DESC"
    )
    last = [row["job_id"] for row in rows]
    await inside(world.pool, jobs.reprioritise, last, 5000)
    await pull(world, [world.dispatcher], queue, 8)
    assert await world.value("SELECT count(*) FROM lease WHERE job_id = ANY($1)", last) == 3


async def test_reading_the_heads_costs_by_lanes_not_by_jobs(world: World) -> None:
    queue = await fill(world, 0)
    await world.pool.execute(
        """
        INSERT INTO ready (job_id, queue_id, share_id, requirement_id, priority)
        SELECT n, $1, n % 5, 1 + n % 2, n % 100 FROM generate_series(1, 20000) AS n
        """,
        queue,
    )
    await world.pool.execute("ANALYZE ready")
    async with world.pool.acquire() as conn:
        plan = await conn.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {HEADS}", queue, 2)
        lanes = await statements.heads(conn, queue, 2)
    assert [len(lane.heads) for lane in lanes] == [2] * 10
    assert _rows(plan) == 10 + 2 * 10


def _rows(plan: Any) -> int:
    """Rows that scans of ``ready`` have brought."""
    if isinstance(plan, list):
        return sum(_rows(each) for each in plan)
    own = plan["Actual Rows"] * plan["Actual Loops"] if plan.get("Relation Name") == "ready" else 0
    return int(own) + sum(
        _rows(each) for each in (plan.get("Plans", []) or ([plan["Plan"]] if "Plan" in plan else []))
    )


async def test_a_pilot_that_offers_what_no_machine_has_is_in_nobodys_way(world: World) -> None:
    queue = await queue_id(world)
    much = dict.fromkeys(("cores", "memory_mb", "remaining_s", "disk_mb", "gpus"), 10**12)
    await world.dispatcher.acquire(queue, ask("large", **much))
    await world.dispatcher.acquire(queue, ask("small", **dict.fromkeys(much, -(10**12))))
    await world.submit(evgen())
    await world.agents()  # the brokerage reads what pilots offered
    assert await world.acquire("A-BATCH", "p1") is not None


@pytest.mark.parametrize("field", ["pilot", "request"])
async def test_a_request_that_cannot_be_kept_is_refused_alone(world: World, field: str) -> None:
    queue = await fill(world, 2)
    long = "".join(uuid.uuid4().hex for _ in range(300))
    bad, good = await asyncio.gather(
        world.dispatcher.acquire(queue, replace(ask("bad"), **{field: long})),
        world.dispatcher.acquire(queue, ask("good")),
        return_exceptions=True,
    )
    assert isinstance(bad, BadRequest)
    assert isinstance(good, Given) and good.jobs


async def test_a_pilot_is_where_it_asked_last(world: World) -> None:
    await world.acquire("A-BATCH", "p1")
    await world.acquire("B-BATCH", "p1")
    assert await world.value("SELECT queue_id FROM pilot WHERE name = 'p1'") == await queue_id(world, "B-BATCH")


async def told(*servers: Dispatcher) -> None:
    """Start them, and wait until they are told of what becomes ready."""
    for server in servers:
        await server.start()
    await until(lambda: all(server._hears for server in servers))


async def until(true: Callable[[], bool]) -> None:
    for _ in range(3000):
        if true():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("not within 30 s")


async def test_two_servers_that_know_of_each_other_seldom_choose_the_same_job(
    world: World, other_server: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = await fill(world, 700)
    await told(world.dispatcher, other_server)
    missed: list[int] = []
    kept = Heads.missed
    monkeypatch.setattr(Heads, "missed", lambda self, lane, job: (missed.append(job), kept(self, lane, job)))
    for _ in range(25):
        answers = await pull(world, [world.dispatcher, other_server], queue, 40)
        assert all(answer.jobs for answer in answers)
    assert await world.value("SELECT count(*) FROM lease") == 1000
    assert len(missed) < 100


async def test_requests_that_came_to_two_servers_in_any_order_are_answered_once(
    world: World, other_server: Dispatcher
) -> None:
    queue = await fill(world, 100)
    for n in range(5):
        wishes = [ask(f"p{n}-{pilot}") for pilot in range(30)]
        first, second = await asyncio.gather(
            asyncio.gather(*(world.dispatcher.acquire(queue, wish) for wish in wishes)),
            asyncio.gather(*(other_server.acquire(queue, wish) for wish in reversed(wishes))),
        )
        assert [each.jobs for each in first] == [each.jobs for each in reversed(second)]
    assert await world.value("SELECT count(*) FROM lease") == 150


async def test_a_job_that_another_transaction_had_locked_goes_to_a_parked_pilot_though_nobody_tells(
    world: World,
) -> None:
    queue = await fill(world, 1)
    await told(world.dispatcher)
    async with world.pool.acquire() as conn:
        locked = conn.transaction()
        await locked.start()
        await conn.execute("SELECT FROM ready FOR UPDATE")
        parked = asyncio.create_task(world.dispatcher.acquire(queue, ask("p1", wait_s=50)))
        await until(lambda: bool(world.dispatcher._desk(queue).parked))
        await locked.rollback()
    assert (await parked).jobs


@pytest.mark.parametrize("step", [1, 2, 120])
async def test_two_servers_begin_at_different_jobs_of_a_lane_whatever_its_numbers_have_in_common(
    world: World, step: int
) -> None:
    queue = await fill(world, 0)
    await world.pool.execute(
        "INSERT INTO ready (job_id, queue_id, share_id, requirement_id, priority)"
        " SELECT $2 * n, $1, 1, 1, 0 FROM generate_series(1, 256) AS n",
        queue,
        step,
    )
    first: list[set[int]] = []
    for part in range(2):
        heads = Heads()
        heads.divide(part, 2)
        async with world.pool.acquire() as conn:
            await heads.refresh(conn, queue, trusted=True, wanted=256)
        [lane] = heads.lanes.lanes()
        first.append({job for _, job in lane.heads[:100]})
    assert first[0].isdisjoint(first[1])


async def test_what_changes_while_the_heads_are_read_is_read_again(world: World) -> None:
    queue = await fill(world, 2)
    heads = Heads()
    async with world.pool.acquire() as conn:
        reading = asyncio.create_task(heads.refresh(conn, queue, trusted=True, wanted=1))
        await asyncio.sleep(0)
        heads.changed(None)
        await reading
        await world.pool.execute("DELETE FROM ready")
        await heads.refresh(conn, queue, trusted=True, wanted=1)
    assert heads.lanes.spent()


async def test_who_asks_is_served_beside_some_of_the_parked_pilots_that_news_wake() -> None:
    def wish(name: str) -> _Wish:
        return _Wish(ask(name), (name, "1"), asyncio.get_running_loop().create_future())

    desk = _Desk(parked={wish(f"parked-{n}"): 0 for n in range(3 * BATCH)}, asking=[wish("p1"), wish("p2")])
    first = list(desk.asking)
    desk.ready()
    batch = desk.take()
    assert batch[-2:] == first
    assert len(batch) == WOKEN + 2
    assert not desk.asking


async def test_one_job_that_becomes_ready_is_not_matched_with_all_that_are_parked(world: World) -> None:
    queue = await fill(world, 0)
    await told(world.dispatcher)
    parked = [asyncio.create_task(world.dispatcher.acquire(queue, ask(f"p{n}", wait_s=50))) for n in range(3 * WOKEN)]
    desk = world.dispatcher._desk(queue)
    await until(lambda: len(desk.parked) == len(parked))
    await fill(world, 1)
    await until(lambda: len(desk.parked) < len(parked))
    await until(lambda: desk.spent == desk.news)
    tried_again = [tried for tried in desk.parked.values() if tried == desk.news]
    assert 0 < len(tried_again) < 2 * WOKEN
    await world.dispatcher.stop()
    answers = await asyncio.gather(*parked)
    assert sum(len(answer.jobs) for answer in answers) == await world.value("SELECT count(*) FROM lease") > 0


async def test_more_requests_than_are_served_are_refused_and_parked_pilots_do_not_count(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prodchain.broker.matching.dispatcher.ASKING", 4)
    queue = await fill(world, 10)
    tall = [
        asyncio.create_task(world.dispatcher.acquire(queue, ask(f"t{n}", memory_mb=1, wait_s=50))) for n in range(4)
    ]
    await until(lambda: len(world.dispatcher._desk(queue).parked) == 4)
    answers = await asyncio.gather(
        *(world.dispatcher.acquire(queue, ask(f"p{n}")) for n in range(10)), return_exceptions=True
    )
    assert [isinstance(answer, Busy) for answer in answers] == [False] * 4 + [True] * 6
    assert all(isinstance(answer, Given) and answer.jobs for answer in answers[:4])
    assert (await world.dispatcher.acquire(queue, ask("later"))).jobs
    await world.dispatcher.stop()
    assert not any(answer.jobs for answer in await asyncio.gather(*tall))


async def test_a_server_that_stops_answers_at_once(world: World) -> None:
    queue = await fill(world, 1)
    await world.dispatcher.stop()
    assert (await world.dispatcher.acquire(queue, ask("p1", wait_s=50))).reason == "the server stops"
