"""How servers are started: one that crashes at its start is given another try, one that refuses is not."""

import sys
from pathlib import Path

import pytest

from .servers import STARTS, free_port, running

SCRIPT = """
import os, signal, socket, sys, time
port, deaths, runs = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
with open(runs, "a") as file:
    print("run", file=file)
print("a word before the end", flush=True)
if len(open(runs).readlines()) <= deaths:
    os.kill(os.getpid(), signal.SIGSEGV)
if not port:
    sys.exit(3)
with socket.create_server(("127.0.0.1", port)):
    time.sleep(60)
"""


def _server(at: Path, port: int, deaths: int) -> list[str]:
    return [sys.executable, "-c", SCRIPT, str(port), str(deaths), str(at / "runs")]


def _runs(at: Path) -> int:
    return len((at / "runs").read_text().splitlines())


def test_a_server_that_a_signal_ends_before_it_answers_is_started_again(tmp_path: Path) -> None:
    port = free_port()
    with running(_server(tmp_path, port, deaths=1), port, tmp_path / "log") as process:
        assert process.poll() is None
    assert _runs(tmp_path) == 2


def test_one_that_keeps_dying_is_given_up_with_the_signal_and_its_log(tmp_path: Path) -> None:
    port = free_port()
    with (
        pytest.raises(RuntimeError, match=r"(?s)SIGSEGV.*a word before the end"),
        running(_server(tmp_path, port, deaths=99), port, tmp_path / "log"),
    ):
        pass
    assert _runs(tmp_path) == STARTS


def test_one_that_refuses_is_not_asked_twice(tmp_path: Path) -> None:
    with (
        pytest.raises(RuntimeError, match=r"(?s)ended with code 3.*a word before the end"),
        running(_server(tmp_path, 0, deaths=0), free_port(), tmp_path / "log"),
    ):
        pass
    assert _runs(tmp_path) == 1


def test_a_server_that_dies_later_stays_dead(tmp_path: Path) -> None:
    port = free_port()
    with running(_server(tmp_path, port, deaths=0), port, tmp_path / "log") as process:
        process.kill()
        process.wait()
    assert _runs(tmp_path) == 1
