"""Which queue for which job, and why: a pure function of the facts."""

from collections.abc import Sequence
from dataclasses import replace

from .criteria import CRITERIA
from .facts import Decision, Need, Offer, Verdict
from .weights import weight


def judge(need: Need, offer: Offer) -> Verdict:
    """The first criterion that the queue fails, or its weight."""
    missing = need.missing_bytes.get(offer.storage, 0)
    for name, criterion in CRITERIA.items():
        failure = criterion(need, offer)
        if failure is not None:
            reason, remedy = failure
            return Verdict(offer.queue, False, name, reason, remedy, missing_bytes=missing)
    value = weight(need, offer)
    busy = f"{offer.waiting} waiting and {offer.executing} executing for {offer.slots} slots"
    data = f"{missing} bytes to move" if missing else "all inputs in place"
    quiet = "" if offer.pilots_seen else ", no pilot seen lately"
    return Verdict(offer.queue, True, "weight", f"{busy}, {data}{quiet}", weight=value, missing_bytes=missing)


def decide(need: Need, offers: Sequence[Offer]) -> tuple[list[Decision], list[Offer]]:
    """Spread a bunch of like jobs over the queues, the heaviest first; returns the offers with the load added.

    Each decision carries the verdicts as they were when its first job was given away.
    """
    taken: dict[int | None, list[int]] = {}
    seen: dict[int | None, tuple[Verdict, ...]] = {}
    state = {offer.queue: offer for offer in offers}
    verdicts = {offer.queue: judge(need, offer) for offer in offers}
    for job in need.jobs:
        best = max(
            (verdict for verdict in verdicts.values() if verdict.passed),
            key=lambda verdict: (verdict.weight, -verdict.queue),
            default=None,
        )
        queue = best.queue if best else None
        taken.setdefault(queue, []).append(job)
        seen.setdefault(queue, tuple(verdicts.values()))
        if queue is not None:
            state[queue] = replace(state[queue], waiting=state[queue].waiting + 1)
            verdicts[queue] = judge(need, state[queue])
    names = {offer.queue: offer.name for offer in offers}
    decisions = [
        Decision(tuple(jobs), queue, _reason(queue, seen[queue], names), seen[queue]) for queue, jobs in taken.items()
    ]
    return decisions, list(state.values())


def _reason(queue: int | None, verdicts: Sequence[Verdict], names: dict[int, str]) -> str:
    if queue is None:
        if not verdicts:
            return "no queue is configured"
        return "no queue can take it: " + "; ".join(f"{names[v.queue]}: {v.reason}" for v in verdicts)
    chosen = next(v for v in verdicts if v.queue == queue)
    others = sum(v.passed for v in verdicts) - 1
    best = f"best weight {chosen.weight:.3f} of {others + 1}" if others else "the only queue that can take it"
    return f"{names[queue]}: {best} ({chosen.reason})"
