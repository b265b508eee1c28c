"""News of many pilots in one transaction: heartbeats keep leases, and what is bad in one report hurts no other."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from prodchain.broker import job_orders, leases, reporting
from prodchain.broker.errors import BadRequest
from prodchain.broker.pilots import Pilots
from prodchain.broker.reporting import Reports
from prodchain.catalog import datasets
from prodchain.pilot_agent.messages import Answer, Answers, JobSpec, Update, Updates, decode, encode

from .world import World, evgen, finished, inside

LEASE_S = 60.0


async def running(world: World, jobs: int) -> list[tuple[str, JobSpec]]:
    await world.pool.execute("UPDATE queue SET slots = 20")
    await world.pool.execute("UPDATE queue SET status = 'drain' WHERE name = 'B-BATCH'")
    await world.submit(evgen(events=25 * jobs))
    await world.agents()
    found = []
    for n in range(jobs):
        spec = await world.acquire("A-BATCH", f"p{n}")
        assert spec is not None
        await world.report("A-BATCH", f"p{n}", Update(spec.job, "running"))
        found.append((f"p{n}", spec))
    return found


@pytest.fixture
def reports(world: World) -> Reports:
    return Reports(world.pool, LEASE_S, Pilots(world.pool))


async def queue_of(world: World) -> int:
    found: int = await world.value("SELECT id FROM queue WHERE name = 'A-BATCH'")
    return found


async def told(reports: Reports, queue: int, news: list[Updates]) -> list[bytes]:
    return await reports.report(queue, lambda: texts(news), lambda: news)


def texts(news: list[Updates]) -> list[bytes]:
    return [json.dumps(encode(each)).encode() for each in news]


def commands(answers: bytes) -> list[str]:
    return [answer.command for answer in decode(Answers, json.loads(answers)).answers]


async def test_heartbeats_that_come_together_keep_all_leases(world: World, reports: Reports) -> None:
    known = await running(world, 12)
    await world.pool.execute("UPDATE lease SET until = now()")
    queue = await queue_of(world)
    answers = await asyncio.gather(
        *(told(reports, queue, [Updates(pilot, [Update(spec.job, "running")])]) for pilot, spec in known)
    )
    assert [commands(each) for [each] in answers] == [["continue"]] * 12
    assert await world.value("SELECT count(*) FROM lease WHERE until > now() + interval '50 s'") == 12
    assert await world.value("SELECT count(*) FROM event WHERE state = 'running' AND job_id IS NOT NULL") == 12


async def test_a_heartbeat_that_is_repeated_keeps_the_lease_and_its_log(world: World, reports: Reports) -> None:
    [(pilot, spec)] = await running(world, 1)
    queue = await queue_of(world)
    beat = Updates(pilot, [Update(spec.job, "running")])
    first, second = [await told(reports, queue, [beat]) for _ in range(2)]
    assert (
        first
        == second
        == [json.dumps(encode(Answers([Answer(spec.job, "continue")])), separators=(",", ":")).encode()]
    )
    await world.pool.execute("UPDATE lease SET until = now()")
    await told(reports, queue, [beat])
    assert await world.value("SELECT count(*) FROM lease WHERE until > now() + interval '50 s'") == 1
    await told(reports, queue, [Updates(pilot, [Update(spec.job, "running", log="words")])])
    assert await world.value("SELECT text FROM job_log") == "words"


async def test_who_repeats_a_heartbeat_is_told_when_the_job_is_not_its_own_any_more(
    world: World, reports: Reports
) -> None:
    [(pilot, spec), (other, kept)] = await running(world, 2)
    queue = await queue_of(world)
    news = [Updates(pilot, [Update(spec.job, "running")]), Updates(other, [Update(kept.job, "running")])]
    for _ in range(2):
        assert [commands(each) for each in await told(reports, queue, news)] == [["continue"], ["continue"]]
    await inside(world.pool, job_orders.kill, spec.job, "user:ann", "not needed")
    assert [commands(each) for each in await told(reports, queue, news)] == [["discard"], ["continue"]]
    assert commands((await told(reports, queue, [Updates(other, [finished(kept)])]))[0]) == ["continue"]
    [answer] = await told(reports, queue, news[1:])
    assert json.loads(answer)["answers"] == [{"job": kept.job, "command": "continue", "reason": "registered already"}]


async def test_a_job_that_another_server_ends_is_told_at_the_next_heartbeat(world: World, reports: Reports) -> None:
    [(pilot, ended), (silent, lost)] = await running(world, 2)
    queue, other = await queue_of(world), Reports(world.pool, LEASE_S, Pilots(world.pool))
    beats = [Updates(pilot, [Update(ended.job, "running")]), Updates(silent, [Update(lost.job, "running")])]
    for each in (reports, other, reports):
        assert [commands(answer) for answer in await told(each, queue, beats)] == [["continue"], ["continue"]]
    await told(other, queue, [Updates(pilot, [finished(ended)])])
    await world.pool.execute("UPDATE lease SET until = now() - interval '1 s'")
    await leases.server_lives(world.pool)
    assert await inside(world.pool, leases.reclaim) == 1
    for each in (reports, other, reports):
        assert [commands(answer) for answer in await told(each, queue, beats)] == [["continue"], ["discard"]]
    assert b"registered already" in (await told(reports, queue, beats))[0]


async def test_a_heartbeat_is_known_by_its_text_and_not_read_again(world: World, reports: Reports) -> None:
    known = await running(world, 3)
    queue = await queue_of(world)
    beats = [Updates(pilot, [Update(spec.job, "running")]) for pilot, spec in known]

    def unread() -> list[Updates]:
        raise AssertionError("it was read")

    first = await told(reports, queue, beats)
    assert await reports.report(queue, lambda: texts(beats), unread) == first
    await told(reports, queue, [Updates("p0", [Update(known[0][1].job, "holding")])])
    assert await told(reports, queue, beats) == first
    assert await world.value("SELECT state FROM job WHERE id = $1", known[0][1].job) == "holding"


async def test_a_heartbeat_waits_for_nobody_who_has_its_lease_locked(world: World, reports: Reports) -> None:
    [(pilot, spec), (other, kept)] = await running(world, 2)
    queue = await queue_of(world)
    beats = [Updates(pilot, [Update(spec.job, "running")]), Updates(other, [Update(kept.job, "running")])]
    first = await told(reports, queue, beats)
    await world.pool.execute("UPDATE lease SET until = now()")
    async with world.pool.acquire() as conn, conn.transaction():
        await conn.execute("SELECT FROM lease WHERE job_id = $1 FOR UPDATE", spec.job)
        assert await asyncio.wait_for(told(reports, queue, beats), 5) == first
    renewed = await world.pool.fetch("SELECT job_id FROM lease WHERE until > now() + interval '50 s'")
    assert [row["job_id"] for row in renewed] == [kept.job]


@pytest.mark.parametrize(("pilot", "at"), [("thief", 0), ("p0", 1)])
async def test_a_heartbeat_is_not_kept_for_another_pilot_or_queue_that_repeats_it(
    pilot: str, at: int, world: World, reports: Reports
) -> None:
    [(owner, spec)] = await running(world, 1)
    queue = await queue_of(world)
    await told(reports, queue, [Updates(owner, [Update(spec.job, "running")])])
    await world.pool.execute("UPDATE lease SET until = now()")
    [answer] = await told(reports, queue + at, [Updates(pilot, [Update(spec.job, "running")])])
    assert commands(answer) == ["discard"]
    assert await world.value("SELECT count(*) FROM lease WHERE until > now()") == 0


async def test_a_farm_sends_the_news_of_many_pilots_in_one_call(world: World, reports: Reports) -> None:
    known = await running(world, 6)
    queue = await queue_of(world)
    news = [Updates(pilot, [Update(spec.job, "holding"), finished(spec)]) for pilot, spec in known]
    news[2].updates[1].outputs = []  # is a failure
    news[3].pilot = "thief"
    answers = [commands(each) for each in await told(reports, queue, news)]
    assert answers[2:4] == [["continue", "discard"], ["discard", "discard"]]
    assert answers[:2] + answers[4:] == [["continue", "continue"]] * 4
    assert await world.value("SELECT count(*) FROM job WHERE state = 'finished'") == 4
    assert await world.value("SELECT files FROM dataset WHERE kind = 'production'") == 4
    assert await world.value("SELECT count(*) FROM lease") == 1


async def test_an_output_that_the_catalog_refuses_fails_its_own_job_only(world: World, reports: Reports) -> None:
    known = await running(world, 4)
    queue = await queue_of(world)
    updates = [finished(spec) for _, spec in known]
    updates[1].outputs[0] = replace(updates[1].outputs[0], adler32="no checksum")
    news = [Updates(pilot, [update]) for (pilot, _), update in zip(known, updates, strict=True)]
    answers = [commands(each) for each in await told(reports, queue, news)]
    assert answers == [["continue"], ["discard"], ["continue"], ["continue"]]
    assert await world.value("SELECT count(*) FROM job WHERE state = 'finished'") == 3
    assert await world.value("SELECT count(*) FROM job WHERE state = 'failed'") == 1


async def test_an_output_for_a_dataset_that_was_closed_fails_its_own_job_only(world: World, reports: Reports) -> None:
    [(pilot, spec)] = await running(world, 1)
    await world.submit(evgen(output="mc26.700009.Z.evgen.EVNT.v1", events=25))
    await world.agents()
    other = await world.acquire("A-BATCH", "other")
    assert other is not None
    closed = await world.value("SELECT output_id FROM task ORDER BY id LIMIT 1")
    await inside(world.pool, datasets.close, closed)
    news = [Updates(pilot, [finished(spec)]), Updates("other", [finished(other)])]
    answers = [commands(each) for each in await told(reports, await queue_of(world), news)]
    assert answers == [["discard"], ["continue"]]
    assert "closed" in await world.value("SELECT error FROM job WHERE id = $1", spec.job)
    assert await world.value("SELECT files FROM dataset WHERE id = $1", closed) == 0


@pytest.mark.parametrize(
    ("pilot", "state", "at", "command"),
    [("p0", "running", 0, "continue"), ("p1", "running", 0, "discard"), ("p0", "running", 1, "discard")],
)
async def test_a_heartbeat_counts_from_the_pilot_and_queue_that_have_the_job(
    pilot: str, state: str, at: int, command: str, world: World, reports: Reports
) -> None:
    [(_, spec), _] = await running(world, 2)
    queue = await queue_of(world) + at
    [answer] = await told(reports, queue, [Updates(pilot, [Update(spec.job, state)])])
    assert commands(answer) == [command]


async def test_news_that_were_overtaken_change_nothing(world: World, reports: Reports) -> None:
    [(pilot, spec)] = await running(world, 1)
    queue = await queue_of(world)
    for state in ("holding", "starting", "running"):
        await told(reports, queue, [Updates(pilot, [Update(spec.job, state)])])
    assert await world.value("SELECT state FROM job") == "holding"


async def test_a_state_that_no_pilot_may_report_is_refused(reports: Reports) -> None:
    with pytest.raises(BadRequest):
        await told(reports, 1, [Updates("p", [Update(1, "cancelled")])])


async def test_a_lost_database_is_told_to_each_pilot_and_the_next_news_are_served(
    world: World, reports: Reports
) -> None:
    [(pilot, spec)] = await running(world, 1)
    queue = await queue_of(world)
    await world.pool.execute("ALTER TABLE lease RENAME TO gone")
    news = [Updates(pilot, [Update(spec.job, "running")])]
    failed: list[Any] = await asyncio.gather(*(told(reports, queue, news) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(each, Exception) for each in failed)
    await world.pool.execute("ALTER TABLE gone RENAME TO lease")
    assert await told(reports, queue, news)


async def test_a_heartbeat_of_what_cannot_be_a_job_is_in_no_others_way(world: World, reports: Reports) -> None:
    [(pilot, spec)] = await running(world, 1)
    queue = await queue_of(world)
    [bad], [good] = await asyncio.gather(
        told(reports, queue, [Updates("other", [Update(2**70, "running")])]),
        told(reports, queue, [Updates(pilot, [Update(spec.job, "running")])]),
    )
    assert (commands(bad), commands(good)) == (["discard"], ["continue"])


async def test_a_batch_that_met_another_servers_in_a_deadlock_is_applied_once_more(
    world: World, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    [(pilot, spec)] = await running(world, 1)
    apply, tries = reporting.reports.apply, 0

    async def meets(*values: Any, **named: Any) -> list[Answers]:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise asyncpg.DeadlockDetectedError("deadlock detected")
        return await apply(*values, **named)

    monkeypatch.setattr(reporting.reports, "apply", meets)
    [answers] = await told(reports, await queue_of(world), [Updates(pilot, [Update(spec.job, "running")])])
    assert commands(answers) == ["continue"]
    assert tries == 2


async def test_reports_are_not_tried_one_by_one_while_the_database_is_away(
    world: World, reports: Reports, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    async def away(*_: Any, **__: Any) -> list[Answers]:
        nonlocal tries
        tries += 1
        raise asyncpg.ConnectionDoesNotExistError("connection was closed")

    monkeypatch.setattr(reporting.reports, "apply", away)
    queue = await queue_of(world)
    found = await asyncio.gather(
        *(told(reports, queue, [Updates(f"p{n}", [Update(n + 1, "running")])]) for n in range(5)),
        return_exceptions=True,
    )
    assert all(isinstance(each, asyncpg.ConnectionDoesNotExistError) for each in found)
    assert tries == 1
