"""How good a queue is that can take a job: factors that are multiplied, each 1 at best, each with words for it.

``data`` and ``record`` are the same for each job of a bunch; ``busy`` falls with each that a queue gets.
"""

from collections.abc import Callable
from typing import TypeAlias

from prodchain.catalog.quotas import in_words

from .facts import Files, Need, Offer

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


def load(need: Need, offer: Offer, more: int = 0) -> float:
    """Free slots are worth 1; each round of jobs ahead makes it less."""
    return 1 / (1 + (offer.waiting + offer.executing + more) / max(offer.slots, 1))


def throughput(need: Need, offer: Offer, more: int = 0) -> float:
    """Jobs that wait weigh less where many have finished lately."""
    return 1 / (1 + (offer.waiting + more) / (offer.finished + max(offer.slots, 1)))


def pilots(need: Need, offer: Offer, more: int = 0) -> float:
    """Where none calls little is sent; but a new queue gets its first jobs."""
    if offer.pilots or (not offer.pilots_ever and offer.waiting + more < FIRST_JOBS):
        return 1.0
    return NO_PILOT


def busy(need: Need, offer: Offer, more: int = 0) -> float:
    """All that falls with each job given (``more`` of them so far)."""
    return load(need, offer, more) * throughput(need, offer, more) * pilots(need, offer, more)


def locality(need: Need, offer: Offer) -> tuple[float, str]:
    """Inputs in place are worth 1; bytes to move make it less."""
    bytes_ = need.job_bytes(offer.storage)
    if not need.missing(offer.storage).files:
        return 1.0, "all inputs in place"
    return 1 / (1 + bytes_ / NEAR_BYTES), f"{in_words(bytes_)} to move"


def moving_s(need: Need, offer: Offer) -> float:
    """Seconds until one job's missing inputs have come by the best links, after what is on its way already."""
    if not need.inputs:
        return 0.0
    return bunch_s(need, offer) / len(need.jobs) + ahead_s(need, offer)


def bunch_s(need: Need, offer: Offer) -> float:
    """Seconds that copying the whole bunch's missing inputs takes, one after the other, by the best links."""
    return sum(group.bytes * _byte_s(group, offer) for group in need.missing(offer.storage).groups)


def ahead_s(need: Need, offer: Offer) -> float:
    """Seconds that what is on its way to the storage takes, if it comes by the slowest of these links."""
    if not offer.incoming_bytes:
        return 0.0
    slowest = max((_byte_s(group, offer) for group in need.missing(offer.storage).groups), default=0.0)
    return offer.incoming_bytes * slowest


def _byte_s(group: Files, offer: Offer) -> float:
    """Files without a copy are not counted."""
    return offer.network.nearest_s(group.at, offer.storage)


def network(need: Need, offer: Offer) -> tuple[float, str]:
    seconds = moving_s(need, offer)
    return 1 / (1 + seconds / NEAR_S), f"in {seconds:.0f} s" if seconds >= 1 else ""


def closeness(need: Need, offer: Offer) -> tuple[float, str]:
    stores = offer.network.stores
    files = sum(
        group.files
        for group in need.missing(offer.storage).groups
        if group.at and all(at in stores and stores[at].tape for at in group.at)
    )
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
