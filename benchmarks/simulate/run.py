"""One simulation from its beginning to its report."""

import gc
import json
import sys
import time
from pathlib import Path
from typing import Any

from .load import DAY_S, Size
from .report import report
from .world import World


def simulate(size: Size, keep: Path | None = None, *, told: bool = False) -> dict[str, Any]:
    """``keep``: a file that has the report so far after each day."""
    gc.collect()
    gc.freeze()
    gc.disable()  # nothing here is in a circle, and looking for it takes a third of the time
    start, cpu = time.perf_counter(), time.process_time()

    def so_far(world: World) -> dict[str, Any]:
        return report(world, time.perf_counter() - start, time.process_time() - cpu)

    def tell(world: World) -> None:
        if keep is not None:
            keep.write_text(json.dumps(so_far(world)) + "\n")
        if told:
            runs, slots = world.counts["started"], sum(world.use.values())
            seconds = time.perf_counter() - start
            print(
                f"day {world.now / DAY_S:.0f}: {runs} runs, {slots} slots in use, {seconds:.0f} s",
                file=sys.stderr,
                flush=True,
            )

    try:
        world = World(size)
        world.run(tell)
        return so_far(world)
    finally:
        gc.enable()
        gc.unfreeze()
