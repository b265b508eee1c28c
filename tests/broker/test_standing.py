"""How things stand is read beside the batches that go by it, and nothing that is given meanwhile is forgotten."""

import asyncio

from prodchain.broker.matching.match import GIVERS
from prodchain.broker.matching.standing import LATE_S, READ_S, Current

from .world import World


async def test_what_is_given_while_the_standing_is_read_counts_in_it(world: World) -> None:
    queue = await world.value("SELECT id FROM queue WHERE name = 'A-BATCH'")
    current = Current(world.pool)
    async with world.pool.acquire() as conn:
        first = await current.of(conn, queue)
        current.give(queue, 1, 2)
        current._read_at -= READ_S  # a second has gone by
        assert await current.of(conn, queue) is first
        assert current._reading is not None
        while current._since:  # noqa: ASYNC110 - until it begins, which nobody tells
            await asyncio.sleep(0)
        current.give(queue, 1, 4)
        await current._reading
        assert current.standing is not first
        assert current.standing.jobs == {queue: 1}  # the job before is counted by the database, where it is none
        assert current.standing.cores == {(1, queue): 4 * GIVERS}


async def test_nothing_is_given_by_a_standing_that_is_too_old_or_does_not_know_the_queue(world: World) -> None:
    queue = await world.value("SELECT id FROM queue WHERE name = 'A-BATCH'")
    current = Current(world.pool)
    async with world.pool.acquire() as conn:
        first = await current.of(conn, queue)
        current._read_at -= LATE_S
        second = await current.of(conn, queue)
        assert second is not first
        del second.queues[queue]
        assert queue in (await current.of(conn, queue)).queues


async def test_a_reading_beside_that_fails_leaves_the_standing_as_it_was(world: World) -> None:
    queue = await world.value("SELECT id FROM queue WHERE name = 'A-BATCH'")
    current = Current(world.pool)
    async with world.pool.acquire() as conn:
        first = await current.of(conn, queue)
        current._read_at -= READ_S
        await conn.execute("ALTER TABLE share RENAME TO gone")
        assert await current.of(conn, queue) is first
        assert current._reading is not None
        await current._reading
        assert current.standing is first
        await conn.execute("ALTER TABLE gone RENAME TO share")
        assert await current.of(conn, queue) is first
        await current.stop()
