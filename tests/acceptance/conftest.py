"""Homes for whole systems, and the physics that they must reproduce."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .system import System


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def system(home: Path) -> Iterator[System]:
    """A system that runs, without anything that kills."""
    system = System(home)
    system.up()
    yield system
    system.remove()


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, int], Any]:
    """AOD arrays of a plain single-process run, for numbers of events and jobs; made once each."""
    from prodchain.broker.splitting import split_events
    from prodchain.tasks.payloads.reference import produce

    made: dict[tuple[int, int], Any] = {}

    def arrays(events: int, jobs: int) -> Any:
        if (events, jobs) not in made:
            folder = tmp_path_factory.mktemp(f"reference-{events}-{jobs}")
            made[events, jobs] = produce(
                folder, [piece.events for piece in split_events(events, jobs=jobs, first_event=1, seed=1)]
            )
        return made[events, jobs]

    return arrays
