"""What breaks: sites that are down, black holes, storages that take nothing, links. Drawn once, from the seed."""

import random
from dataclasses import dataclass

from .load import DAY_S, HOUR_S, Site, Size

DOWN, BLACK_HOLE, FULL, LINK = "down", "black hole", "storage", "link"
EVERY_DAYS = {DOWN: 45.0, BLACK_HOLE: 60.0, FULL: 90.0}
"""How often that happens to one site, on average."""
LINKS_A_DAY = 20.0
HOURS = {DOWN: 8.0, BLACK_HOLE: 6.0, FULL: 4.0, LINK: 3.0}
"""How long it lasts: the median, and at most four times that."""
ERRORS = {
    DOWN: "lost heartbeat: the site's machines are gone",
    BLACK_HOLE: "command not found: athena",
    FULL: "output cannot be stored: connection refused",
}
PAYLOAD = (
    (0.70, "the payload ended with exit code 65: segmentation violation in the event loop"),
    (0.20, "out of memory: killed by signal 9"),
    (0.03, "input cannot be fetched: checksum does not match"),
    (0.02, "output cannot be stored: timed out"),
    (0.04, "lost heartbeat: the machine is gone"),
    (0.01, "no space left on device"),
)
"""How a run fails where nothing is wrong with the site."""


@dataclass(frozen=True)
class Trouble:
    kind: str
    start: float
    end: float
    site: int
    source: int = -1
    """Of a link: nothing comes from there to the site."""


def troubles(size: Size, grid: list[Site], dice: random.Random) -> list[Trouble]:
    found: list[Trouble] = []
    if not size.troubles:
        return found
    for kind, days in EVERY_DAYS.items():
        for site in grid:
            at = dice.expovariate(1 / days)
            while at < size.days:
                found.append(_one(kind, at, site.queue, dice))
                at += 2.0 + dice.expovariate(1 / days)
    weights = [site.pilots for site in grid]
    at = dice.expovariate(LINKS_A_DAY)
    while at < size.days:
        source, target = dice.choices(range(len(grid)), weights, k=2)
        found.append(_one(LINK, at, target, dice, source))
        at += dice.expovariate(LINKS_A_DAY)
    return sorted(found, key=lambda trouble: trouble.start)


def _one(kind: str, at_days: float, site: int, dice: random.Random, source: int = -1) -> Trouble:
    hours = HOURS[kind] * min(4.0, dice.lognormvariate(0, 0.7))
    return Trouble(kind, at_days * DAY_S, at_days * DAY_S + hours * HOUR_S, site, source)


def payload_error(dice: random.Random) -> str:
    return dice.choices([error for _, error in PAYLOAD], [part for part, _ in PAYLOAD])[0]
