"""The whole broker, played with in any order: what is ordered, what fails, what vanishes and what comes later."""

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prodchain.catalog import recount

from .full_play import AGENTS, DATA, MOVES, ORDERS, PILOTS, REQUESTS, FullPlay
from .truths import left, no_event_twice, wrong
from .world import World, fresh, inside

EXAMPLES = int(os.environ.get("PRODCHAIN_TEST_EXAMPLES", "5"))
"""A run over night takes thousands."""
OFTEN = (
    ["agent"] * 8
    + ["acquire", "report", "arrive"] * 5
    + ["submit", "watch", "retry_task"] * 3
    + ["lose_on_the_way"] * 3
    + [*MOVES]
)
schedules = st.lists(st.tuples(st.sampled_from(OFTEN), st.integers(0, 29)), min_size=50, max_size=80)


async def look(play: FullPlay, n: int) -> None:
    assert await wrong(play.world) == []
    if play.tasks:
        await no_event_twice(play.world, play.tasks[n % len(play.tasks)].id or 0)
    await play.ask(n)


async def nothing_is_left(play: FullPlay) -> None:
    await play.all_is_done()
    assert await left(play.world) == {}
    assert await inside(play.world.pool, recount.check) == []


async def play_on_a_database(postgres_url: str, template: str, run: Callable[[FullPlay], Awaitable[None]]) -> None:
    async def whole(world: World) -> None:
        play = FullPlay(world)
        await play.start()
        await run(play)
        await play.stop()

    await fresh(postgres_url, template, whole)


@pytest.mark.timeout(300 + 30 * EXAMPLES)
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    print_blob=True,
)
@given(schedule=schedules)
def test_whatever_is_ordered_and_whatever_fails_every_event_is_made_once(
    schedule: list[tuple[str, int]], postgres_url: str, template: str
) -> None:
    async def run(play: FullPlay) -> None:
        for move, n in schedule:
            await MOVES[move](play, n)
            await look(play, n)
        await play.finish()
        await look(play, 0)
        await nothing_is_left(play)
        await play.remember()

    asyncio.run(play_on_a_database(postgres_url, template, run))


async def test_all_of_it_at_the_same_time_breaks_nothing(world: World) -> None:
    play, errors = FullPlay(world, alone=False), Counter[str]()
    random = Random(int(os.environ.get("PRODCHAIN_TEST_SEED", "11")))
    await play.start()
    for n in range(len(REQUESTS)):
        await play.submit(n)
    stop = asyncio.get_running_loop().time() + 6

    async def player(names: tuple[str, ...]) -> None:
        while asyncio.get_running_loop().time() < stop:
            name = random.choice(names)
            try:
                await MOVES[name](play, random.randrange(30))
            except asyncpg.PostgresError as error:
                errors[f"{name}: {error!r} {vars(error)}"] += 1
            await asyncio.sleep(0)

    work = ("agent",) * 8 + AGENTS
    give = ("acquire", "report") * 3 + PILOTS
    settle = ("retry_task", "resume_task") * 4
    players = (work, work, give, give, ("arrive",), ("arrive",), ORDERS + settle, ORDERS + settle, DATA, ("watch",))
    await asyncio.gather(*map(player, players))
    assert not errors
    play.alone = True
    assert await wrong(world) == []
    await play.finish()
    await nothing_is_left(play)
    await play.remember()
    await play.stop()
