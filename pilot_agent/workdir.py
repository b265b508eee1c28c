"""Work directories: made, removed, and those of dead pilots cleared away.

BASE/pilot-NAME-PID/pilot.json says whose it is; BASE/pilot-NAME-PID/job-N is a job's.
BASE/failed-job-N is kept on request.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path
from typing import Any

MARKER = "pilot.json"


class WorkDirs:
    """Work directories of one pilot below ``base``; raises OSError where they cannot be made."""

    def __init__(self, base: Path, name: str) -> None:
        self._base = base.resolve()
        pid = os.getpid()
        # The pid: pilots of another broker may have the same names.
        self._own = self._base / f"pilot-{name}-{pid}"
        self._own.mkdir(parents=True, mode=0o700)
        owner = {"host": socket.gethostname(), "pid": pid, "started": _started(pid)}
        new = self._own / f"{MARKER}.new"
        new.write_text(json.dumps(owner))
        new.replace(self._own / MARKER)

    def make(self, job: int) -> Path:
        work = self._own / f"job-{job}"
        work.mkdir(mode=0o700)
        return work

    def remove(self, work: Path) -> None:
        shutil.rmtree(work, ignore_errors=True)

    def free_mb(self) -> int | None:
        """Space for work directories; None where the system does not tell."""
        try:
            return shutil.disk_usage(self._own).free // 1_000_000
        except OSError:
            return None

    def keep(self, work: Path) -> Path:
        """Put a failed job's directory where no pilot clears it away; returns where it is."""
        kept = self._base / f"failed-{work.name}"
        shutil.rmtree(kept, ignore_errors=True)
        return work.rename(kept)

    def close(self) -> None:
        shutil.rmtree(self._own, ignore_errors=True)


def clear_stale(base: Path) -> list[Path]:
    """Remove the directories of pilots that died on this host; returns them."""
    removed = []
    for marker in sorted(base.glob(f"pilot-*/{MARKER}")):
        try:
            owner = json.loads(marker.read_text())
        except (OSError, ValueError):
            continue  # being removed by somebody else
        if owner["host"] == socket.gethostname() and not _alive(owner):
            shutil.rmtree(marker.parent, ignore_errors=True)
            removed.append(marker.parent)
    return removed


def _alive(owner: dict[str, Any]) -> bool:
    try:
        os.kill(owner["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # a process of somebody else: the start tells whether it is the one
    return _started(owner["pid"]) in ("", owner["started"])


def _started(pid: int) -> str:
    """When a process started (clock ticks since boot), which tells a reused pid; empty where unknown."""
    try:
        state, *facts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "dead, but its parent has not asked yet" if state == "Z" else facts[18]
