"""One batch of a queue's requests: heads are read, matched and claimed, in rounds until nothing is left to decide."""

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import TypeAlias

from prodchain.pilot_agent.messages import Acquire, JobSpec, decode

from ..database import Connection
from . import statements
from .match import Choice, Lane, Offer, match
from .statements import Queue, Seat, Standing

MAX_JOBS = 256
"""Jobs that one request may get."""
ROWS = 4096
"""Heads that one reading may bring, over all lanes."""
Key: TypeAlias = tuple[str, str]
"""Pilot and request."""


@dataclass
class Served:
    """What a batch got, and the lanes as they were last seen; ``spent``: nothing was left in them."""

    specs: dict[Key, list[JobSpec]]
    lanes: list[Lane]
    spent: bool


@dataclass
class _Asked:
    ask: Acquire
    offer: Offer
    """What is left of it."""
    specs: list[JobSpec] = field(default_factory=list)


def offer_of(ask: Acquire, queue: Queue) -> Offer:
    """What the pilot offers; what it does not say is as the queue's slots are said to be."""
    return Offer(
        ask.cores,
        ask.memory_mb,
        ask.remaining_s,
        queue.scratch_mb if ask.disk_mb is None else ask.disk_mb,
        queue.gpus if ask.gpus is None else ask.gpus,
        ask.architecture or queue.architecture,
        (*queue.software, *ask.software),
        min(max(ask.jobs, 1), MAX_JOBS),
    )


async def serve(
    conn: Connection,
    queue: int,
    asks: Sequence[Acquire],
    fresh: Set[Key],
    standing: Standing,
    *,
    lease_s: float,
    lanes: int,
) -> Served:
    """Jobs for requests, in one transaction of the caller; ``fresh`` ones may have been answered before.

    ``lanes``: about how many the queue has.

    Raises UniqueViolationError if another server answers one of these requests at this moment.
    """
    facts = standing.queues[queue]
    asked = {(ask.pilot, ask.request): _Asked(ask, offer_of(ask, facts)) for ask in asks}
    for row in await conn.fetch(statements.AGAIN, [key[0] for key in fresh], [key[1] for key in fresh]):
        asked[row["pilot"], row["request"]].specs.append(decode(JobSpec, row["spec"]))
    # A request with no time left only asks for what it may have got before.
    hungry = [each for each in asked.values() if not each.specs and each.ask.remaining_s > 0]
    served = Served({}, [], spent=False)
    shut: set[tuple[int, int]] = set()
    while hungry:
        served.lanes = await _lanes(conn, queue, hungry, shut, len(served.lanes) or lanes)
        choices = match(
            [each.offer for each in hungry],
            served.lanes,
            standing.turns(served.lanes),
            standing.fraction(queue),
            standing.room(queue),
        )
        short = await _claim(conn, queue, list(zip(hungry, choices, strict=True)), standing, lease_s)
        given = sum(len(choice.lanes) for choice in choices)
        known = sum(len(lane.heads) for lane in served.lanes)
        served.spent = given >= known and not any(lane.more for lane in served.lanes)
        shut |= short
        hungry = [
            each
            for each, choice in zip(hungry, choices, strict=True)
            if choice.unsure or any((lane.share, lane.requirement) in short for lane in choice.lanes)
        ]
    served.specs = {key: each.specs for key, each in asked.items()}
    await _note(conn, queue, [each for key, each in asked.items() if key in fresh or each.specs], facts)
    return served


async def _lanes(
    conn: Connection, queue: int, hungry: Sequence[_Asked], shut: Set[tuple[int, int]], before: int
) -> list[Lane]:
    """The lanes, without those whose last jobs another server takes at this moment."""
    wanted = sum(each.offer.jobs for each in hungry)
    depth = max(1, min(wanted, ROWS // max(before, 16)))
    return [lane for lane in await statements.heads(conn, queue, depth) if (lane.share, lane.requirement) not in shut]


async def _claim(
    conn: Connection, queue: int, chosen: Sequence[tuple[_Asked, Choice]], standing: Standing, lease_s: float
) -> set[tuple[int, int]]:
    """Take what was chosen; returns the lanes that had less."""
    seats = [
        Seat(each.ask.pilot, each.ask.request, len(each.specs), lane)
        for each, choice in chosen
        for lane in choice.lanes
    ]
    if not seats:
        return set()
    lanes = {(seat.lane.share, seat.lane.requirement): seat.lane for seat in seats}
    left = Counter((seat.lane.share, seat.lane.requirement) for seat in seats)
    by_key = {(each.ask.pilot, each.ask.request): each for each, _ in chosen}
    for row in await statements.claim(conn, queue, seats, lease_s):
        each, lane = by_key[row["pilot"], row["request"]], lanes[row["share_id"], row["requirement_id"]]
        each.specs.append(decode(JobSpec, row["spec"]))
        each.offer = each.offer.less(lane.needs)
        standing.give(queue, lane.share, lane.needs.cores)
        left[lane.share, lane.requirement] -= 1
    return {lane for lane, jobs in left.items() if jobs}


async def _note(conn: Connection, queue: int, asked: Sequence[_Asked], facts: Queue) -> None:
    pilots = {
        each.ask.pilot: (each.ask.host, offer_of(each.ask, facts), [spec.job for spec in each.specs])
        for each in asked
    }
    if pilots:
        await statements.seen(conn, queue, pilots)
