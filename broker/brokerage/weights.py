"""How good a queue is that can take a job: factors that are multiplied, each 1 at best, each with words for it.

They are the same for each job of a bunch; ``busy`` falls with each that a queue gets.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

from prodchain.catalog.quotas import in_words

from .facts import Need, Offer

Weight: TypeAlias = Callable[[Need, Offer], tuple[float, str]]
"""Factor, and words (empty: nothing to say)."""

NEAR_BYTES = 100_000_000
"""Bytes to move for one job that halve a queue's weight."""
NEAR_S = 600.0
"""Seconds until they have come that halve it."""
TAPE = 0.2
"""Inputs that are on tape only: other queues are taken until they are five times as busy."""
NO_PILOT = 0.1
"""A queue where no pilot has asked lately is taken only if the others are ten times as busy."""
FIRST_JOBS = 2
"""Jobs that a queue gets before any pilot has ever called: they make its pilots start, and show whether it works."""
TRUST = 5
"""Jobs whose success is taken for granted before the first has ended."""


def busy(offer: Offer, more: int = 0) -> float:
    """All that falls with each job given (``more`` of them so far); in one piece, as it is asked for each job."""
    waiting, slots = offer.waiting + more, offer.slots or 1
    # Free slots are worth 1; each round of jobs ahead makes it less.
    load = 1 / (1 + (waiting + offer.executing) / slots)
    # Jobs that wait weigh less where many have finished lately.
    throughput = 1 / (1 + waiting / (offer.finished + slots))
    # Where no pilot calls little is sent; but a new queue gets its first jobs.
    if offer.pilots or (waiting < FIRST_JOBS and not offer.pilots_ever):
        return load * throughput
    return load * throughput * NO_PILOT


def locality(need: Need, offer: Offer) -> tuple[float, str]:
    """Inputs in place are worth 1; bytes to move make it less."""
    if not need.missing(offer.storage).files:
        return 1.0, "all inputs in place"
    bytes_ = need.job_bytes(offer.storage)
    return 1 / (1 + bytes_ / NEAR_BYTES), _to_move(bytes_)


@lru_cache(maxsize=256)
def _to_move(bytes_: int) -> str:
    """Most queues of a large farm lack the same of a bunch."""
    return f"{in_words(bytes_)} to move"


def moving_s(need: Need, offer: Offer) -> float:
    """Seconds until one job's missing inputs have come by the best links, after what is on its way already."""
    if not need.missing(offer.storage).groups:
        return 0.0
    return bunch_s(need, offer) / len(need.jobs) + ahead_s(need, offer)


def bunch_s(need: Need, offer: Offer) -> float:
    """Seconds that copying the whole bunch's missing inputs takes, one after the other, by the best links."""
    missing = need.missing(offer.storage)
    ways = offer.network.ways(missing.at, offer.storage)
    return sum([group.bytes * way.byte_s for group, way in zip(missing.groups, ways, strict=True)])


def ahead_s(need: Need, offer: Offer) -> float:
    """Seconds that what is on its way to the storage takes, if it comes by the slowest of these links."""
    if not offer.incoming_bytes:
        return 0.0
    ways = offer.network.ways(need.missing(offer.storage).at, offer.storage)
    return offer.incoming_bytes * max([way.byte_s for way in ways], default=0.0)


def network(need: Need, offer: Offer) -> tuple[float, str]:
    seconds = moving_s(need, offer)
    return 1 / (1 + seconds / NEAR_S), f"in {seconds:.0f} s" if seconds >= 1 else ""


def closeness(need: Need, offer: Offer) -> tuple[float, str]:
    missing = need.missing(offer.storage)
    if not missing.groups:
        return 1.0, ""
    ways = offer.network.ways(missing.at, offer.storage)
    files = sum([group.files for group, way in zip(missing.groups, ways, strict=True) if way.on_tape])
    return (TAPE, f"{files} files on tape only") if files else (1.0, "")


def failures(need: Need, offer: Offer) -> tuple[float, str]:
    ended = offer.finished + offer.failed
    success = (offer.finished + TRUST) / (ended + TRUST)
    return success, f"{offer.failed} of {ended} jobs failed lately" if offer.failed else ""


WEIGHTS: dict[str, Weight] = {
    "locality": locality,
    "network": network,
    "closeness": closeness,
    "failures": failures,
}
