"""Processes by pid and start time, so that a reused pid is never taken for the process that had it before."""

import os
import signal
import time
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None when it is gone or only a zombie is left."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()  # the name before it may hold blanks and parentheses
    return None if fields[0] in "ZX" else int(fields[19])


def alive(pid: int, started: int) -> bool:
    return start_time(pid) == started


def uptime_s(started: int) -> float:
    """Seconds since a start time."""
    return float(Path("/proc/uptime").read_text().split()[0]) - started / TICKS


def send(pid: int, started: int, number: signal.Signals) -> None:
    """Signal the process if it still is the one that started then."""
    if alive(pid, started):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return


def wait_gone(pid: int, started: int, timeout_s: float) -> bool:
    """Wait until the process is gone; False if it is still there after that time."""
    end = time.monotonic() + timeout_s
    while alive(pid, started):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True
