"""Which lane for which pilot: offers, lanes and shares in, choices out. Pure.

A lane is what one queue has of one share and requirement; any of its jobs will do where one will, so that a choice is
a lane, and the claim takes its head.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

from ..brokerage import slots
from ..requirements import Requirement
from .shares import Turns, hunger

GIVERS = 2
"""How often a gift counts until use is read again: another server may fill the same gap at this moment, and both
together must not give too much. One server alone closes a gap in some readings instead of one."""


@dataclass(frozen=True)
class Offer:
    """What a pilot has to give, for ``jobs`` jobs at most, together."""

    cores: int
    memory_mb: int
    remaining_s: int
    disk_mb: int
    gpus: int = 0
    architecture: str = ""
    software: tuple[str, ...] = ()
    """Shell patterns."""
    jobs: int = 1

    def less(self, needs: Requirement) -> "Offer":
        """What is left when one such job runs."""
        return replace(
            self,
            cores=self.cores - needs.cores,
            memory_mb=self.memory_mb - needs.memory_mb,
            disk_mb=self.disk_mb - needs.scratch_mb,
            gpus=self.gpus - needs.gpus,
            jobs=self.jobs - 1,
        )


@dataclass(frozen=True)
class Lane:
    """``heads``: (priority, job) of the first jobs, in order; ``more``: there may be others behind them."""

    share: int
    requirement: int
    needs: Requirement
    heads: tuple[tuple[int, int], ...]
    more: bool = False


@dataclass
class Fraction:
    """A queue that divides its slots between analysis and production, and what each has there."""

    percent: int
    shares: Set[int]
    """The shares that analysis alone belongs to."""
    analysis: float = 0.0
    others: float = 0.0

    def first(self, order: Iterator[int]) -> list[int]:
        """The order of shares with those first that have less of their part."""
        wants = hunger(self.analysis, self.percent) < hunger(self.others, 100 - self.percent)
        return sorted(order, key=lambda share: (share in self.shares) != wants)

    def give(self, share: int, amount: float) -> None:
        if share in self.shares:
            self.analysis += amount
        else:
            self.others += amount


@dataclass
class Choice:
    """The lanes for one offer, in order; ``unsure``: it may get more once more heads of lanes are known."""

    lanes: list[Lane] = field(default_factory=list)
    unsure: bool = False


def lacking(needs: Requirement, offer: Offer) -> Iterator[tuple[str, str]]:
    """What the offer lacks for such a job: needed and offered, in words."""
    if needs.cores > offer.cores:
        yield f"{needs.cores} cores", f"{offer.cores}"
    if needs.memory_mb > offer.memory_mb:
        yield f"{needs.memory_mb} MB of memory", f"{offer.memory_mb} MB"
    if needs.walltime_s > offer.remaining_s:
        yield f"{needs.walltime_s} s", f"{offer.remaining_s} s"
    if needs.scratch_mb > offer.disk_mb:
        yield f"{needs.scratch_mb} MB of disk", f"{offer.disk_mb} MB"
    if needs.gpus > offer.gpus:
        yield f"{needs.gpus} GPUs", f"{offer.gpus}"
    if needs.architecture and needs.architecture != offer.architecture:
        yield needs.architecture, offer.architecture or "no known architecture"
    for name in slots.lacking(needs.software, offer.software):
        yield name, ", ".join(offer.software) or "no software"


def fits(needs: Requirement, offer: Offer) -> bool:
    return next(lacking(needs, offer), None) is None


class _Lanes:
    """The lanes of a queue while they are given out."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes: dict[int, list[Lane]] = defaultdict(list)
        for lane in lanes:
            self._lanes[lane.share].append(lane)
        self._taken: dict[tuple[int, int], int] = defaultdict(int)

    def head(self, lane: Lane) -> tuple[int, int] | None:
        """Sorts by priority, the highest first, then by age; None if all known jobs are given."""
        at = self._taken[lane.share, lane.requirement]
        return (-lane.heads[at][0], lane.heads[at][1]) if at < len(lane.heads) else None

    def best(self, share: int, offer: Offer) -> tuple[Lane | None, bool]:
        """The lane whose head is first among those that fit; second, whether that is not known yet."""
        found: tuple[tuple[int, int], Lane] | None = None
        for lane in self._lanes.get(share, ()):
            head = self.head(lane)
            if (head is None and not lane.more) or not fits(lane.needs, offer):
                continue
            if head is None:
                return None, True
            if found is None or head < found[0]:
                found = head, lane
        return (found[1] if found else None), False

    def take(self, lane: Lane) -> None:
        self._taken[lane.share, lane.requirement] += 1


def match(
    offers: Sequence[Offer], lanes: Sequence[Lane], turns: Turns, fraction: Fraction | None, room: int | None
) -> list[Choice]:
    """A choice for each offer, in their order: the share in most need, there the highest priority, then the oldest.

    ``room``: how many jobs the queue may give out in all; ``turns`` and ``fraction`` count what is given.
    """
    open_lanes = _Lanes(lanes)
    left = room if room is not None else sum(offer.jobs for offer in offers)
    choices = []
    for offer in offers:
        choice = Choice()
        choices.append(choice)
        while offer.jobs > 0 and left > 0:
            order = turns.order()
            lane: Lane | None = None
            for share in fraction.first(order) if fraction else order:
                lane, choice.unsure = open_lanes.best(share, offer)
                if lane or choice.unsure:
                    break
            if lane is None:
                break
            open_lanes.take(lane)
            turns.give(lane.share, lane.needs.cores * GIVERS)
            if fraction:
                fraction.give(lane.share, lane.needs.cores * GIVERS)
            choice.lanes.append(lane)
            offer = offer.less(lane.needs)  # noqa: PLW2901 - what is left of it
            left -= 1
    return choices


def refusal(offer: Offer, lanes: Sequence[Lane], waiting: int, room: int | None, limit: int | None) -> str:
    """Why a pilot gets nothing, in a sentence; ``waiting``: jobs in all the lanes."""
    if not lanes:
        return "no job is ready for this queue"
    if room is not None and room <= 0:
        return f"{_jobs(waiting)}, and the queue runs {limit} jobs already, as many as it may"
    gaps = [(list(lacking(lane.needs, offer)), lane) for lane in lanes]
    if any(not gap for gap, _ in gaps):
        return f"{_jobs(waiting)}, other pilots were first"
    gap, _ = min(gaps, key=lambda each: (len(each[0]), each[1].needs.memory_mb, each[1].needs.cores))
    needed, offered = (", ".join(words) for words in zip(*gap, strict=True))
    return f"{_jobs(waiting)}, the smallest needs {needed}, the pilot offers {offered}"


def _jobs(waiting: int) -> str:
    return f"{waiting} jobs wait" if waiting != 1 else "1 job waits"


def use_by_share(use: Mapping[tuple[int, int], int]) -> dict[int, float]:
    """Over all queues, of what is known by share and queue."""
    found: dict[int, float] = defaultdict(float)
    for (share, _), cores in use.items():
        found[share] += cores
    return found
