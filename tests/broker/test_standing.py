"""How things stand is read beside the batches that go by it, and nothing that is given meanwhile is forgotten."""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest

from prodchain.broker.database import Connection
from prodchain.broker.matching.match import GIVERS
from prodchain.broker.matching.standing import LATE_S, READ_S, Current, Standing

from .world import World


class Known(NamedTuple):
    """What was read once, for a queue."""

    conn: Connection
    queue: int
    current: Current
    first: Standing

    async def after(self, seconds: float) -> Standing:
        """What a batch goes by when so much time has gone by."""
        self.current._read_at -= seconds
        return await self.current.of(self.conn, self.queue)


@pytest.fixture
async def known(world: World) -> AsyncIterator[Known]:
    queue = await world.value("SELECT id FROM queue WHERE name = 'A-BATCH'")
    current = Current(world.pool)
    async with world.pool.acquire() as conn:
        yield Known(conn, queue, current, await current.of(conn, queue))
    await current.stop()


async def test_what_is_given_while_the_standing_is_read_counts_in_it(known: Known) -> None:
    current, queue = known.current, known.queue
    current.give(queue, 1, 2)
    assert await known.after(READ_S) is known.first
    assert current._reading is not None
    while current._since:  # noqa: ASYNC110 - until it begins, which nobody tells
        await asyncio.sleep(0)
    current.give(queue, 1, 4)
    await current._reading
    assert current.standing is not known.first
    assert current.standing.jobs == {queue: 1}  # the job before is counted by the database, where it is none
    assert current.standing.cores == {(1, queue): 4 * GIVERS}


async def test_nothing_is_given_by_a_standing_that_is_too_old_or_does_not_know_the_queue(known: Known) -> None:
    second = await known.after(LATE_S)
    assert second is not known.first
    del second.queues[known.queue]
    assert known.queue in (await known.after(0)).queues


async def test_a_reading_beside_that_fails_leaves_the_standing_as_it_was(known: Known) -> None:
    await known.conn.execute("ALTER TABLE share RENAME TO gone")
    assert await known.after(READ_S) is known.first
    assert known.current._reading is not None
    await known.current._reading
    assert known.current.standing is known.first
    await known.conn.execute("ALTER TABLE gone RENAME TO share")
    assert await known.after(0) is known.first
