"""What scouts teach: the sizes of the jobs that follow them. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

from .requests import INT, MAX_JOBS, TaskRequest
from .requirements import MEMORY_STEP_MB, WALLTIME_STEP_S
from .splitting import FILES

QUANTILE = 0.95
"""Of the scouts: the few that are worst do not decide for all others."""
MARGIN = 1.2
"""On memory and scratch space."""
TIME_MARGIN = 1.5
"""On wall time, which differs more from place to place."""
SCRATCH_STEP_MB = 500
"""As the steps of memory and wall time (requirements)."""


@dataclass(frozen=True)
class Measured:
    """What the pilot of one scout reported, and how much work it was; zero is unknown."""

    wall_s: float
    cpu_s: float = 0.0
    max_rss_mb: float = 0.0
    scratch_mb: float = 0.0
    events: int = 0
    files: int = 0


@dataclass(frozen=True)
class Sizing:
    """Fields of the request that are known better now, and why, in words."""

    fields: dict[str, int | None] = field(default_factory=dict)
    reason: str = ""


def size(ask: TaskRequest, scouts: Sequence[Measured]) -> Sizing:
    """The sizes of the other jobs: what 95 of 100 scouts needed, with a margin, rounded up.

    With ``target_walltime_s`` the jobs get as many events (or files) as take about so long at that rate.
    """
    fields: dict[str, int | None] = {}
    words = []
    if memory := quantile([scout.max_rss_mb for scout in scouts]):
        fields["memory_mb"] = _up(memory * MARGIN, MEMORY_STEP_MB)
        words.append(f"memory {memory:.0f} MB")
    wall, scratch = quantile([scout.wall_s for scout in scouts]), quantile([scout.scratch_mb for scout in scouts])
    if ask.target_walltime_s is not None and (unit := _unit(ask, scouts)):
        name, rate, amount = unit
        most = FILES if name == "files_per_job" else INT
        least = -(-ask.events // MAX_JOBS) if ask.events is not None else 1
        new = max(least, int(min(ask.target_walltime_s / rate, most)))
        fields[name] = new
        if name == "events_per_job" and ask.jobs is not None:
            fields["jobs"] = None
        wall, scratch = rate * new, scratch * max(1.0, new / amount)
        what = name.removesuffix("_per_job")
        words.append(f"{rate:.3g} s for one of the {what}, so that {new} {what} take {wall:.0f} s")
    elif wall:
        words.append(f"wall time {wall:.0f} s")
    if wall:
        fields["walltime_s"] = _up(wall * TIME_MARGIN, WALLTIME_STEP_S)
    if scratch:
        fields["scratch_mb"] = _up(scratch * MARGIN, SCRATCH_STEP_MB)
        words.append(f"scratch space {scratch:.0f} MB")
    if cpu := quantile([scout.cpu_s / scout.events for scout in scouts if scout.events]):
        words.append(f"CPU {cpu:.3g} s per event")
    told = f"{len(scouts)} scouts: " + (", ".join(words) or "nothing was measured")
    given = ", ".join(f"{name} {value}" for name, value in fields.items() if value is not None)
    return Sizing(fields, told + (f"; the other jobs get {given}" if given else ""))


def enough(finished: int, made: int) -> bool:
    """Whether so many scouts tell what the others will be like."""
    return finished > 0 and 2 * finished >= made


def quantile(values: Sequence[float]) -> float:
    """The least value that QUANTILE of the known ones do not exceed; zero if none is known."""
    known = sorted(value for value in values if value > 0)
    return known[ceil(QUANTILE * len(known)) - 1] if known else 0.0


def _unit(ask: TaskRequest, scouts: Sequence[Measured]) -> tuple[str, float, float] | None:
    """What jobs are sized by, the seconds that one of it takes, and how many of it a scout had."""
    by_events = ask.input is None or ask.events_per_job is not None
    name = "events_per_job" if by_events else "files_per_job"
    pairs = [(scout.wall_s, scout.events if by_events else scout.files) for scout in scouts]
    rate = quantile([wall / amount for wall, amount in pairs if amount])
    return (name, rate, max(amount for _, amount in pairs)) if rate else None


def _up(value: float, step: int) -> int:
    return min(INT - INT % step, step * max(1, ceil(min(value, INT) / step)))
