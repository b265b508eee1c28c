"""Which queue for which job, and why: a pure function of the facts.

Criteria are asked once for a bunch; then a queue's weight falls with each job it gets, as far as its room goes. So a
job costs a step in a heap, however many criteria there are, and the same facts always give the same answer. A verdict
on each queue, with all criteria and in words, follows when somebody reads it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heapreplace

from .criteria import AVOIDED, CRITERIA, PASSING, ROOMS, Criterion
from .facts import Decision, Files, Need, Offer, Verdict, Verdicts
from .weights import WEIGHTS, Weight, busy, moving_s


@dataclass(frozen=True)
class Rules:
    """Criteria and weights by name: those that are built in, and those of plugins (plugins.installed)."""

    criteria: Mapping[str, Criterion] = field(default_factory=lambda: CRITERIA)
    weights: Mapping[str, Weight] = field(default_factory=lambda: WEIGHTS)


RULES = Rules()
ROUNDED = 1.00001
"""So much more a weight may be when it is rounded."""


def judge(need: Need, offer: Offer, rules: Rules = RULES) -> Verdict:
    """All criteria that the queue fails, or its weight."""
    failures = [
        failure._replace(criterion=name)
        for name, criterion in rules.criteria.items()
        if (failure := criterion(need, offer)) is not None
    ]
    if failures:
        seconds = round(moving_s(need, offer), 1)
        return Verdict(offer.queue, tuple(failures), "", 0.0, need.job_bytes(offer.storage), seconds)
    return _praise(need, offer, rules)


def _praise(need: Need, offer: Offer, rules: Rules) -> Verdict:
    """Of a queue that fails nothing."""
    weight, said = _weight(need, offer, rules)
    words = [f"{offer.waiting} waiting and {offer.executing} executing for {offer.slots} slots", *said]
    if not offer.pilots:
        words.append("no pilot seen lately" if offer.pilots_ever else "no pilot has called yet")
    seconds = round(moving_s(need, offer), 1)
    return Verdict(offer.queue, (), ", ".join(words), weight, need.job_bytes(offer.storage), seconds)


def _weight(need: Need, offer: Offer, rules: Rules) -> tuple[float, list[str]]:
    value, words = busy(offer), []
    for weight in rules.weights.values():
        factor, said = weight(need, offer)
        value *= factor
        if said:
            words.append(said)
    return float(f"{value:.6g}"), words


def _passes(need: Need, offer: Offer, rules: Rules) -> bool:
    for criterion in rules.criteria.values():  # noqa: SIM110 - a third faster than a generator
        if criterion(need, offer) is not None:
            return False
    return True


def decide(need: Need, offers: Sequence[Offer], rules: Rules = RULES) -> tuple[list[Decision], list[Offer]]:
    """Spread a bunch over the queues, each job to the heaviest; returns the offers with the load added.

    Decisions for queues carry the verdicts as they were before the first job was given away; the one for jobs that
    nothing is left for, as they were after the last.
    """
    allowed = len(need.jobs) if need.room is None else min(len(need.jobs), max(0, need.room))
    before = tuple(offers)
    verdicts = Verdicts(lambda: _judged(need, before, rules))
    passing = {offer.queue: offer for offer in before if _passes(need, offer, rules)}
    forgiven: dict[int, Verdict] = {}
    if not passing:
        forgiven = {verdict.queue: verdict for verdict in verdicts if verdict.passed}
        passing = {offer.queue: offer for offer in before if offer.queue in forgiven}
    taken = _spread(need, passing.values(), forgiven, allowed, rules)
    decisions = []
    start = 0
    for queue, jobs in taken.items():
        verdict = forgiven.get(queue) or _praise(need, passing[queue], rules)
        reason = _chosen(passing[queue], verdict, jobs, len(need.jobs), len(passing))
        decisions.append(Decision(need.jobs[start : start + jobs], queue, reason, verdicts))
        start += jobs
    after = [offer.loaded(need, taken[offer.queue]) if offer.queue in taken else offer for offer in before]
    if start < len(need.jobs):
        left, now = _left(need, start), tuple(after)
        if start:
            verdicts = Verdicts(lambda: _judged(left, now, rules))
        decisions.append(Decision(left.jobs, None, _refused(left, after, verdicts, start == allowed), verdicts))
    return decisions, after


def _judged(need: Need, offers: Sequence[Offer], rules: Rules) -> list[Verdict]:
    return _forgiven(need, offers, [judge(need, offer, rules) for offer in offers], rules)


def _left(need: Need, start: int) -> Need:
    """The jobs from there on, as if each had its share of the inputs."""
    jobs = need.jobs[start:]
    part = [
        Files(each.at, -(-each.files * len(jobs) // len(need.jobs)), -(-each.bytes * len(jobs) // len(need.jobs)))
        for each in need.inputs
    ]
    return replace(need, jobs=jobs, inputs=tuple(part))


def _forgiven(need: Need, offers: Sequence[Offer], verdicts: list[Verdict], rules: Rules) -> list[Verdict]:
    """Queues where the work failed before are taken again when there is no other, now or as work goes on."""
    if not need.avoid:
        return verdicts
    avoided = [{failure.criterion for failure in verdict.failures} == {"avoid"} for verdict in verdicts]
    others = any({failure.criterion for failure in verdict.failures} <= PASSING for verdict in verdicts)
    if others or not any(avoided):
        return verdicts
    again = replace(need, avoid=())
    return [
        _taken_again(judge(again, offer, rules)) if forgive else verdict
        for offer, verdict, forgive in zip(offers, verdicts, avoided, strict=True)
    ]


def _taken_again(verdict: Verdict) -> Verdict:
    return verdict._replace(words=f"{verdict.words}, {AVOIDED}, but no other queue can take it")


def _spread(
    need: Need, offers: Iterable[Offer], known: Mapping[int, Verdict], jobs: int, rules: Rules
) -> dict[int, int]:
    """How many jobs each queue gets, in the order of the first: each job goes to the heaviest with room left.

    Weights only make less of how free a queue is: of many queues few come to the top, and the others are not weighed.
    """
    heap = [(-busy(offer) * ROUNDED, offer.queue, offer) for offer in offers]
    heapify(heap)
    taken: dict[int, int] = {}
    rooms: dict[int, int] = {}
    static: dict[int, float] = {}
    while jobs and heap:
        weight, queue, offer = heap[0]
        if queue not in static:
            weight = known[queue].weight if queue in known else _weight(need, offer, rules)[0]
            static[queue] = -weight / busy(offer)
            rooms[queue] = min(room(need, offer) for room in ROOMS.values())
            heapreplace(heap, (-weight, queue, offer))
            continue
        taken[queue] = more = taken.get(queue, 0) + 1
        jobs -= 1
        if more < rooms[queue]:
            heapreplace(heap, (static[queue] * busy(offer, more), queue, offer))
        else:
            heappop(heap)
    return taken


def _chosen(offer: Offer, verdict: Verdict, jobs: int, of: int, passed: int) -> str:
    best = (
        f"weight {verdict.weight:.3g}, {passed} queues can take it"
        if passed > 1
        else "the only queue that can take it"
    )
    part = "" if jobs == of else f", {jobs} of {of} jobs"
    return f"{offer.name}: {best}{part} ({verdict.words})"


def _refused(need: Need, offers: Sequence[Offer], verdicts: Sequence[Verdict], over_quota: bool) -> str:
    names = {offer.queue: offer.name for offer in offers}
    if over_quota:
        account = f"group:{need.group}" if need.group else f"user:{need.owner}"
        return f"the quota of {account} is used up: more is placed as its jobs end"
    if not verdicts:
        return "no queue is configured"
    return "no queue can take it: " + "; ".join(f"{names[v.queue]}: {v.reason}" for v in verdicts)
