"""Why a queue cannot take a job: one small function per criterion, each with its remedies.

A criterion returns None where the queue passes. All are asked, so that a verdict names everything that is in the way.
What depends on the load says how many jobs there is still room for (ROOMS): a bunch is judged once, not job by job.
"""

from collections.abc import Callable
from typing import TypeAlias

from . import data, slots
from .facts import Failure, Need, Offer, Remedy

AVOIDED = "this work failed there or was sent away"

Criterion: TypeAlias = Callable[[Need, Offer], Failure | None]
Room: TypeAlias = Callable[[Need, Offer], int]


def is_canary(need: Need, offer: Offer) -> bool:
    """It tries the queue out: it runs there whatever the queue's status, health and rules about whom it takes."""
    return offer.canary is not None and offer.canary == need.task


def status(need: Need, offer: Offer) -> Failure | None:
    if offer.status == "online" or is_canary(need, offer):
        return None
    return Failure(
        f"the queue is {offer.status}",
        (
            Remedy(
                "operator",
                f"set {offer.name} online: `prodchain queue online {offer.name}`",
                {"queue": {"status": "online"}},
            ),
        ),
    )


def health(need: Need, offer: Offer) -> Failure | None:
    if offer.health == "good" or is_canary(need, offer):
        return None
    why = f": {offer.health_reason}" if offer.health_reason else ""
    return Failure(
        f"it is {offer.health}{why}",
        (
            Remedy(
                "nobody",
                "nothing to do: it is tried with one job from time to time, and returns when that succeeds",
                {"facts": {"health": "good"}},
            ),
            Remedy(
                "operator",
                f"mend it and say so: `prodchain queue online {offer.name}`",
                {"queue": {"health": "good"}},
            ),
        ),
    )


def sites(need: Need, offer: Offer) -> Failure | None:
    if not need.sites or offer.name in need.sites or offer.site in need.sites:
        return None
    return Failure(
        f"only {', '.join(need.sites)} may be taken",
        (Remedy("user", f"allow {offer.name} too", {"task": {"sites": [*need.sites, offer.name]}}),),
    )


def avoid(need: Need, offer: Offer) -> Failure | None:
    if offer.queue not in need.avoid:
        return None
    return Failure(
        AVOIDED,
        (Remedy("nobody", "nothing to do: it is taken again if no other queue can", {"job": {"avoid": []}}),),
    )


def role(need: Need, offer: Offer) -> Failure | None:
    if not offer.allow:
        return None
    known = {need.activity, f"user:{need.owner}", *([f"group:{need.group}"] if need.group else [])}
    if known & set(offer.allow) or is_canary(need, offer):
        return None
    return Failure(
        f"only {', '.join(offer.allow)} may run there, this is {need.activity} of user:{need.owner}"
        + (f", group:{need.group}" if need.group else ""),
        (
            Remedy(
                "operator",
                f"add user:{need.owner} to what {offer.name} allows in the sites file",
                {"queue": {"allow": [*offer.allow, f"user:{need.owner}"]}},
            ),
        ),
    )


def cap(need: Need, offer: Offer) -> Failure | None:
    if offer.max_jobs is None or offer.executing < offer.max_jobs:
        return None
    by_itself = Remedy(
        "nobody", "nothing to do: jobs go there as others end", {"facts": {"executing": offer.max_jobs - 1}}
    )
    return Failure(
        f"{offer.executing} jobs are with pilots there, {offer.max_jobs} may be",
        (
            *((by_itself,) if offer.max_jobs else ()),
            Remedy(
                "operator",
                f"raise max_jobs of {offer.name} in the sites file",
                {"queue": {"max_jobs": offer.executing + 1}},
            ),
        ),
    )


def backlog_room(need: Need, offer: Offer) -> int:
    return max(0, offer.waiting_limit - offer.waiting)


def backlog(need: Need, offer: Offer) -> Failure | None:
    if offer.waiting < offer.waiting_limit:
        return None
    return Failure(
        f"{offer.waiting} jobs wait there already, the limit is {offer.waiting_limit} for {offer.slots} slots",
        (
            Remedy(
                "nobody",
                "nothing to do: jobs move there as others start; more pilots make it faster",
                {"facts": {"waiting": max(0, offer.waiting_limit - 1)}},
            ),
        ),
    )


CRITERIA: dict[str, Criterion] = {
    "status": status,
    "health": health,
    "sites": sites,
    "role": role,
    "avoid": avoid,
    "cores": slots.cores,
    "memory": slots.memory,
    "walltime": slots.walltime,
    "scratch": slots.scratch,
    "gpus": slots.gpus,
    "architecture": slots.architecture,
    "software": slots.software,
    "pilots": slots.pilots,
    "storage": data.storage,
    "readable": data.readable,
    "space": data.space,
    "link": data.link,
    "cap": cap,
    "backlog": backlog,
    "incoming": data.incoming,
}
ROOMS: dict[str, Room] = {
    "backlog": backlog_room,
    "incoming": data.incoming_room,
    "space": data.space_room,
}
PASSING = frozenset({"backlog", "cap", "incoming"})
"""What passes as work goes on: a queue that fails nothing else is worth waiting for."""
