"""Orders for queues: an operator's word wins over the sites file, until it is taken back."""

import pytest

from prodchain.broker import queue_orders
from prodchain.broker.errors import NotFound
from prodchain.broker.models import QueueStatus

from .test_orders import ANN, entries, give
from .world import World, evgen

WORD = """
SELECT h.ordered, h.health, h.reason FROM queue_health h JOIN queue q ON q.id = h.queue_id WHERE q.name = 'A-BATCH'
"""


async def test_a_drained_queue_gets_no_jobs_until_it_is_online_again(world: World) -> None:
    drained = await give(world, queue_orders.order, "A-BATCH", QueueStatus.DRAIN, ANN, "new kernel")
    assert drained.changes == {"status": ["online", "drain"]}
    assert tuple((await world.fetch(WORD))[0]) == ("drain", "good", "drain, ordered by ann: new kernel")
    assert not (await give(world, queue_orders.order, "A-BATCH", QueueStatus.DRAIN, ANN)).changed
    await world.submit(evgen())
    await world.agents()
    queues = "SELECT DISTINCT q.name FROM job j JOIN queue q ON q.id = j.queue_id"
    assert [row["name"] for row in await world.fetch(queues)] == ["B-BATCH"]
    await give(world, queue_orders.order, "A-BATCH", QueueStatus.ONLINE, ANN)
    assert tuple((await world.fetch(WORD))[0])[:2] == (None, "good")
    assert [each["verb"] for each in await entries(world, object="queue A-BATCH")] == ["online", "drain"]


async def test_online_also_forgets_what_the_broker_held_against_the_queue(world: World) -> None:
    await world.pool.execute(
        "INSERT INTO queue_health (queue_id, health, strikes, reason)"
        " SELECT id, 'drained', 3, '9 of 10 jobs failed' FROM queue WHERE name = 'A-BATCH'"
    )
    outcome = await give(world, queue_orders.order, "A-BATCH", QueueStatus.ONLINE, ANN, "the disk is mended")
    assert outcome.changes == {"health": ["drained", "good"]}
    assert await world.value("SELECT strikes FROM queue_health") == 0


async def test_online_holds_where_the_sites_file_says_otherwise(world: World) -> None:
    await world.pool.execute("UPDATE queue SET status = 'offline' WHERE name = 'A-BATCH'")
    await give(world, queue_orders.order, "A-BATCH", QueueStatus.ONLINE, ANN)
    assert (await world.fetch(WORD))[0]["ordered"] == "online"
    with pytest.raises(NotFound, match="no queue NOWHERE"):
        await give(world, queue_orders.order, "NOWHERE", QueueStatus.DRAIN, ANN)
