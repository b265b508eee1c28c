"""The broker without its processes, on a fresh database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from prodchain.broker.database import Pool

from .world import World


@pytest.fixture
async def world(database: Pool, tmp_path: Path) -> AsyncIterator[World]:
    world = World(database, tmp_path)
    await world.start()
    yield world
    await world.dispatcher.stop()
