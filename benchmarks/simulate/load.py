"""What the grid is and what it is asked to do: sites, shares and kinds of work. All of it is drawn from a seed.

700,000 slots, 150 sites and 5 million jobs a week are ATLAS's order of size; so much work fills the slots if a job
takes 23.5 core hours on average. The mix, the sizes and what fails how often are assumptions, made to look like it.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from prodchain.broker.matching.shares import Share

WEEK_S, DAY_S, HOUR_S = 7 * 86_400, 86_400, 3_600
GB = 10**9
PILOT_CORES = 8
"""A pilot holds so many slots (cores), and asks again for what is free of them whenever a job of its ends."""
SLOTS, SITES, JOBS_A_WEEK = 700_000, 150, 5_000_000


@dataclass(frozen=True)
class Size:
    """``load``: the work submitted, as a part of what all slots can do; ``stock_h``: hours of it wait at first.

    The first ``warm_h`` hours (a quarter of a shorter time) are left out of averages and waiting times.
    """

    days: float = 30.0
    slots: int = SLOTS
    sites: int = SITES
    load: float = 1.0
    stock_h: float = 18.0
    warm_h: float = 12.0
    troubles: bool = True
    seed: int = 1

    @property
    def warm_up_h(self) -> int:
        return int(min(self.warm_h, self.days * 6))

    @property
    def scale(self) -> float:
        return self.slots / SLOTS

    @property
    def jobs_a_second(self) -> float:
        return JOBS_A_WEEK / WEEK_S * self.scale * self.load


@dataclass(frozen=True)
class Kind:
    """A kind of task: ``part`` of all jobs, ``jobs`` of one task on average, ``hours`` of one job on average."""

    step: str
    share: int
    part: float
    jobs: int
    cores: int
    memory_mb: int
    hours: float
    fails: float
    """Part of the runs that fail for reasons of the payload or its machine."""
    input_gb: float = 0.0
    output_gb: float = 0.0
    priority: int = 1000
    activity: str = "production"


SHARES = [
    Share(1, "production", None, 89),
    Share(2, "simulation", 1, 76),
    Share(3, "fullsim", 2, 85),
    Share(4, "fastsim", 2, 15),
    Share(5, "evgen", 1, 9),
    Share(6, "reconstruction", 1, 15),
    Share(7, "analysis", None, 11),
    Share(8, "group", 7, 62),
    Share(9, "user", 7, 38),
]
LEAVES = {3: "fullsim", 4: "fastsim", 5: "evgen", 6: "reconstruction", 8: "group", 9: "user"}
KINDS = (
    Kind("simul", 3, 0.22, 8000, 8, 14_000, 8.0, 0.02, 0.0, 1.5),
    Kind("fastsim", 4, 0.10, 6000, 8, 14_000, 3.0, 0.02, 0.0, 1.0),
    Kind("evgen", 5, 0.10, 5000, 8, 12_000, 2.5, 0.02, 0.0, 0.3),
    Kind("reco", 6, 0.09, 6000, 8, 15_500, 4.0, 0.03, 6.0, 3.0),
    Kind("reco-himem", 6, 0.01, 2000, 8, 22_000, 4.0, 0.04, 6.0, 3.0),
    Kind("merge", 6, 0.10, 2000, 1, 2500, 0.7, 0.02, 4.0, 4.0, 1100),
    Kind("deriv", 8, 0.10, 3000, 8, 15_500, 2.0, 0.03, 8.0, 2.0),
    Kind("analysis", 9, 0.28, 1500, 1, 2000, 3.5, 0.05, 3.0, 0.2, 1000, "analysis"),
)
_CORE_HOURS = SLOTS * 168 / JOBS_A_WEEK
HOURS = _CORE_HOURS / sum(kind.part * kind.cores * kind.hours for kind in KINDS)
"""All hours are stretched by so much, that the whole fills the slots exactly."""


@dataclass(frozen=True)
class Site:
    """``queue`` is also the number of its storage."""

    queue: int
    name: str
    pilots: int
    memory_mb: int
    """Of one pilot."""


def sites(size: Size, dice: random.Random) -> list[Site]:
    """Few large ones and many small ones, as Zipf says."""
    weights = [1 / (rank + 3) ** 0.9 for rank in range(size.sites)]
    pilots = [max(2, int(size.slots / PILOT_CORES * weight / sum(weights))) for weight in weights]
    pilots[0] += size.slots // PILOT_CORES - sum(pilots)
    return [
        Site(n, f"SITE-{n:03}", count, 24_000 if dice.random() < 0.3 else 16_000) for n, count in enumerate(pilots)
    ]


@dataclass(frozen=True)
class Submission:
    """A task as somebody submits it. ``at``: the storages that have its input, ``input_bytes`` for each job."""

    when: float
    kind: Kind
    jobs: int
    job_s: float
    """How long its jobs take on average."""
    memory_mb: int
    input_bytes: int
    at: tuple[int, ...]
    destination: int
    priority: int


def submissions(size: Size, grid: list[Site], dice: random.Random) -> list[Submission]:
    """All tasks of the time, in order; analysis has days, nights and weekends."""
    found = [task for kind in KINDS for task in _of_kind(size, kind, grid, dice)]
    return sorted(found, key=lambda task: task.when)


def _of_kind(size: Size, kind: Kind, grid: list[Site], dice: random.Random) -> Iterator[Submission]:
    mean = max(30.0, kind.jobs * size.scale)
    rate = size.jobs_a_second * kind.part / mean
    when = -size.stock_h * HOUR_S
    while (when := when + dice.expovariate(rate * 1.6)) < size.days * DAY_S:
        if dice.random() * 1.6 < _tide(kind, max(0.0, when)):
            yield _task(kind, max(0.0, when), mean, grid, dice)


def _tide(kind: Kind, when: float) -> float:
    """How busy people are, 1 on average; production is planned."""
    if kind.activity != "analysis":
        return 1.0
    week = 1.12 if when % WEEK_S < 5 * DAY_S else 0.7
    return week * (1 + 0.4 * math.sin(math.tau * (when / DAY_S - 0.3)))


def _task(kind: Kind, when: float, mean: float, grid: list[Site], dice: random.Random) -> Submission:
    spread = 0.6
    jobs = max(10, int(mean * dice.lognormvariate(-spread * spread / 2, spread)))
    weights = [site.pilots for site in grid]
    copies = tuple(sorted(set(dice.choices(range(len(grid)), weights, k=dice.choice((2, 3, 4))))))
    return Submission(
        when,
        kind,
        jobs,
        kind.hours * HOURS * HOUR_S * dice.choice((0.6, 0.8, 1.0, 1.2, 1.4)),
        kind.memory_mb * dice.choice((80, 90, 95, 100)) // 100,
        int(kind.input_gb * GB * dice.uniform(0.5, 1.5)),
        copies if kind.input_gb else (),
        dice.choices(range(len(grid)), weights)[0],
        kind.priority + (500 if dice.random() < 0.05 else 0),
    )
