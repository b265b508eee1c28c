"""One batch of a queue's requests: matched with the known heads and claimed, until nothing is left to decide."""

from collections.abc import Sequence
from operator import itemgetter

import msgspec

from prodchain.pilot_agent.messages import Acquire

from ..database import Connection
from . import statements
from .heads import Heads
from .match import Choice, Lane, Offer, match
from .standing import Current, Queue
from .statements import Seat

MAX_JOBS = 256
"""Jobs that one request may get."""


class Asked(msgspec.Struct, eq=False):
    """A request in a batch: its offer, and what it got."""

    ask: Acquire
    whole: Offer
    offer: Offer
    """What is left of it."""
    fresh: bool = False
    """It may have been answered before."""
    came: bool = False
    """It is new in this batch."""
    jobs: list[int] = []
    specs: list[str] = []
    """As they are stored: JSON."""


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
    batch: Sequence[Asked],
    current: Current,
    heads: Heads,
    *,
    lease_s: float,
    trusted: bool,
) -> None:
    """Jobs for requests, each bunch in a statement of its own.

    Raises UniqueViolationError, or DeadlockDetectedError, if another server answers one of these requests just now.
    """
    # A request with no time left only asks for what it may have got before.
    hungry = [each for each in batch if each.ask.remaining_s > 0]
    silent = [each for each in batch if each.ask.remaining_s <= 0]
    heads.batch()
    while hungry or silent:
        if hungry:
            await heads.refresh(conn, queue, trusted=trusted, wanted=sum(each.offer.jobs for each in hungry))
        standing = current.standing
        choices = match(
            [each.offer for each in hungry],
            heads.lanes,
            standing.turns_kept(heads.lanes.shares()),
            standing.fraction_kept(queue),
            standing.room(queue),
        )
        chosen = [*zip(hungry, choices, strict=True), *((each, Choice()) for each in silent)]
        hungry, silent = await _claim(conn, queue, chosen, current, heads, lease_s), []


async def _claim(
    conn: Connection,
    queue: int,
    chosen: Sequence[tuple[Asked, Choice]],
    current: Current,
    heads: Heads,
    lease_s: float,
) -> list[Asked]:
    """Take what was chosen; returns the requests for which there may be more."""
    seats: list[Seat] = []
    lanes: dict[int, Lane] = {}
    chosen_by = current.standing
    for place, (each, choice) in enumerate(chosen):
        ask, has = each.ask, len(each.jobs)
        for number, (lane, job) in enumerate(zip(choice.lanes, choice.jobs, strict=True), has + 1):
            seats.append(Seat(place, ask.pilot, ask.request, each.fresh, job, number))
            lanes[job] = lane
    given = await statements.give(conn, queue, seats, lease_s) if seats else []
    for place, _, job, spec in sorted(given, key=itemgetter(1)):  # each one's jobs as they were chosen
        each = chosen[place][0]
        each.jobs.append(job)
        each.specs.append(spec)
        lane = lanes.pop(job)
        if each.offer.jobs > 1:
            each.offer = each.offer.less(lane.needs)
        current.give(queue, lane.share, lane.needs.cores)
    for lane in lanes.values():
        chosen_by.undo(queue, lane.share, lane.needs.cores)
    return _unfinished(chosen, lanes, await _again(conn, chosen), heads)


async def _again(conn: Connection, chosen: Sequence[tuple[Asked, Choice]]) -> set[int]:
    """Requests that may have been answered before, and got nothing now, have what they had; the places of such."""
    lost = [
        (place, each.ask.pilot, each.ask.request)
        for place, (each, _) in enumerate(chosen)
        if each.fresh and not each.jobs
    ]
    had = await statements.had(conn, lost) if lost else []
    for place, job, spec in had:
        chosen[place][0].jobs.append(job)
        chosen[place][0].specs.append(spec)
    return {row["place"] for row in had}


def _unfinished(
    chosen: Sequence[tuple[Asked, Choice]], missed: dict[int, Lane], had: set[int], heads: Heads
) -> list[Asked]:
    """``missed``: the jobs that were chosen and not taken; ``had``: who had its jobs before."""
    hungry = []
    for place, (each, choice) in enumerate(chosen):
        each.fresh = False
        heads.gave(choice.lanes)
        short = [job for job in choice.jobs if job in missed] if missed else []
        for job in short:
            if place in had:
                heads.kept(missed[job])
            else:
                heads.missed(missed[job], job)
        if place not in had and (short or choice.unsure):
            hungry.append(each)
    return hungry
