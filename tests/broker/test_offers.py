"""The queues as the brokerage sees them: what stands in the tables, from counters."""

from prodchain.broker.brokerage.facts import Link, Offer, Slot, Store
from prodchain.broker.offers import AHEAD_AT_LEAST, INCOMING_BYTES, offers

from .world import World, evgen, inside, sim


async def seen(world: World) -> Offer:
    """What stands for A-BATCH."""
    found: list[Offer] = await inside(world.pool, offers)
    assert [offer.name for offer in found] == ["A-BATCH", "B-BATCH"]
    return found[0]


async def test_a_new_queue_is_as_it_was_declared(world: World) -> None:
    offer = await seen(world)
    assert (offer.site, offer.storage_name, offer.status, offer.health) == ("A", "A-DISK", "online", "good")
    assert (offer.waiting, offer.executing, offer.pilots, offer.pilots_ever) == (0, 0, 0, False)
    assert (offer.best, offer.free_bytes, offer.waiting_limit) == (Slot(), None, AHEAD_AT_LEAST)
    assert offer.network.stores == {1: Store("A-DISK"), 2: Store("B-DISK")}
    assert offer.incoming_limit == INCOMING_BYTES


async def test_its_load_and_what_became_of_jobs_are_counted(world: World) -> None:
    await world.pool.execute("UPDATE queue SET status = 'offline' WHERE name = 'B-BATCH'")
    await world.submit(evgen(events=125))
    await world.agents()
    await world.run_one("A-BATCH")
    assert await world.acquire("A-BATCH") is not None
    offer = await seen(world)
    assert (offer.activated, offer.executing, offer.finished, offer.failed) == (3, 1, 1, 0)
    assert (offer.pilots, offer.pilots_ever) == (1, True)


async def test_what_is_on_its_way_takes_of_the_free_space(world: World) -> None:
    await world.submit(evgen())
    await world.pool.execute("UPDATE queue SET status = 'offline' WHERE name = 'A-BATCH'")
    await world.run_all()
    await world.pool.execute("UPDATE storage SET capacity_bytes = 1000, min_free_bytes = 100 WHERE name = 'B-DISK'")
    await world.pool.execute("INSERT INTO transfer_count (storage_id, files, bytes, failing) VALUES (2, 1, 300, 0)")
    b = (await inside(world.pool, offers))[1]
    held = await world.value("SELECT sum(bytes)::int FROM storage_use WHERE storage_id = 2")
    assert held > 0
    assert (b.incoming_bytes, b.free_bytes) == (300, 900 - held - 300)


async def test_an_operators_word_and_its_health_stand_over_the_declaration(world: World) -> None:
    await world.pool.execute(
        """
        INSERT INTO queue_health (queue_id, ordered, health, reason, canary)
        SELECT id, 'drain', 'drained', 'all failed', 7 FROM queue WHERE name = 'A-BATCH'
        """
    )
    offer = await seen(world)
    assert (offer.status, offer.health, offer.health_reason, offer.canary) == ("drain", "drained", "all failed", 7)
    await world.pool.execute("UPDATE queue_health SET ordered = 'online', health = 'good'")
    offer = await seen(world)
    assert (offer.status, offer.health, offer.health_reason, offer.canary) == ("online", "good", "", 7)


async def test_pilots_tell_the_best_that_they_offered_lately(world: World) -> None:
    await world.pool.execute(
        """
        INSERT INTO pilot (name, queue_id, host, offer, last_seen)
        SELECT v.name, q.id, 'h', v.offer::jsonb, now() - v.ago * interval '1 minute'
        FROM queue q CROSS JOIN (VALUES
            ('small', '{"cores": 1, "memory_mb": 900, "disk_mb": 10}', 1),
            ('silent', '{"cores": 2, "memory_mb": 800}', 2),
            ('gone', '{"cores": 64, "memory_mb": 64000}', 11)) AS v (name, offer, ago)
        WHERE q.name = 'A-BATCH'
        """
    )
    offer = await seen(world)
    assert (offer.pilots, offer.best) == (2, Slot(2, 900, 20_000, 0))


async def test_links_and_caps_are_known(world: World) -> None:
    await world.pool.execute(
        """
        INSERT INTO link (source_id, storage_id, hour, files, bytes, seconds, failures)
        VALUES (2, 1, date_trunc('hour', now()), 4, 4 * 10^11, 1000, 1),
               (1, 2, date_trunc('hour', now()) - interval '5 hours', 4, 4000, 8, 1)
        """
    )
    await world.pool.execute("UPDATE queue SET max_jobs = 1, slots = 1000 WHERE name = 'A-BATCH'")
    offer = await seen(world)
    assert offer.network.links == {(2, 1): Link(400_000_000, 4, 1)}
    assert offer.incoming_limit == 4 * 10**11
    assert (offer.max_jobs, offer.waiting_limit) == (1, AHEAD_AT_LEAST)


async def test_jobs_whose_inputs_come_are_told_apart_from_those_that_wait_for_pilots(world: World) -> None:
    await world.submit(evgen())
    await world.pool.execute("UPDATE queue SET status = 'offline' WHERE name = 'A-BATCH'")
    await world.run_all()
    await world.pool.execute("UPDATE queue SET status = CASE name WHEN 'A-BATCH' THEN 'online' ELSE 'offline' END")
    await world.pool.execute("DELETE FROM replica WHERE storage_id = 1")
    await world.submit(sim())
    await world.agents()
    offer = await seen(world)
    assert (offer.assigned, offer.activated) == (4, 0)
    assert offer.incoming_bytes > 0
