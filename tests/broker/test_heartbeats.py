"""Heartbeats: many in one statement; what is more than a heartbeat is looked at by itself."""

import asyncio

from prodchain.broker.heartbeats import Heartbeats
from prodchain.pilot_agent.messages import Update, Updates

from .world import World, evgen

LEASE_S = 60.0


async def running(world: World, jobs: int) -> list[tuple[str, int]]:
    await world.submit(evgen(events=25 * jobs))
    await world.agents()
    found = []
    for n in range(jobs):
        spec = await world.acquire("A-BATCH", f"p{n}")
        assert spec is not None
        await world.report("A-BATCH", f"p{n}", Update(spec.job, "running"))
        found.append((f"p{n}", spec.job))
    return found


async def test_heartbeats_that_come_together_keep_all_leases(world: World) -> None:
    await world.pool.execute("UPDATE queue SET slots = 20")
    await world.pool.execute("UPDATE queue SET status = 'drain' WHERE name = 'B-BATCH'")
    known = await running(world, 12)
    await world.pool.execute("UPDATE lease SET until = now()")
    queue = await world.value("SELECT id FROM queue WHERE name = 'A-BATCH'")
    heartbeats = Heartbeats(world.pool, LEASE_S)
    answers = await asyncio.gather(
        *(heartbeats.beat(queue, Updates(pilot, [Update(job, "running")])) for pilot, job in known)
    )
    assert [answer and [each.command for each in answer] for answer in answers] == [["continue"]] * 12
    assert await world.value("SELECT count(*) FROM lease WHERE until > now() + interval '50 s'") == 12


async def test_what_is_more_than_a_heartbeat_is_not_answered_here(world: World) -> None:
    await world.pool.execute("UPDATE queue SET status = 'drain' WHERE name = 'B-BATCH'")
    (pilot, job), (other, second) = await running(world, 2)
    queue = await world.value("SELECT id FROM queue WHERE name = 'A-BATCH'")
    heartbeats = Heartbeats(world.pool, LEASE_S)

    async def beat(who: str, *updates: Update, at: int = queue) -> bool:
        return await heartbeats.beat(at, Updates(who, list(updates))) is not None

    assert await beat(pilot, Update(job, "running"))
    assert not await beat(pilot, Update(job, "holding"))  # a new state
    assert not await beat(pilot, Update(job, "running", log="a line"))
    assert not await beat(pilot, Update(job, "failed"))
    assert not await beat(pilot, Update(job, "finished"))
    assert not await beat(pilot, Update(job, "running"), Update(second, "running"))  # one is not its own
    assert not await beat(other, Update(job, "running"))
    assert not await beat(pilot, Update(job, "running"), at=queue + 1)
    assert not await beat(pilot, Update(10**15, "running"))


async def test_a_lost_database_is_told_to_each_pilot_and_the_next_heartbeat_is_served(world: World) -> None:
    await world.pool.execute("UPDATE queue SET status = 'drain' WHERE name = 'B-BATCH'")
    ((pilot, job),) = await running(world, 1)
    queue = await world.value("SELECT id FROM queue WHERE name = 'A-BATCH'")
    heartbeats = Heartbeats(world.pool, LEASE_S)
    await world.pool.execute("ALTER TABLE lease RENAME TO gone")
    news = Updates(pilot, [Update(job, "running")])
    failed = await asyncio.gather(*(heartbeats.beat(queue, news) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(each, Exception) for each in failed)
    await world.pool.execute("ALTER TABLE gone RENAME TO lease")
    assert await heartbeats.beat(queue, news) is not None


async def test_a_heartbeat_of_what_cannot_be_a_job_is_in_no_others_way(world: World) -> None:
    await world.pool.execute("UPDATE queue SET status = 'drain' WHERE name = 'B-BATCH'")
    [(pilot, job)] = await running(world, 1)
    queue = await world.value("SELECT id FROM queue WHERE name = 'A-BATCH'")
    heartbeats = Heartbeats(world.pool, LEASE_S)
    bad, good = await asyncio.gather(
        heartbeats.beat(queue, Updates("other", [Update(2**70, "running")])),
        heartbeats.beat(queue, Updates(pilot, [Update(job, "running")])),
        return_exceptions=True,
    )
    assert bad is None
    assert isinstance(good, list)
