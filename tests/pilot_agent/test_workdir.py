"""Work directories of pilots, living and dead."""

import json
import os
import subprocess
import sys
from pathlib import Path

from prodchain.pilot_agent.workdir import MARKER, WorkDirs, clear_stale


def test_a_living_pilots_directory_stays(tmp_path: Path) -> None:
    dirs = WorkDirs(tmp_path, "alive")
    work = dirs.make(1)
    assert clear_stale(tmp_path) == []
    assert work.is_dir()
    dirs.close()
    assert list(tmp_path.iterdir()) == []


def change(folder: Path, **facts: object) -> None:
    marker = folder / MARKER
    marker.write_text(json.dumps({**json.loads(marker.read_text()), **facts}))


def test_a_dead_pilots_directory_goes(tmp_path: Path) -> None:
    WorkDirs(tmp_path, "dead").make(1)
    own = tmp_path / f"pilot-dead-{os.getpid()}"
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    change(own, pid=child.pid)
    assert clear_stale(tmp_path) == [own]
    assert list(tmp_path.iterdir()) == []


def test_a_pid_that_was_given_to_another_process_saves_nobody(tmp_path: Path) -> None:
    WorkDirs(tmp_path, "dead")
    own = tmp_path / f"pilot-dead-{os.getpid()}"
    change(own, started="1")
    assert clear_stale(tmp_path) == [own]


def test_a_directory_of_another_host_or_without_marker_stays(tmp_path: Path) -> None:
    WorkDirs(tmp_path, "elsewhere")
    change(tmp_path / f"pilot-elsewhere-{os.getpid()}", host="elsewhere", pid=2**22 - 1)
    (tmp_path / "pilot-beginning").mkdir()
    assert clear_stale(tmp_path) == []


def test_a_kept_directory_is_not_cleared(tmp_path: Path) -> None:
    dirs = WorkDirs(tmp_path, "a")
    kept = dirs.keep(dirs.make(1))
    dirs.close()
    clear_stale(tmp_path)
    assert kept == tmp_path / "failed-job-1"
    assert kept.is_dir()
