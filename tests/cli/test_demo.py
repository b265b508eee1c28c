"""The demo's decisions, against a broker that is only imagined (the whole of it: test_demo_whole.py)."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from prodchain.cli.errors import FailedWork, Usage
from prodchain.cli.local import demo
from prodchain.cli.local.demo import Demo
from prodchain.cli.local.demo_view import said_of, transfers_of
from prodchain.cli.local.home import Home
from prodchain.cli.main import main

STEPS = [("evgen", "evgen.EVNT"), ("sim", "simul.HITS"), ("reco", "recon.AOD"), ("merge", "merge.AOD")]


def task(number: int, tag: str, state: str = "done") -> dict[str, Any]:
    def name(index: int) -> str | None:
        return f"mc26:mc26.700001.Zmumu.{STEPS[index][1]}.{tag}" if index >= 0 else None

    return {
        "id": 10 + number,
        "step": STEPS[number][0],
        "input": name(number - 1),
        "output": name(number),
        "state": state,
        "reason": "2 jobs failed",
        "jobs": {"finished": 4},
        "numbers": 4,
        "generated": True,
        "events_done": 800,
    }


class Broker:
    """Answers as the broker's client does."""

    def __init__(self, *tasks: dict[str, Any]) -> None:
        self._tasks = list(tasks)

    def tasks(self, limit: int | None) -> list[dict[str, Any]]:
        return self._tasks

    def overview(self) -> dict[str, Any]:
        return {}


def demo_with(home: Path, *tasks: dict[str, Any], events: int = 800) -> Demo:
    return Demo(Home(home), Broker(*tasks), events)  # type: ignore[arg-type]


def test_tasks_are_in_the_order_of_the_chain_and_of_this_demo_only(tmp_path: Path) -> None:
    newest_first = [task(3, "v1"), task(0, "v1-100"), task(1, "v1"), task(2, "v1"), task(0, "v1")]
    assert [each["step"] for each in demo_with(tmp_path, *newest_first).tasks()] == ["evgen", "sim", "reco", "merge"]
    assert [each["id"] for each in demo_with(tmp_path, *newest_first, events=100).tasks()] == [10]


def test_a_second_demo_starts_no_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo.subprocess, "Popen", None)
    shown: list[int] = []
    demo_with(tmp_path, *(task(number, "v1") for number in range(4))).produce(
        lambda tasks, _: shown.append(len(tasks))
    )
    assert shown == [4]


def test_a_chain_that_fails_names_the_task_and_how_to_ask_why(tmp_path: Path) -> None:
    error = demo_with(tmp_path)._failed([task(0, "v1"), task(1, "v1", "failed")], tmp_path / "log")
    assert isinstance(error, FailedWork)
    assert "sim ended failed: 2 jobs failed" in str(error)
    assert error.hint == "prodchain task why 11"


def test_a_chain_that_does_not_end_when_asked_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "GRACE_S", 0.2)
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE) as chain:
        assert chain.stdout is not None
        chain.stdout.readline()
        demo.end(chain)
    assert chain.returncode == -9


def test_an_interrupted_demo_says_how_to_go_on_with_the_same_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setenv("PRODCHAIN_URL", "http://127.0.0.1:1")
    monkeypatch.setattr(demo, "bring_up", lambda *_: False)
    monkeypatch.setattr(Demo, "produce", interrupt)
    assert main(["demo", "--events", "100", "--home", str(tmp_path)]) == 130
    assert f"`prodchain demo --events 100 --home {tmp_path}` goes on here" in capsys.readouterr().err


def test_a_missing_payload_is_said_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "acts" else find(name, *rest)
    )
    home = tmp_path / "home"
    assert main(["demo", "--home", str(home)]) == Usage.exit_code
    said = capsys.readouterr().err
    assert "acts missing" in said
    assert "pip install 'prodchain[physics]'" in said
    assert not home.exists()


def test_a_step_says_its_jobs_and_events_and_that_something_runs() -> None:
    running = task(1, "v1") | {"jobs": {"finished": 1, "running": 2, "sent": 1, "failed": 1}, "events_done": 200}
    assert said_of(running) == "1/4 jobs, 200 events, 3 running, 1 failed attempts"
    assert said_of(running | {"generated": False}) == "1/? jobs, 200 events, 3 running, 1 failed attempts"


def test_transfers_are_said_with_what_fails() -> None:
    transfers = {"done": 3, "bytes_done": 2_000_000, "queued": 1, "active": 1, "failing": 1}
    assert transfers_of({"transfers": transfers}) == "3 files, 2 MB moved, 2 on their way, 1 failing"
