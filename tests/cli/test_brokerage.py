"""Submitting, trying and replaying, against the broker's own server and database."""

import asyncio
import json
from pathlib import Path

import pytest

from prodchain.broker import database, generation, placement
from prodchain.broker.bunches import Pace

from .conftest import Run
from .test_real_broker import SITES, TASK

REQUEST = "\n".join(f"{key} = {json.dumps(value)}" for key, value in TASK.items())


@pytest.fixture
def sites(real_broker: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "sites.toml").write_text(SITES)
    (tmp_path / "evgen.toml").write_text(REQUEST)
    (tmp_path / "evgen.json").write_text(json.dumps(TASK))
    assert run("site", "apply", "sites.toml").code == 0


def place(url: str, task: int) -> None:
    async def work() -> None:
        pool = await database.connect(url)
        async with pool.acquire() as conn, conn.transaction():
            await generation.generate(conn, task)
            await placement.place(conn, task, Pace(1.0, 30.0))
        await pool.close()

    asyncio.run(work())


def test_a_task_is_tried_submitted_and_its_decision_made_again(sites: None, run: Run, database_url: str) -> None:
    tried = run("task", "submit", "evgen.toml", "--dry-run")
    assert tried.code == 0
    assert tried.out.splitlines()[:2] == [
        "mc26:mc26.700001.Z.evgen.EVNT.v1: 10 jobs",
        "10 jobs: A-BATCH: the only queue that can take it (0 waiting and 0 executing for 1 slots,"
        " all inputs in place, no pilot has called yet)",
    ]
    assert tried.err == "nothing was submitted: this was a dry run\n"
    assert run("task", "ls").out == ""

    task = json.loads(run("task", "submit", "evgen.json", "--json").out)["id"]
    assert run("task", "submit", "evgen.toml").err.startswith(f"task {task} makes mc26:mc26.700001.Z.evgen.EVNT.v1;")
    assert json.loads(run("task", "submit", "evgen.toml", "--dry-run", "--json").out)["new"] is False

    early = run("brokerage", "replay", "--task", task)
    assert (early.code, "nothing was decided about it by" in early.err) == (3, True)
    place(database_url, task)
    again = run("brokerage", "replay", "--task", task)
    assert again.code == 0
    assert again.out.splitlines()[0].endswith(": the same decision")
    assert again.out.splitlines()[1].startswith("10 jobs: A-BATCH: the only queue that can take it")
    found = json.loads(run("brokerage", "replay", "--task", task, "--json").out)
    assert (found["same"], found["decisions"][0]["queue"]) == (True, "A-BATCH")
    assert run("brokerage", "replay", "--task", task, "--at", "2001-01-01").code == 3
    late = run("brokerage", "replay", "--task", task, "--at", "2100-01-01")
    assert (late.code, "is in the future" in late.err) == (2, True)


@pytest.mark.parametrize(
    ("file", "code", "words"),
    [("none.toml", 3, "no such file"), ("bad.toml", 2, "not a request"), ("odd.toml", 2, "odd")],
)
def test_a_file_that_is_no_request_is_said(
    sites: None, run: Run, tmp_path: Path, file: str, code: int, words: str
) -> None:
    (tmp_path / "bad.toml").write_text("= 1")
    (tmp_path / "odd.toml").write_text("odd = 1")
    ran = run("task", "submit", file)
    assert (ran.code, words in ran.err) == (code, True)


def test_a_time_that_is_none_is_said(sites: None, run: Run) -> None:
    ran = run("brokerage", "replay", "--task", 10000001, "--at", "yesterday")
    assert (ran.code, "this is no time" in ran.err) == (2, True)
