"""Which lane for which pilot: offers, lanes and shares in, choices out. Pure.

A lane is what one queue has of one share and requirement; any of its jobs will do where one will, so that a choice is
a lane, and the claim takes its head.
"""

from bisect import bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from heapq import heapify, heappop, heappush, heapreplace
from typing import TypeAlias

import msgspec

from ..brokerage import slots
from ..requirements import Requirement
from .shares import Turns, hunger

GIVERS = 2
"""How often a gift counts until use is read again: another server may fill the same gap at this moment, and both
together must not give too much. One server alone closes a gap in some readings instead of one."""


class Offer(msgspec.Struct, frozen=True):
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
        return msgspec.structs.replace(
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


class Choice(msgspec.Struct):
    """The lanes for one offer, in order, and their jobs; ``unsure``: it may get more once more heads are known."""

    lanes: list[Lane] = []
    jobs: list[int] = []
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


Head: TypeAlias = tuple[int, int]
"""What jobs of a share are sorted by: priority, the highest first (negative), then age (the job's number)."""


class Lanes:
    """The lanes of a queue while they are given out; they may be kept from one batch to the next.

    For each share and kind of offer there is a heap of the lanes that fit, by their heads. A lane's head only moves
    back as its jobs are given, so that an entry that is out of date is put right when it comes to the top.
    """

    def __init__(self, lanes: Iterable[Lane] = ()) -> None:
        self.known: dict[tuple[int, int], Lane] = {}
        self.run_out: set[tuple[int, int]] = set()
        """Lanes that had more jobs than were known when one was asked for."""
        self._taken: dict[tuple[int, int], int] = {}
        self._heaps: dict[int, dict[Kind, _Heap]] = defaultdict(dict)
        self._steps: tuple[list[int], ...] = ([], [], [], [], [])
        for lane in lanes:
            self.put(lane)

    def put(self, lane: Lane) -> None:
        """A lane as it was read; what was known of it before is forgotten."""
        key = lane.share, lane.requirement
        if key not in self.known:
            self._learn(lane.needs)
            before = None
        else:
            before, _ = self._head(key)
        self.known[key], self._taken[key] = lane, 0
        head, _ = self._head(key)
        if head is None or (before is not None and before <= head):
            return  # heaps have an entry of it that comes to the top in time
        for heap in self._heaps[lane.share].values():
            if fits(lane.needs, heap.offer):
                heappush(heap.entries, (head, lane.requirement))

    def drop(self, key: tuple[int, int]) -> None:
        """Nothing is left in the lane."""
        self.known.pop(key, None)

    def lanes(self) -> list[Lane]:
        """What is left, each with its heads that are not given."""
        found = []
        for key, lane in self.known.items():
            if (at := self._taken[key]) < len(lane.heads) or lane.more:
                found.append(replace(lane, heads=lane.heads[at:]))
        return found

    def shares(self) -> set[int]:
        return {share for share, _ in self.known}

    def spent(self) -> bool:
        """Whether nothing is left in any lane."""
        return not any(lane.more or self._taken[key] < len(lane.heads) for key, lane in self.known.items())

    def low(self, key: tuple[int, int], least: int) -> bool:
        """Whether the lane has more jobs, but fewer known ones than that."""
        lane = self.known.get(key)
        return lane is not None and lane.more and len(lane.heads) - self._taken[key] < least

    def best(self, share: int, offer: Offer, kind: "Kind") -> tuple[Lane | None, bool]:
        """The lane whose head is first among those that fit; second, whether that is not known yet."""
        heap = self._heaps[share].get(kind)
        if heap is None or len(heap.entries) > 4 * len(self.known) + 16:
            heap = self._heaps[share][kind] = self._heap(share, offer)
        entries = heap.entries
        while entries:
            entry, requirement = entries[0]
            key = share, requirement
            head, sure = self._head(key) if key in self.known else (None, True)
            if head is None:
                heappop(entries)
            elif head != entry:
                heapreplace(entries, (head, requirement))
            else:
                if sure:
                    return self.known[key], False
                self.run_out.add(key)
                return None, True
        return None, False

    def take(self, lane: Lane) -> int:
        """Give the lane's head away; the job."""
        key = lane.share, lane.requirement
        at = self._taken[key]
        self._taken[key] = at + 1
        return lane.heads[at][1]

    def _head(self, key: tuple[int, int]) -> tuple[Head | None, bool]:
        """Where the lane's next job stands, and whether it is known; if not, the next one is not before that."""
        lane, at = self.known[key], self._taken[key]
        if at < len(lane.heads):
            return (-lane.heads[at][0], lane.heads[at][1]), True
        if not lane.more:
            return None, True
        return ((-lane.heads[-1][0], lane.heads[-1][1]) if lane.heads else FIRST), False

    def _heap(self, share: int, offer: Offer) -> "_Heap":
        entries = []
        for key, lane in self.known.items():
            if key[0] == share and fits(lane.needs, offer) and (head := self._head(key)[0]) is not None:
                entries.append((head, key[1]))
        heapify(entries)
        return _Heap(offer, entries)

    def _learn(self, needs: Requirement) -> None:
        """Limits that needs name: offers that lie between the same ones are of one kind."""
        for steps, value in zip(self._steps, _amounts(needs), strict=True):
            if (at := bisect_right(steps, value)) == 0 or steps[at - 1] != value:
                insort(steps, value)
                self._heaps.clear()

    def kind(self, offer: Offer) -> "Kind":
        """The same for offers that the same needs fit into: pilots differ in the seconds that they have left."""
        cores, memory, remaining, disk, gpus = self._steps
        return (
            bisect_right(cores, offer.cores),
            bisect_right(memory, offer.memory_mb),
            bisect_right(remaining, offer.remaining_s),
            bisect_right(disk, offer.disk_mb),
            bisect_right(gpus, offer.gpus),
            offer.architecture,
            offer.software,
        )


@dataclass
class _Heap:
    """``offer``: one of its kind, which all fit into."""

    offer: Offer
    entries: list[tuple[Head, int]]


Kind: TypeAlias = tuple[int, int, int, int, int, str, tuple[str, ...]]
FIRST: Head = (-(2**63), 0)
"""Before every job."""


def _amounts(needs: Requirement) -> tuple[int, ...]:
    return needs.cores, needs.memory_mb, needs.walltime_s, needs.scratch_mb, needs.gpus


def match(
    offers: Sequence[Offer],
    lanes: Lanes | Sequence[Lane],
    turns: Turns,
    fraction: Fraction | None,
    room: int | None,
) -> list[Choice]:
    """A choice for each offer, in their order: the share in most need, there the highest priority, then the oldest.

    ``room``: how many jobs the queue may give out in all; ``turns``, ``fraction`` and ``lanes`` count what is given.
    """
    open_lanes = lanes if isinstance(lanes, Lanes) else Lanes(lanes)
    left = room if room is not None else sum(offer.jobs for offer in offers)
    choices = []
    for offer in offers:
        choice = Choice()
        choices.append(choice)
        while offer.jobs > 0 and left > 0:
            order, kind = turns.order(), open_lanes.kind(offer)
            lane: Lane | None = None
            for share in fraction.first(order) if fraction else order:
                lane, choice.unsure = open_lanes.best(share, offer, kind)
                if lane or choice.unsure:
                    break
            if lane is None:
                break
            choice.jobs.append(open_lanes.take(lane))
            choice.lanes.append(lane)
            turns.give(lane.share, lane.needs.cores * GIVERS)
            if fraction:
                fraction.give(lane.share, lane.needs.cores * GIVERS)
            left -= 1
            if offer.jobs == 1:
                break
            offer = offer.less(lane.needs)  # noqa: PLW2901 - what is left of it
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
