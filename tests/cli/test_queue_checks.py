"""``prodchain queue test`` against the broker's own server."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from prodchain.broker import hooks
from prodchain.broker.database import connect
from prodchain.broker.matching.dispatcher import Dispatcher
from prodchain.pilot_agent.messages import Update

from ..broker.world import LEASE_S, World
from .conftest import Run

SITES = """
home = "A-DISK"
[site.A.storage.A-DISK]
url = "file:storage/a"
[site.A.queue.A-BATCH]
storage = "A-DISK"
"""


@pytest.fixture(autouse=True)
def sites(real_broker: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "sites.toml").write_text(SITES)
    assert run("site", "apply", "sites.toml").code == 0


@contextmanager
def pilot(database_url: str, folder: Path, *, works: bool) -> Iterator[None]:
    """Agents, and a pilot of A-BATCH whose jobs all succeed or all fail, while this lasts."""
    over = threading.Event()

    async def serve() -> None:
        hooks.install()
        pool = await connect(database_url)
        world = World(pool, folder)
        world.dispatcher = Dispatcher(pool, LEASE_S)
        while not over.is_set():
            await world.agents()
            if works:
                await world.run_one("A-BATCH")
            elif spec := await world.acquire("A-BATCH"):
                await world.report("A-BATCH", "p1", Update(spec.job, "failed", error="no scratch disk"))
            await asyncio.sleep(0.05)
        await world.dispatcher.stop()
        await pool.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_a_queue_that_works_passes_with_its_storage(run: Run, database_url: str, tmp_path: Path) -> None:
    with pilot(database_url, tmp_path, works=True):
        ran = run("queue", "test", "A-BATCH", "--wait")
    assert ran.code == 0, ran.err
    lines = [line.split("\t") for line in ran.out.splitlines()]
    assert lines[0][:2] == ["job", "ok"]
    assert lines[0][3] == "all 1 jobs finished"
    assert [line[0] for line in lines[1:]][:2] == ["put", "size"]
    assert {line[1] for line in lines} == {"ok"}


def test_one_that_does_not_says_what_failed_where_to_look_and_that_the_storage_is_fine(
    run: Run, database_url: str, tmp_path: Path
) -> None:
    with pilot(database_url, tmp_path, works=False):
        ran = run("queue", "test", "A-BATCH", "--wait", "--json")
    answer = json.loads(ran.out)
    assert (ran.code, answer["ok"]) == (1, False)
    assert [step["name"] for step in answer["steps"] if not step["ok"]] == ["job"]
    assert "job failed: no scratch disk" in ran.err
    assert "prodchain job log" in ran.err


def test_without_waiting_it_names_the_task_and_waiting_in_vain_says_for_what(run: Run) -> None:
    ran = run("queue", "test", "A-BATCH")
    assert ran.code == 0
    task = int(ran.err.split()[1])
    assert json.loads(run("queue", "test", "A-BATCH", "--json").out) == {"queue": "A-BATCH", "task": task}
    ran = run("queue", "test", "A-BATCH", "--wait", "--timeout", "0")
    assert (ran.code, "its job has not run within 0 s" in ran.err) == (6, True)
    shown = json.loads(run("queue", "show", "A-BATCH", "--json").out)
    assert (shown["health"], shown["canary"]) == ("good", task)
    assert run("task", "ls").out == ""
    assert run("task", "ls", "--step", "canary").out.startswith(str(task))
    assert run("queue", "test", "NOWHERE").code == 3
