"""The commands up, down, status and config show: in an empty home, and (acceptance) the whole system."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prodchain.cli.errors import FailedWork
from prodchain.cli.local import overview, postgres, process, supervise
from prodchain.cli.local.home import Home
from prodchain.cli.local.supervisor import AlreadyRuns, Change
from prodchain.cli.local.watch import State
from prodchain.cli.main import main


def test_status_of_a_home_where_nothing_runs_fails_and_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--home", str(tmp_path)]) == 1
    assert "`prodchain up` starts it" in capsys.readouterr().err
    assert main(["status", "--home", str(tmp_path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["running"] is False


def test_down_where_nothing_runs_is_no_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["down", "--home", str(tmp_path)]) == 0
    assert "nothing runs" in capsys.readouterr().err


def test_config_show_has_every_setting_and_no_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRODCHAIN_DATABASE_URL", "postgresql://me:hidden@host/db")
    assert main(["config", "show", "--home", str(tmp_path), "--json"]) == 0
    out = capsys.readouterr().out
    shown = {item["name"]: item for item in json.loads(out)["items"]}
    assert "hidden" not in out
    assert shown["database_url"]["origin"] == "environment PRODCHAIN_DATABASE_URL"


def test_a_busy_port_is_said_before_anything_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        assert main(["up", "--detach", "--port", str(port), "--home", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert f"port {port} is busy" in said
    assert overview.overview(Home(tmp_path))["processes"] == []


def test_what_a_detached_supervisor_says_is_passed_on() -> None:
    heard: list[Change] = []
    change = {"name": "server", "state": "healthy", "after_s": 1.0, "problem": ""}
    supervise.follow([json.dumps({"change": change}), json.dumps({"ready": True})], heard.append)
    assert [str(each.state) for each in heard] == ["healthy"]
    error = {"message": "it runs", "object": "home", "hint": "leave it"}
    with pytest.raises(AlreadyRuns):
        supervise.follow([json.dumps({"error": error | {"code": "already-runs"}})], heard.append)
    with pytest.raises(FailedWork, match="it runs"):
        supervise.follow([json.dumps({"error": error | {"code": "failed-work"}})], heard.append)
    with pytest.raises(EOFError):
        supervise.follow([], heard.append)


def test_what_a_supervisor_says_once_its_parent_is_gone_is_in_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is opened then gets the number that the parent's pipe had."""
    reader, writer = os.pipe()
    other = tmp_path / "note.json"

    def supervised(_home: Home, _flags: Any, heard: supervise.Heard, ready: Callable[[], None]) -> None:
        heard(Change("server", State.HEALTHY, 1.0))
        ready()
        descriptor = os.open(other, os.O_WRONLY | os.O_CREAT)
        heard(Change("server", State.RESTARTING, 2.0))
        assert descriptor == writer
        os.close(descriptor)

    monkeypatch.setattr(supervise, "supervise", supervised)
    monkeypatch.setattr(sys, "argv", ["supervise", str(tmp_path), "{}", str(writer)])
    assert supervise.main() == 0
    with os.fdopen(reader) as lines:
        assert [next(iter(json.loads(line))) for line in lines] == ["change", "ready"]
    assert other.read_text() == ""


def run(home: Path, *command: str) -> tuple[int, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "prodchain.cli", *command, "--home", str(home), "--json"],
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    return done.returncode, json.loads(done.stdout or "null")


def healthy(home: Path) -> dict[str, Any]:
    overview.wait_healthy(Home(home), 120)
    return {each["name"]: each for each in overview.overview(Home(home))["processes"]}


@pytest.mark.acceptance
@pytest.mark.prefect
@pytest.mark.timeout(600)
def test_the_whole_system_survives_kills_and_stops_clean(tmp_path: Path) -> None:
    home = tmp_path / "home"
    try:
        code, document = run(home, "up", "--detach")
        assert code == 0
        assert document["healthy"]
        first = healthy(home)
        assert {"postgres", "server", "agents", "prefect", "worker", "supervisor-of-runs"} < set(first)
        assert {"pilot-SITE-A-BATCH-1", "pilot-SITE-B-BATCH-1"} < set(first)
        assert run(home, "up", "--detach")[1]["links"] == document["links"]
        for token in (home / "credentials").iterdir():
            assert token.stat().st_mode & 0o777 == 0o600
            text = token.read_text().strip()
            assert not any(text in log.read_text() for log in (home / "logs").glob("*.log"))

        for name in ("postgres", "server", "agents", "pilot-SITE-A-BATCH-1"):
            os.kill(first[name]["pid"], signal.SIGKILL)
        time.sleep(1)
        second = healthy(home)
        assert second["server"]["pid"] != first["server"]["pid"]

        started = process.start_time(second["supervisor"]["pid"])
        os.kill(second["supervisor"]["pid"], signal.SIGKILL)
        assert started is not None
        assert process.wait_gone(second["supervisor"]["pid"], started, 10)
        assert run(home, "status")[0] == 1
        code, document = run(home, "up", "--detach")
        assert code == 0
        third = healthy(home)
        assert third["server"]["pid"] == second["server"]["pid"]
        assert third["supervisor"]["pid"] != second["supervisor"]["pid"]

        assert run(home, "down")[0] == 0
        assert all(process.start_time(each["pid"]) is None for each in third.values())
        assert overview.overview(Home(home))["processes"] == []
    finally:
        overview.stop_all(Home(home))
        postgres.start(postgres.data_folder(home)).stop(remove=True)
