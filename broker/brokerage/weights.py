"""How good a queue is that can take a job: factors that are multiplied, each 1 at best."""

from .facts import Need, Offer

NEAR_BYTES = 100_000_000
"""Bytes to move that halve a queue's weight."""
NO_PILOT = 0.1
"""A queue where no pilot has asked lately is taken only if the others are ten times as busy."""


def load(offer: Offer) -> float:
    """Free slots are worth 1; each round of jobs ahead makes it less."""
    return 1 / (1 + (offer.waiting + offer.executing) / max(offer.slots, 1))


def locality(need: Need, offer: Offer) -> float:
    """Inputs in place are worth 1; bytes to move make it less."""
    return 1 / (1 + need.missing_bytes.get(offer.storage, 0) / NEAR_BYTES)


def pilots(offer: Offer) -> float:
    return 1.0 if offer.pilots_seen else NO_PILOT


def weight(need: Need, offer: Offer) -> float:
    return load(offer) * locality(need, offer) * pilots(offer)
