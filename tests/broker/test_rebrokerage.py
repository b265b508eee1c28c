"""Jobs that wait where they will not run soon go elsewhere, once."""

import pytest

from prodchain.broker import rebrokerage
from prodchain.broker.rebrokerage import WATCHDOGS
from prodchain.broker.settings import Settings

from .world import World, evgen, inside, sim

DOGS = {dog.name: dog for dog in WATCHDOGS}


async def look(world: World, name: str, **limits: float) -> int:
    settings = Settings(home=world.folder, **limits)
    sent: int = await inside(world.pool, rebrokerage.look, settings, DOGS[name])
    return sent


async def at(world: World, queue: str, state: str = "activated") -> int:
    number: int = await world.value(
        "SELECT count(*) FROM job j JOIN queue q ON q.id = j.queue_id WHERE q.name = $1 AND j.state = $2",
        queue,
        state,
    )
    return number


async def only(world: World, queue: str, *, status: str = "offline") -> None:
    await world.pool.execute("UPDATE queue SET status = CASE WHEN name = $1 THEN 'online' ELSE $2 END", queue, status)


async def everywhere(world: World) -> None:
    await world.pool.execute("UPDATE queue SET status = 'online'")


async def reasons(world: World) -> set[str]:
    rows = await world.fetch(
        "SELECT DISTINCT e.reason FROM job j CROSS JOIN LATERAL events_of(j.id) e"
        " WHERE e.state = 'defined' AND e.before IS NOT NULL"
    )
    return {row["reason"] for row in rows}


@pytest.mark.parametrize("status", ["offline", "drain"])
async def test_what_waits_at_a_closed_queue_goes_and_what_pilots_have_stays(world: World, status: str) -> None:
    await only(world, "A-BATCH")
    task = await world.submit(evgen())
    await world.agents()
    spec = await world.acquire("A-BATCH")
    assert await look(world, "closed-queue") == 0
    await only(world, "B-BATCH", status=status)
    assert await look(world, "closed-queue") == 3
    await world.agents()
    assert (await at(world, "B-BATCH"), await at(world, "A-BATCH", "sent")) == (3, 1)
    assert await reasons(world) == {f"A-BATCH is {status} (watchdog closed-queue)"}
    assert spec is not None
    assert await look(world, "closed-queue") == 0
    assert len(await world.states(task)) == 4


async def test_an_operators_word_counts_as_the_files_does(world: World) -> None:
    await only(world, "A-BATCH")
    await world.submit(evgen())
    await world.agents()
    await everywhere(world)
    await world.pool.execute(
        "INSERT INTO queue_health (queue_id, ordered) SELECT id, 'drain' FROM queue WHERE name = 'A-BATCH'"
    )
    assert await look(world, "closed-queue") == 4


async def test_jobs_whose_inputs_are_on_their_way_leave_a_closed_queue_too(world: World) -> None:
    await world.submit(evgen())
    await only(world, "A-BATCH")
    await world.run_all()
    await only(world, "B-BATCH")
    await world.submit(sim())
    await world.agents()
    assert await at(world, "B-BATCH", "assigned") == 4
    await only(world, "A-BATCH")
    assert await look(world, "closed-queue") == 4
    await world.agents()
    assert await at(world, "A-BATCH") == 4
    assert await world.value("SELECT count(*) FROM hold_file") == 0


async def cut_off(world: World) -> None:
    """Inputs at A that do not come to B, in spite of all sources having been tried."""
    await world.submit(evgen())
    await only(world, "A-BATCH")
    await world.run_all()
    await only(world, "B-BATCH")
    await world.submit(sim())
    await world.agents()
    await world.pool.execute(
        "UPDATE transfer SET error = 'connection refused', rounds = 1, queued_at = now() - interval '11 min'"
    )


async def test_jobs_whose_inputs_cannot_come_go_where_they_are(world: World) -> None:
    await cut_off(world)
    await everywhere(world)
    assert await look(world, "inputs-cut-off", link_s=3600) == 0
    assert await look(world, "inputs-cut-off") == 4
    await world.agents()
    assert await at(world, "A-BATCH") == 4
    reason = (await reasons(world)).pop()
    assert reason.startswith("its input mc26:mc26.700001.Z.evgen.EVNT.v1._00000")
    assert reason.endswith(" s: connection refused (watchdog inputs-cut-off)")


async def test_they_stay_where_no_other_queue_would_take_them(world: World) -> None:
    await cut_off(world)
    assert await look(world, "inputs-cut-off") == 0
    await everywhere(world)
    await world.pool.execute("UPDATE queue SET memory_mb = 10 WHERE name = 'A-BATCH'")
    assert await look(world, "inputs-cut-off") == 0
    assert await at(world, "B-BATCH", "assigned") == 4


async def test_no_job_goes_to_and_fro(world: World) -> None:
    await cut_off(world)
    await everywhere(world)
    assert await look(world, "inputs-cut-off") == 4
    await only(world, "B-BATCH")  # before they are placed anew, the other queue is gone
    await world.agents()
    assert await at(world, "B-BATCH", "assigned") == 4
    await everywhere(world)
    await world.pool.execute("UPDATE transfer SET error = 'it broke', rounds = 3, queued_at = now() - interval '1 h'")
    assert await look(world, "inputs-cut-off") == 0


async def test_what_fails_for_the_first_time_or_has_lost_its_input_is_waited_for(world: World) -> None:
    await cut_off(world)
    await everywhere(world)
    await world.pool.execute("UPDATE transfer SET rounds = 0")
    assert await look(world, "inputs-cut-off") == 0
    await world.pool.execute("UPDATE transfer SET rounds = 1")
    await world.pool.execute("DELETE FROM replica")
    assert await look(world, "inputs-cut-off") == 0


async def waited(world: World) -> None:
    await world.pool.execute("UPDATE job SET changed_at = now() - interval '2 h' WHERE state = 'activated'")


async def test_jobs_that_no_pilot_takes_go_to_a_queue_that_has_pilots(world: World) -> None:
    await only(world, "A-BATCH")
    await world.submit(evgen())
    await world.agents()
    await everywhere(world)
    assert await look(world, "no-pilot") == 0
    await waited(world)
    assert await look(world, "no-pilot") == 4
    await world.agents()
    assert await at(world, "B-BATCH") == 4
    assert await reasons(world) == {"no pilot of A-BATCH that suits it was seen for 3600 s (watchdog no-pilot)"}
    await waited(world)
    assert await look(world, "no-pilot") == 0  # they avoid the one, and there is no third


async def test_they_stay_where_pilots_that_suit_are_busy_and_go_where_those_seen_are_too_small(world: World) -> None:
    await only(world, "A-BATCH")
    await world.submit(evgen(memory_mb=1500))
    await world.agents()
    assert await world.acquire("A-BATCH") is not None  # its pilot offers 2000 MB
    await everywhere(world)
    await waited(world)
    assert await look(world, "no-pilot") == 0
    await world.pool.execute("""UPDATE pilot SET offer = offer || '{"memory_mb": 1000}'""")
    assert await look(world, "no-pilot") == 3


async def test_a_slice_is_bounded_and_the_rest_follows(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await only(world, "A-BATCH")
    await world.submit(evgen(events=20, events_per_job=1))
    await world.agents()
    await only(world, "B-BATCH")
    monkeypatch.setattr(rebrokerage, "SLICE", 8)
    assert [await look(world, "closed-queue") for _ in range(4)] == [8, 8, 4, 0]


async def test_those_that_wait_for_the_same_storage_at_another_queue_are_not_in_the_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.submit(evgen())
    await only(world, "A-BATCH")
    await world.run_all()
    await world.pool.execute("UPDATE queue SET storage_id = (SELECT id FROM storage WHERE name = 'B-DISK')")
    for queue, tag in (("A-BATCH", "v1"), ("B-BATCH", "v2")):
        await only(world, queue)
        await world.submit(sim(output=f"mc26.700001.Z.simul.HITS.{tag}"))
        await world.agents()
        assert await at(world, queue, "assigned") == 4
    await only(world, "A-BATCH")
    monkeypatch.setattr(rebrokerage, "SLICE", 2)
    assert [await look(world, "closed-queue") for _ in range(3)] == [2, 2, 0]
