"""Payloads as real processes."""

import os
import shutil
import sys
import threading
import time
from collections import namedtuple
from pathlib import Path

import pytest

from prodchain.pilot_agent import payload
from prodchain.pilot_agent.payload import Outcome

from .conftest import gone


def run(work: Path, *command: str, walltime_s: float = 30.0, stop: threading.Event | None = None) -> Outcome:
    return payload.run(list(command), work, walltime_s=walltime_s, cores=2, stop=stop or threading.Event())


def test_output_and_errors_go_into_the_log(tmp_path: Path) -> None:
    outcome = run(tmp_path, "sh", "-c", "echo out; echo err >&2")
    assert (outcome.exit_code, outcome.error) == (0, "")
    assert (tmp_path / "payload.log").read_text() == "out\nerr\n"


def test_an_exit_code_is_said_in_words(tmp_path: Path) -> None:
    outcome = run(tmp_path, "sh", "-c", "exit 3")
    assert (outcome.exit_code, outcome.error) == (3, "payload failed with exit code 3")


def test_a_report_of_failure_counts_more_than_exit_code_0(tmp_path: Path) -> None:
    (tmp_path / "jobReport.json").write_text('{"exitCode": 38, "exitMsg": "7 of 9 events"}')
    assert run(tmp_path, "true").error == "payload failed with exit code 38 (7 of 9 events)"


def test_a_signal_is_said_in_words(tmp_path: Path) -> None:
    outcome = run(tmp_path, "sh", "-c", "kill -9 $$")
    assert (outcome.exit_code, outcome.error) == (None, "payload was killed by signal 9 (SIGKILL)")


def test_a_real_time_signal_has_no_name_and_is_said_all_the_same(tmp_path: Path) -> None:
    assert run(tmp_path, "sh", "-c", "kill -40 $$").error.startswith("payload was killed by signal 40")


def test_a_command_that_is_not_there_is_said_in_words(tmp_path: Path) -> None:
    assert run(tmp_path, "Gin_tf.py").error == "command not found: Gin_tf.py"
    assert run(tmp_path).error == "the job has no command"
    (tmp_path / "script").write_text("no program")
    assert run(tmp_path, "./script").error == "command cannot be run: ./script"


def test_commands_beside_the_pilots_python_are_found_first(tmp_path: Path) -> None:
    run(tmp_path, "sh", "-c", "command -v python3; echo $OMP_NUM_THREADS")
    folder = str(Path(sys.executable).parent)
    assert (tmp_path / "payload.log").read_text().splitlines() == [f"{folder}/python3", "2"]


def test_what_the_payload_left_on_the_disk_is_measured(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    script = "open('deep/out', 'wb').write(bytes(5_000_000))"
    metrics = run(tmp_path, sys.executable, "-c", script).metrics
    assert 4.9 < metrics["scratch_mb"] < 6


def test_time_and_memory_are_measured(tmp_path: Path) -> None:
    script = "x = bytearray(900_000_000); s = 0\nfor i in range(3_000_000): s += i"
    metrics = run(tmp_path, sys.executable, "-c", script).metrics
    assert 900 < metrics["max_rss_mb"] < 1000  # far above this process, whose own size the fork begins with
    assert 0.05 < metrics["cpu_s"] <= metrics["wall_s"] + 0.1


def test_wall_time_is_kept(tmp_path: Path) -> None:
    started = time.monotonic()
    outcome = run(tmp_path, "sleep", "60", walltime_s=0.3)
    assert (outcome.exit_code, outcome.error) == (None, "payload was over its wall time of 0 s")
    assert time.monotonic() - started < 30  # the payload would have slept for 60 s


def test_a_payload_may_clean_up_when_it_is_stopped(tmp_path: Path) -> None:
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()
    outcome = run(tmp_path, "sh", "-c", "trap 'echo bye; exit 1' TERM; sleep 60 & wait", stop=stop)
    assert outcome.exit_code is None
    assert (tmp_path / "payload.log").read_text() == "bye\n"


def test_what_a_payload_leaves_in_the_background_is_ended(tmp_path: Path) -> None:
    run(tmp_path, "sh", "-c", "sleep 60 & echo $!")
    pid = int((tmp_path / "payload.log").read_text())
    for _ in range(100):
        if gone(pid):
            return
        time.sleep(0.02)
    pytest.fail("it still runs")


def test_the_process_group_is_told_and_told_to_be_gone(tmp_path: Path) -> None:
    groups: list[int] = []
    payload.run(["true"], tmp_path, walltime_s=9, cores=1, stop=threading.Event(), watch=groups.append)
    assert len(groups) == 2
    assert groups[0] > 1
    assert groups[1] == 0


def test_a_full_disk_is_named_as_the_likely_cause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 1, 0))
    assert run(tmp_path, "false").error == "payload failed with exit code 1; work directory disk full"


def test_the_environment_is_a_list_of_what_is_allowed(tmp_path: Path) -> None:
    environ = {"PATH": "/usr/bin", "LANG": "C.UTF-8", "PRODCHAIN_TOKEN_FILE": "t", "BEARER_TOKEN": "t", "SHLVL": "1"}
    clean = payload.clean_environment(tmp_path, 1, environ)
    assert set(clean) == {"PATH", "LANG", "HOME", "TMPDIR", "PWD", "OMP_NUM_THREADS", "PYTHONUNBUFFERED"}
    assert clean["PATH"] == f"{Path(sys.executable).parent}{os.pathsep}/usr/bin"


def test_a_program_without_a_report_is_quoted_with_its_last_words(tmp_path: Path) -> None:
    outcome = run(tmp_path, "sh", "-c", "echo begins; echo 'no such option: --fast' >&2; echo; exit 2")
    assert outcome.error == "payload failed with exit code 2 (no such option: --fast)"
