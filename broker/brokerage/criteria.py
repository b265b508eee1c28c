"""Why a queue cannot take a job: one small function per criterion, each with its remedy.

A criterion returns None where the queue passes.
"""

from collections.abc import Callable
from typing import TypeAlias

from .facts import Need, Offer

Failure: TypeAlias = tuple[str, str] | None
"""Reason and remedy."""
Criterion: TypeAlias = Callable[[Need, Offer], Failure]

AHEAD = 10
"""Jobs that may wait at a queue for each of its slots: enough to keep it busy, few enough to choose again."""
AHEAD_AT_LEAST = 20


def status(need: Need, offer: Offer) -> Failure:
    if offer.status == "online":
        return None
    return f"the queue is {offer.status}", f"set {offer.name} online in the sites file and apply it"


def storage(need: Need, offer: Offer) -> Failure:
    if offer.storage_writable:
        return None
    return "its storage takes no new files", f"make the storage of {offer.name} writable in the sites file"


def cores(need: Need, offer: Offer) -> Failure:
    if need.cores <= offer.cores:
        return None
    return (
        f"offers {offer.cores} cores, the job needs {need.cores}",
        f"ask for at most {offer.cores} cores, or give {offer.name} larger slots",
    )


def memory(need: Need, offer: Offer) -> Failure:
    if need.memory_mb <= offer.memory_mb:
        return None
    return (
        f"offers {offer.memory_mb} MB, the job needs {need.memory_mb} MB",
        f"ask for at most {offer.memory_mb} MB, or give {offer.name} larger slots",
    )


def walltime(need: Need, offer: Offer) -> Failure:
    if need.walltime_s <= offer.walltime_s:
        return None
    return (
        f"runs jobs of at most {offer.walltime_s} s, the job needs {need.walltime_s} s",
        f"ask for at most {offer.walltime_s} s, or cut the work into smaller jobs",
    )


def backlog(need: Need, offer: Offer) -> Failure:
    limit = max(AHEAD_AT_LEAST, AHEAD * offer.slots)
    if offer.waiting < limit:
        return None
    return (
        f"{offer.waiting} jobs wait there already, the limit is {limit} for {offer.slots} slots",
        "nothing to do: jobs move there as others start; more pilots make it faster",
    )


CRITERIA: dict[str, Criterion] = {
    "status": status,
    "storage": storage,
    "cores": cores,
    "memory": memory,
    "walltime": walltime,
    "backlog": backlog,
}
