"""Whatever happens in whatever order, each piece of work ends up in the catalog once."""

import asyncio
from collections import Counter
from random import Random

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prodchain.broker import why

from .play import EVENTS, MOVES, REQUESTS, Play
from .truths import wrong
from .world import World, fresh, inside

OFTEN = ["agent"] * 6 + ["acquire", "report", "arrive", "retry task"] * 3 + ["submit", "kill task", *MOVES]
schedules = st.lists(st.tuples(st.sampled_from(OFTEN), st.integers(0, 29)), min_size=40, max_size=60)


async def look(play: Play, n: int = 0) -> None:
    """What must hold at any moment; every job that waits says why (one is asked)."""
    assert await wrong(play.world) == []
    waiting = await play.world.fetch(
        "SELECT id FROM job WHERE state NOT IN ('finished', 'failed', 'cancelled') ORDER BY id"
    )
    if waiting:
        answer = await inside(play.world.pool, why.job_why, waiting[n % len(waiting)]["id"])
        assert all(reason["what"] for reason in answer["reasons"]) and answer["reasons"]


async def all_is_done(play: Play) -> None:
    rows = await play.world.fetch(
        "SELECT t.id, t.state, d.state AS dataset, d.events FROM task t JOIN dataset d ON d.id = t.output_id"
    )
    assert len(rows) == len(REQUESTS)
    for row in rows:
        assert (row["state"], row["dataset"], row["events"]) == ("done", "closed", EVENTS), dict(row)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
@given(schedule=schedules)
def test_any_order_of_moves_makes_every_event_once(
    schedule: list[tuple[str, int]], postgres_url: str, template: str
) -> None:
    async def whole(world: World) -> None:
        play = Play(world)
        for move, n in schedule:
            await MOVES[move](play, n)
            await look(play, n)
        await play.finish()
        await look(play)
        await all_is_done(play)

    asyncio.run(fresh(postgres_url, template, whole))


async def test_moves_at_the_same_time_neither_block_each_other_nor_break_anything(world: World) -> None:
    play, random, errors = Play(world), Random(7), Counter[str]()
    for n in range(len(REQUESTS)):
        await play.submit(n)
    stop = asyncio.get_running_loop().time() + 6

    async def player(names: list[str]) -> None:
        while asyncio.get_running_loop().time() < stop:
            name = random.choice(names)
            try:
                await MOVES[name](play, random.randrange(30))
            except asyncpg.PostgresError as error:
                errors[f"{name}: {error!r}"] += 1
            await asyncio.sleep(0)

    agents, pilots = ["agent"] * 8 + ["fold"], ["acquire", "report", "progress", "fail"]
    verbs = ["kill task", "retry task", "retry task", "kill job", "vanish"]
    orders = [
        "pause task",
        "resume task",
        "resume task",
        "finish task",
        "change task",
        "reassign task",
        "reassign job",
    ]
    keepers = ["over", "reap", "lose"]
    await asyncio.gather(
        *map(player, [agents, agents, pilots, pilots, ["arrive"], ["arrive"], verbs, verbs, orders, keepers])
    )
    assert not errors
    await look(play)
    await play.finish()
    await look(play)
    await all_is_done(play)
