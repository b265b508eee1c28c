"""The jobs that wait at a queue and the pilots that ask there, between the simulation and matching.match.

As matching.heads does it: the match knows the first jobs of each lane, and more of them are read before they run out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TypeAlias

from prodchain.broker.matching.match import Choice, Lane, Lanes, Offer, match
from prodchain.broker.matching.shares import Turns
from prodchain.broker.requirements import Requirement

DEPTH, LOW = 64, 8
Key: TypeAlias = tuple[int, int]
"""Share and requirement."""


@dataclass
class Desk:
    """``stock``: what waits behind the known heads of a lane, as (-priority, first job, jobs)."""

    needs: Sequence[Requirement]
    """All requirements there are, by number."""
    waiting: int = 0
    small: int = 0
    """Those of one core, for which a pilot needs not be empty."""
    lanes: Lanes = field(default_factory=Lanes)
    _stock: dict[Key, list[tuple[int, int, Sequence[int]]]] = field(default_factory=dict)
    _given: dict[Key, int] = field(default_factory=dict)

    def add(self, key: Key, priority: int, jobs: Sequence[int]) -> None:
        heappush(self._stock.setdefault(key, []), (-priority, jobs[0], jobs))
        self.waiting += len(jobs)
        self.small += len(jobs) * (self.needs[key[1]].cores == 1)
        known = self.lanes.known.get(key)
        if known is None or not known.more or priority > known.heads[-1][0]:
            self._read(key)

    def give(self, offers: Sequence[Offer], turns: Turns) -> list[Choice]:
        """A job for each offer, or none."""
        choices = match(offers, self.lanes, turns, None, None)
        given = {}
        for choice in choices:
            for lane in choice.lanes:
                key = lane.share, lane.requirement
                given[key] = lane
                self._given[key] += 1
                self.waiting -= 1
                self.small -= lane.needs.cores == 1
        for key, lane in given.items():
            if len(lane.heads) - self._given[key] < (LOW if lane.more else 1):
                self._read(key)
        return choices

    def jobs(self) -> Iterator[int]:
        """All that wait."""
        for key, stock in self._stock.items():
            for _, _, jobs in stock:
                yield from jobs
            if (known := self.lanes.known.get(key)) is not None:
                yield from (job for _, job in known.heads[self._given[key] :])

    def empty(self) -> list[tuple[Key, int, list[int]]]:
        """Take all jobs away: (lane, priority, jobs)."""
        found = []
        for key in list(self._stock):
            self._put_back(key)
            found += [(key, -priority, list(jobs)) for priority, _, jobs in self._stock.pop(key)]
            self.lanes.drop(key)
        self.waiting = self.small = 0
        return found

    def _put_back(self, key: Key) -> None:
        known = self.lanes.known.get(key)
        for priority, job in known.heads[self._given[key] :] if known is not None else ():
            heappush(self._stock[key], (-priority, job, (job,)))

    def _read(self, key: Key) -> None:
        self._put_back(key)
        stock = self._stock[key]
        heads: list[tuple[int, int]] = []
        while stock and len(heads) < DEPTH:
            priority, _, jobs = heappop(stock)
            fits = DEPTH - len(heads)
            heads += [(priority, job) for job in jobs[:fits]]
            if len(jobs) > fits:
                heappush(stock, (priority, jobs[fits], jobs[fits:]))
        self._given[key] = 0
        if heads:
            heads.sort()  # jobs that come back are in the order in which they failed
            known = tuple([(-priority, job) for priority, job in heads])
            self.lanes.put(Lane(*key, self.needs[key[1]], known, bool(stock)))
        else:
            del self._stock[key]
            self.lanes.drop(key)
