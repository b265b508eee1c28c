"""Copies between sites: what they take, what was seen of each link lately, and the bytes of each day."""

import random
from collections import defaultdict
from dataclasses import dataclass, field

from prodchain.broker.brokerage.facts import Link, Network, Store

from .load import DAY_S, GB, Site

RATE, SPREAD = 0.25 * GB, 0.6
"""Bytes a second of a link: the median, and how links differ (a hundred are about as fast as the slowest end)."""
INCOMING_BYTES = 200 * GB
"""As offers.INCOMING_BYTES: what may be on its way to a storage in any case."""


@dataclass
class Links:
    grid: list[Site]
    seed: int
    down: dict[tuple[int, int], float] = field(default_factory=dict)
    """Until when nothing arrives."""
    incoming: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    days: dict[str, dict[int, int]] = field(default_factory=lambda: {"input": {}, "output": {}})
    outputs: dict[tuple[int, int], int] = field(default_factory=lambda: defaultdict(int))
    """Bytes that wait for their way to the task's storage."""
    _busy: dict[tuple[int, int], float] = field(default_factory=dict)
    _rates: dict[tuple[int, int], float] = field(default_factory=dict)
    _seen: list[dict[tuple[int, int], list[int]]] = field(default_factory=lambda: [{}, {}])
    """Files, failures and bytes of this hour and the one before."""

    def rate(self, link: tuple[int, int]) -> float:
        if link not in self._rates:
            dice = random.Random(self.seed * 10**9 + link[0] * 10**4 + link[1])
            self._rates[link] = RATE * dice.lognormvariate(0, SPREAD)
        return self._rates[link]

    def send(self, link: tuple[int, int], bytes_: int, now: float) -> float:
        """When they have arrived, if nothing breaks: a link carries one after the other."""
        start = max(now, self._busy.get(link, 0.0))
        self._busy[link] = end = start + bytes_ / self.rate(link)
        return end

    def broken(self, link: tuple[int, int], now: float) -> bool:
        if self.down.get(link, 0.0) <= now:
            return False
        self._note(link, 0, 1, 0)
        return True

    def arrived(self, link: tuple[int, int], files: int, bytes_: int, now: float) -> None:
        self._note(link, files, 0, bytes_)
        self._day("input", bytes_, now)

    def move_outputs(self, now: float, seconds: float) -> None:
        """What links carry in that time of what waits."""
        for link, waits in list(self.outputs.items()):
            if self.down.get(link, 0.0) > now:
                continue
            moved = min(waits, int(self.rate(link) * seconds))
            self._day("output", moved, now)
            if moved == waits:
                del self.outputs[link]
            else:
                self.outputs[link] = waits - moved

    def hour(self) -> None:
        self._seen = [{}, self._seen[0]]

    def network(self) -> tuple[Network, dict[int, int]]:
        """As the brokerage sees it, and the bytes that came to each storage."""
        links: dict[tuple[int, int], Link] = {}
        came: dict[int, int] = defaultdict(int)
        for link in {**self._seen[1], **self._seen[0]}:
            found = [seen[link] for seen in self._seen if link in seen]
            files, failures, bytes_ = (sum(column) for column in zip(*found, strict=True))
            links[link] = Link(round(self.rate(link)) if files else None, files, failures)
            came[link[1]] += bytes_
        return Network({site.queue: Store(site.name) for site in self.grid}, links), came

    def _note(self, link: tuple[int, int], files: int, failures: int, bytes_: int) -> None:
        seen = self._seen[0].setdefault(link, [0, 0, 0])
        seen[0] += files
        seen[1] += failures
        seen[2] += bytes_

    def _day(self, kind: str, bytes_: int, now: float) -> None:
        day = int(now // DAY_S)
        self.days[kind][day] = self.days[kind].get(day, 0) + bytes_
