"""A tiny process that outlives its pilot just long enough to kill what the payload left running.

The kernel's death signal (linux.die_with) reaches the payload's first process only, not what that one started.
The warden learns the process group over a pipe; end of file means that the pilot is gone, however it went.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress


class Warden:
    """Fork while the pilot has one thread only. ``watch(group)`` before, ``watch(0)`` after a payload."""

    def __init__(self) -> None:
        reader, self._pipe = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(self._pipe)
            _guard(reader)
        os.close(reader)

    def watch(self, group: int) -> None:
        with suppress(BrokenPipeError):
            os.write(self._pipe, f"{group}\n".encode())

    def close(self) -> None:
        """Kill a payload that still runs, and end."""
        os.close(self._pipe)
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


def _guard(reader: int) -> None:
    """The warden's life; never returns."""
    try:
        os.setsid()  # whoever kills the pilot's process group must not hit the warden
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        group = 0
        while line := os.read(reader, 4096):
            group = int(line.split()[-1])
        if group:
            os.killpg(group, signal.SIGKILL)
    finally:
        os._exit(0)
