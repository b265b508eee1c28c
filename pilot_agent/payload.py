"""Running the payload: one command in its own work directory, process group and clean environment."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from resource import struct_rusage

from .linux import die_with
from .report_file import JobReport, read_report

LOG = "payload.log"
KILL_AFTER_S = 5.0
"""Time between asking a payload to end (SIGTERM) and ending it (SIGKILL)."""
NO_ROOM = 1 << 20
"""A disk with fewer free bytes than this counts as full."""
TAIL, LONGEST_WORDS = 4096, 200
"""Bytes of the log that are searched for the last words, and characters of these that are kept."""
PASSED_ON = ("LANG", "LC_ALL", "LC_CTYPE", "TZ", "USER", "LOGNAME", "LD_LIBRARY_PATH")
"""What a payload gets of the pilot's environment; a list of what it may see cannot leak what we never heard of."""


@dataclass(frozen=True)
class Outcome:
    """``exit_code`` is None where the payload did not end by itself; ``error`` is empty where it did its work."""

    exit_code: int | None
    error: str
    metrics: dict[str, float]
    report: JobReport


def run(
    command: list[str],
    work: Path,
    *,
    walltime_s: float,
    cores: int,
    stop: threading.Event,
    watch: Callable[[int], None] = lambda group: None,
) -> Outcome:
    """Run ``command`` in ``work`` to its end; ``watch`` is told its process group, and 0 when that is gone."""
    started = time.monotonic()
    try:
        process = _start(command, work, cores)
    except (OSError, ValueError, IndexError, subprocess.SubprocessError) as error:
        return Outcome(None, _cannot_start(command, error), {}, JobReport())
    watch(process.pid)
    status, usage, over_time = _wait(process, started + walltime_s, stop)
    watch(0)
    report = read_report(work)
    metrics = _metrics(usage, time.monotonic() - started, report) | {"scratch_mb": _scratch_mb(work)}
    if over_time:
        return Outcome(None, f"payload was over its wall time of {walltime_s:.0f} s", metrics, report)
    by_itself = os.WIFEXITED(status) and not stop.is_set()
    exit_code = os.WEXITSTATUS(status) if by_itself else None
    return Outcome(exit_code, _diagnose(status, report, work), metrics, report)


def clean_environment(work: Path, cores: int, environ: Mapping[str, str]) -> dict[str, str]:
    """The payload's environment; nothing of the pilot's own (address, token file) is in it."""
    folder = str(Path(sys.executable).parent)
    return {
        **{name: environ[name] for name in PASSED_ON if name in environ},
        "PATH": os.pathsep.join([folder, environ.get("PATH", os.defpath)]),
        "HOME": str(work),
        "TMPDIR": str(work),
        "PWD": str(work),
        "OMP_NUM_THREADS": str(cores),
        "PYTHONUNBUFFERED": "1",  # so that the log can be followed while the payload runs
    }


def _start(command: list[str], work: Path, cores: int) -> subprocess.Popen[bytes]:
    parent = os.getpid()
    with (work / LOG).open("ab") as log, warnings.catch_warnings():
        # Python 3.12 and later warn of any fork with threads; die_with makes system calls only.
        warnings.simplefilter("ignore", DeprecationWarning)
        return subprocess.Popen(
            command,
            cwd=work,
            env=clean_environment(work, cores, os.environ),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=lambda: die_with(parent),  # noqa: PLW1509 - see above
        )


def _wait(
    process: subprocess.Popen[bytes], deadline: float, stop: threading.Event
) -> tuple[int, struct_rusage, bool]:
    """Wait for the end, or bring it about; returns wait status, resource usage, whether time was up."""
    over_time, kill_at, pause_s = False, float("inf"), 0.01
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        now = time.monotonic()
        if kill_at == float("inf") and (stop.is_set() or now >= deadline):
            over_time, kill_at = not stop.is_set(), now + KILL_AFTER_S
            _signal_group(process.pid, signal.SIGTERM)
        elif now >= kill_at:
            _signal_group(process.pid, signal.SIGKILL)
        if stop.is_set():
            time.sleep(pause_s)
        else:
            stop.wait(pause_s)
        pause_s = min(0.2, pause_s * 1.5)
    process.returncode = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
    _signal_group(process.pid, signal.SIGKILL)  # what the payload left running in the background
    return status, usage, over_time


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # gone already
        os.killpg(group, number)


def _metrics(usage: struct_rusage, wall_s: float, report: JobReport) -> dict[str, float]:
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    return {
        "wall_s": round(wall_s, 3),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 3),
        "max_rss_mb": round(usage.ru_maxrss * unit / 1e6, 1),
        "events": float(report.processed_events),
    }


def _scratch_mb(work: Path) -> float:
    """What inputs, outputs and all else that the payload left take on the disk."""
    taken = 0
    for path in work.rglob("*"):
        with suppress(OSError):  # gone already
            taken += path.lstat().st_blocks * 512
    return round(taken / 1e6, 1)


def _diagnose(status: int, report: JobReport, work: Path) -> str:
    """Why the payload failed, in words; empty if it did not."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        names = {known.value: f" ({known.name})" for known in signal.Signals}  # real-time signals have none
        return f"payload was killed by signal {number}{names.get(number, '')}" + _full(work)
    code = os.WEXITSTATUS(status) or report.exit_code or 0
    if code == 0:
        return ""
    diagnosis = report.diagnosis() or _last_words(work / LOG)
    return f"payload failed with exit code {code}" + (f" ({diagnosis})" if diagnosis else "") + _full(work)


def _last_words(log: Path) -> str:
    """The last line that a program without a report printed: for most it is the error."""
    try:
        with log.open("rb") as file:
            file.seek(-min(TAIL, log.stat().st_size), os.SEEK_END)
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:
        return ""
    said = [line.strip() for line in lines if line.strip()]
    return said[-1][:LONGEST_WORDS] if said else ""


def _full(work: Path) -> str:
    return "; work directory disk full" if shutil.disk_usage(work).free < NO_ROOM else ""


def _cannot_start(command: list[str], error: Exception) -> str:
    if not command:
        return "the job has no command"
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENOENT:
        return f"command not found: {command[0]}"
    if number in (errno.EACCES, errno.ENOEXEC):
        return f"command cannot be run: {command[0]}"
    if number in (errno.ENOSPC, errno.EDQUOT):
        return "work directory disk full"
    return f"payload could not be started: {error}"
