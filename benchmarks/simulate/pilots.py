"""Pilots: each holds some cores of a site for two days, and asks for jobs whenever a part of them is free."""

import random
import time
from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TypeAlias

from prodchain.broker.matching.match import Lane, Offer
from prodchain.broker.matching.shares import Turns
from prodchain.broker.requirements import Requirement

from .desk import Desk
from .load import HOUR_S, LEAVES, PILOT_CORES, SHARES, Site
from .troubles import DOWN

TICK_S = 60
LIFE_S, LIMIT_S = 48 * HOUR_S, 96 * HOUR_S
"""A pilot takes no more jobs after so long, and is replaced when its last is over; the most that a job may take."""
REPLACED = 5
"""Ticks until another pilot is in its place."""
BATCH = 32
"""Pilots of a queue that are served at once."""
MEMORY_STEP_MB = 500
Kind: TypeAlias = tuple[int, int]
"""What is free of a pilot: cores, and steps of memory."""


class Pilots:
    """``start``: what is told of each job that a pilot gets: job, pilot, site and lane."""

    def __init__(
        self,
        sites: Sequence[Site],
        desks: Sequence[Desk],
        dice: random.Random,
        start: Callable[[int, int, int, Lane], None],
    ) -> None:
        self.offers = 0
        self.cpu_s = 0.0
        """Of the matching."""
        self._desks, self._dice, self._start = desks, dice, start
        self._home = [site.queue for site in sites for _ in range(site.pilots)]
        self._cores = bytearray([PILOT_CORES]) * len(self._home)
        self._memory = [sites[site].memory_mb for site in self._home]
        self._until = [dice.uniform(0.1, 1.0) * LIFE_S / TICK_S for _ in self._home]
        self._parked: list[dict[Kind, dict[int, None]]] = [{} for _ in sites]
        """Those that found nothing."""
        self._place: list[Kind | None] = [None] * len(self._home)
        self._kind: list[Kind] = [(PILOT_CORES, memory // MEMORY_STEP_MB) for memory in self._memory]
        self._asking: dict[int, list[int]] = {0: list(range(len(self._home)))}
        self._news: dict[int, int] = {}
        """Queues with new jobs, and the fewest cores that one of them needs."""
        self._known: dict[Kind, Offer] = {}
        self._tick = 0

    def told(self, site: int, cores: int) -> None:
        """Jobs of so many cores became ready there."""
        self._news[site] = min(self._news.get(site, cores), cores)

    def free(self, pilot: int, needs: Requirement, tick: int) -> None:
        """A job of the pilot is over: it asks again."""
        self._has(pilot, self._cores[pilot] + needs.cores, self._memory[pilot] + needs.memory_mb)
        self._asking.setdefault(tick, []).append(pilot)

    def begin(self, site: int, tick: int) -> None:
        """The site is up again: its pilots call within an hour."""
        for pilot, home in enumerate(self._home):
            if home == site:
                self._asking.setdefault(tick + self._dice.randrange(HOUR_S // TICK_S), []).append(pilot)

    def turn(self, tick: int, trouble: Sequence[str], use: Mapping[int, int]) -> None:
        """All who have something free ask, and ask again while they get something. Use is read once in a tick."""
        self._tick = tick
        turns = Turns(SHARES, {share: float(cores) for share, cores in use.items()}, set(LEAVES))
        asking: dict[int, list[int]] = defaultdict(list)
        for pilot in self._asking.pop(tick, ()):
            asking[self._home[pilot]].append(pilot)
        for site in {**asking, **self._news}:
            if trouble[site] == DOWN:
                continue
            pilots = asking.get(site, [])
            if site in self._news:
                for (cores, _), waiting in self._parked[site].items():
                    if cores >= self._news[site]:
                        pilots += islice(waiting, self._desks[site].waiting)
            self._serve(site, deque(dict.fromkeys(pilots)), turns)
        self._news.clear()

    def _serve(self, site: int, queue: deque[int], turns: Turns) -> None:
        desk = self._desks[site]
        refused: set[Kind] = set()
        while asking := self._next(site, queue, refused):
            start = time.process_time()
            choices = desk.give([self._offer(self._kind[pilot]) for pilot in asking], turns)
            self.cpu_s += time.process_time() - start
            self.offers += len(asking)
            for pilot, choice in zip(asking, choices, strict=True):
                if choice.jobs:
                    self._take(pilot, choice.lanes[0].needs)
                    self._start(choice.jobs[0], pilot, site, choice.lanes[0])
                elif not choice.unsure:
                    refused.add(self._kind[pilot])
                    self._park(site, pilot)
                    continue
                if self._cores[pilot]:
                    queue.append(pilot)
        for pilot in queue:  # nothing is left for them
            if not self._over(pilot):
                self._park(site, pilot)

    def _next(self, site: int, queue: deque[int], refused: set[Kind]) -> list[int]:
        """The next pilots to be served, no more than there are jobs; who cannot get any is parked."""
        desk = self._desks[site]
        asking: list[int] = []
        most = min(BATCH, desk.waiting)
        while queue and len(asking) < most:
            pilot = queue.popleft()
            if self._over(pilot):
                continue
            if self._kind[pilot] in refused or (self._cores[pilot] < PILOT_CORES and not desk.small):
                self._park(site, pilot)
            else:
                asking.append(pilot)
        return asking

    def _offer(self, kind: Kind) -> Offer:
        if kind not in self._known:
            self._known[kind] = Offer(kind[0], kind[1] * MEMORY_STEP_MB, LIMIT_S, 10**6)
        return self._known[kind]

    def _over(self, pilot: int) -> bool:
        """It has nothing free, or is too old to take a job; one that is empty is replaced."""
        if self._until[pilot] > self._tick:
            return self._cores[pilot] == 0
        self._unpark(pilot)
        if self._cores[pilot] == PILOT_CORES:
            self._until[pilot] = self._tick + LIFE_S / TICK_S
            self._asking.setdefault(self._tick + REPLACED, []).append(pilot)
        return True

    def _take(self, pilot: int, needs: Requirement) -> None:
        self._unpark(pilot)
        self._has(pilot, self._cores[pilot] - needs.cores, self._memory[pilot] - needs.memory_mb)

    def _has(self, pilot: int, cores: int, memory_mb: int) -> None:
        self._cores[pilot], self._memory[pilot] = cores, memory_mb
        self._kind[pilot] = cores, memory_mb // MEMORY_STEP_MB

    def _park(self, site: int, pilot: int) -> None:
        kind = self._kind[pilot]
        if self._place[pilot] != kind:
            self._unpark(pilot)
            self._place[pilot] = kind
            self._parked[site].setdefault(kind, {})[pilot] = None

    def _unpark(self, pilot: int) -> None:
        if (kind := self._place[pilot]) is not None:
            del self._parked[self._home[pilot]][kind][pilot]
            self._place[pilot] = None
