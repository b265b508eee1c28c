"""What a simulation writes down, and what follows from it."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prodchain.broker.matching.shares import Share

from .load import LEAVES, SHARES

STEP = 1.05
"""Waiting times are counted in classes, each so much longer than the one before."""
_LOG_STEP = math.log(STEP)


@dataclass
class Waits:
    classes: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, seconds: float) -> None:
        self.classes[int(math.log(seconds + 1) / _LOG_STEP)] += 1

    def quantile_s(self, part: float) -> float:
        wanted = part * sum(self.classes.values())
        for number in sorted(self.classes):
            wanted -= self.classes[number]
            if wanted <= 0:
                return STEP**number
        return 0.0


def together(waits: Sequence[Waits]) -> Waits:
    found = Waits()
    for each in waits:
        for number, count in each.classes.items():
            found.classes[number] += count
    return found


def entitled(use: Mapping[int, float], hungry: frozenset[int], shares: Sequence[Share] = SHARES) -> dict[int, float]:
    """What each leaf should have of what all use: one without waiting jobs has what it uses, the others divide the
    rest by their targets, siblings first."""
    below: dict[int | None, list[Share]] = defaultdict(list)
    for share in shares:
        below[share.parent].append(share)

    def uses(share: int) -> float:
        return sum(uses(each.id) for each in below[share]) if share in below else use.get(share, 0.0)

    def wants(share: int) -> bool:
        return any(wants(each.id) for each in below[share]) if share in below else share in hungry

    found: dict[int, float] = {}

    def divide(above: int | None, amount: float) -> None:
        eager = [share for share in below[above] if wants(share.id)]
        others = [share for share in below[above] if not wants(share.id)]
        rest = amount - sum(uses(share.id) for share in others)
        for share in [*others, *eager]:
            part = rest * share.value / sum(each.value for each in eager) if share in eager else uses(share.id)
            found[share.id] = part
            if share.id in below:
                divide(share.id, part)

    divide(None, sum(use.values()))
    return {leaf: found[leaf] for leaf in LEAVES}


@dataclass
class Hour:
    """``use``: cores by share, on average; ``hungry``: shares that always had jobs waiting."""

    use: dict[int, float]
    hungry: frozenset[int]
    waiting: int
    """Jobs that wait at queues."""
    drained: int
    """Queues."""


SETTLED_H = 8
"""Nothing is taken from a job that runs: shares are as they should be when most jobs have ended since it changed."""


def share_errors(hours: Sequence[Hour], first: int) -> dict[str, dict[str, float]]:
    """By share, in percent of the used slots, from that hour on: how far each was from what it was entitled to.

    An hour counts for the shares that had jobs waiting all the time in it and in those before it, if there are two.
    """
    gaps: dict[int, list[float]] = defaultdict(list)
    used: dict[int, float] = defaultdict(float)
    aim: dict[int, float] = defaultdict(float)
    for number in range(max(first, SETTLED_H), len(hours)):
        hour = hours[number]
        settled = frozenset.intersection(*(each.hungry for each in hours[number - SETTLED_H : number + 1]))
        if len(settled) < 2:
            continue
        whole = sum(hour.use.values())
        due = entitled(hour.use, settled)
        for share in settled:
            gaps[share].append(100 * abs(hour.use[share] - due[share]) / whole)
            used[share] += 100 * hour.use[share] / whole
            aim[share] += 100 * due[share] / whole
    return {
        LEAVES[share]: {
            "hours": len(each),
            "entitled_percent": round(aim[share] / len(each), 2),
            "got_percent": round(used[share] / len(each), 2),
            "mean_error_percent": round(sum(each) / len(each), 3),
            "worst_hour_percent": round(max(each), 2),
        }
        for share, each in sorted(gaps.items())
    }
