"""A mover as a process of its own: ``mover_process.py DATABASE WORKER [POINT]``; POINT is where it kills itself.

At its end it prints the most megabytes that it had in memory.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from prodchain.broker.database import connect
from prodchain.catalog import copy, mover, transfers
from prodchain.catalog.backends.local import Local

POINTS: dict[str, tuple[Any, str, str]] = {
    "after the lease": (mover._Batch, "work", "before"),
    "in the middle of a copy": (mover._Batch, "_told", "before"),
    "before the rename": (Local, "rename", "before"),
    "after the rename": (Local, "rename", "after"),
    "before the record": (transfers, "done", "before"),
    "in the record": (transfers, "done", "after"),
    "after the record": (mover.Mover, "_record", "after"),
}
"""Where: an owner, its function, and whether before or after it."""


def arm(point: str) -> None:
    owner, name, when = POINTS[point]
    function = getattr(owner, name)

    def kill(*arguments: Any, **named: Any) -> Any:
        if when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments, **named)
        if asyncio.iscoroutine(result):
            return _then_kill(result)
        os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, kill)


async def _then_kill(work: Any) -> None:
    await work
    os.kill(os.getpid(), signal.SIGKILL)


async def main(url: str, worker: str) -> None:
    pool = await connect(url)
    working = mover.Mover(pool, worker, slots=2, lease_s=1.5)
    while await pool.fetchval("SELECT EXISTS (SELECT FROM transfer WHERE state = 'queued')"):
        if not await working.step():
            await asyncio.sleep(0.05)
    await working.close()
    await pool.close()
    sys.stdout.write(str(_peak_mb()))


def _peak_mb() -> int:
    """Not by getrusage: after exec that still has the peak of the process that started this one."""
    (peak,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) // 1024


if __name__ == "__main__":
    database, name, *point = sys.argv[1:]
    assert copy.attempt is mover.attempt
    if point:
        arm(point[0])
    asyncio.run(main(database, name))
