"""One task that cannot be served stops neither the others nor the agents."""

import asyncio
from pathlib import Path

import pytest

from prodchain.broker import generation
from prodchain.broker.agents import Agents
from prodchain.broker.database import Connection
from prodchain.broker.settings import Settings
from prodchain.catalog import folding

from .world import World, evgen, sim


async def test_agents_go_on_after_an_error_that_nobody_foresaw(
    world: World, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = await world.submit(evgen())
    good = await world.submit(evgen(output="mc26.700002.Z.evgen.EVNT.v1"))
    await world.submit(sim())
    generate = generation.generate

    async def fails_for_one(conn: Connection, task_id: int) -> int:
        if task_id == bad.id:
            raise KeyError("a field that nobody knows")
        return await generate(conn, task_id)

    monkeypatch.setattr(generation, "generate", fails_for_one)
    agents = Agents(world.pool, Settings(home=tmp_path, database_url=database_url))
    running = asyncio.create_task(agents.run())
    for _ in range(100):
        await asyncio.sleep(0.1)
        if await world.states(good) == ["activated"] * 4:
            break
    agents.stop()
    await running
    assert await world.states(good) == ["activated"] * 4
    assert await world.states(bad) == []


async def test_summing_up_takes_turns_even_while_counters_change(
    world: World, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns = 0
    begun = asyncio.Event()

    async def always_something(_: Connection) -> int:
        nonlocal turns
        turns += 1
        begun.set()
        return 5

    monkeypatch.setattr(folding, "fold", always_something)
    agents = Agents(world.pool, Settings(home=tmp_path, database_url=database_url))
    running = asyncio.create_task(agents.run())
    await begun.wait()
    await asyncio.sleep(0.5)
    agents.stop()
    await running
    assert turns == 1
