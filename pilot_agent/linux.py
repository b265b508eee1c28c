"""What only Linux can do for a pilot; elsewhere these do nothing."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG, PR_SET_DUMPABLE = 1, 4
_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform.startswith("linux") else None


def hide_memory() -> None:
    """Keep other processes of the same user, the payload above all, out of /proc/PID/mem and environ."""
    if _prctl is not None:
        _prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when the thread of ``parent`` that started it ends.

    To be run between fork and exec, so it only makes system calls.
    """
    if _prctl is not None:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)  # the parent died before the kernel knew
