"""Where work begins to pile up as the load grows: small grids beside the large one, one for each load."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from multiprocessing import get_context
from multiprocessing.pool import AsyncResult
from typing import Any

from .load import JOBS_A_WEEK, SLOTS, WEEK_S, Size
from .run import simulate

LOADS = (0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0, 1.1, 1.2)
SHORT = 0.05
"""The knee is where slots in use fall short of the work submitted by this part of it: from there on work piles up."""
SMALL = Size(days=3.0, slots=35_000, sites=30, stock_h=0.0, warm_h=18.0)


@contextmanager
def sweep(small: Size = SMALL, loads: Sequence[float] = LOADS) -> Iterator["AsyncResult[Any]"]:
    """In a process of its own: the points, one after the other."""
    sizes = [replace(small, load=load) for load in loads]
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        yield pool.map_async(point, sizes, chunksize=1)


def point(size: Size) -> dict[str, Any]:
    found = simulate(size)
    return {name: found[name] for name in ("load", "slot_use_percent", "wait_p50_s", "wait_p95_s")}


def knee(points: Sequence[dict[str, Any]], short: float = SHORT) -> float | None:
    """The load, between two points, at which so much of what is submitted does not find a slot any more."""
    missing = [(point["load"], 1 - point["slot_use_percent"] / 100 / point["load"]) for point in points]
    for (load, before), (more, after) in pairwise(missing):
        if before <= short < after:
            return float(round(load + (more - load) * (short - before) / (after - before), 3))
    return None


def described(points: Sequence[dict[str, Any]], small: Size = SMALL) -> dict[str, Any]:
    sizes = {"days": small.days, "slots": small.slots, "sites": small.sites}
    return {**sizes, "short": SHORT, "points": list(points), "load": knee(points)}


def slots_of_a_core(found: dict[str, Any]) -> int:
    """How many slots keep one core busy with nothing but decisions, at this many jobs for each slot."""
    each_s: float = (found["brokerage"]["cpu_s"] + found["matching"]["cpu_s"]) / found["runs"]
    return round(SLOTS * WEEK_S / JOBS_A_WEEK / each_s)
