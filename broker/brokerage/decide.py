"""Which queue for which job, and why: a pure function of the facts.

A bunch is judged once; then each queue's room is known, and its weight falls with each job it gets. So a job costs a
step in a heap, however many criteria there are, and the same facts always give the same answer.
"""

from collections.abc import Mapping, Sequence
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


def _weight_if_any(need: Need, offer: Offer, rules: Rules) -> float | None:
    """None at the first criterion that it fails."""
    for criterion in rules.criteria.values():
        if criterion(need, offer) is not None:
            return None
    return _weight(need, offer, rules)[0]


def decide(need: Need, offers: Sequence[Offer], rules: Rules = RULES) -> tuple[list[Decision], list[Offer]]:
    """Spread a bunch over the queues, each job to the heaviest; returns the offers with the load added.

    Decisions for queues carry the verdicts as they were before the first job was given away; the one for jobs that
    nothing is left for, as they were after the last.
    """
    allowed = len(need.jobs) if need.room is None else min(len(need.jobs), max(0, need.room))
    before = tuple(offers)
    verdicts = Verdicts(lambda: _judged(need, before, rules))
    weights = [_weight_if_any(need, offer, rules) for offer in before]
    alone = weights.count(None) == len(weights)
    if alone:  # a queue may be forgiven
        weights = [verdict.weight if verdict.passed else None for verdict in verdicts]
    taken = _spread(need, before, weights, allowed)
    passed = len(weights) - weights.count(None)
    decisions = []
    start = 0
    at = {offer.queue: number for number, offer in enumerate(before)}
    for queue, jobs in taken.items():
        offer = before[at[queue]]
        verdict = verdicts[at[queue]] if alone else _praise(need, offer, rules)
        reason = _chosen(offer, verdict, jobs, len(need.jobs), passed)
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


def _spread(need: Need, offers: Sequence[Offer], weights: Sequence[float | None], jobs: int) -> dict[int, int]:
    """How many jobs each queue gets, in the order of the first: each job goes to the heaviest with room left."""
    heap = [
        (-weight, offer.queue, offer) for offer, weight in zip(offers, weights, strict=True) if weight is not None
    ]
    heapify(heap)
    taken: dict[int, int] = {}
    rooms: dict[int, int] = {}
    static: dict[int, float] = {}
    for _ in range(jobs):
        if not heap:
            break
        weight, queue, offer = heap[0]
        taken[queue] = more = taken.get(queue, 0) + 1
        if more == 1:  # of many queues few get any of a small bunch: the others are not asked for their room
            rooms[queue] = min([room(need, offer) for room in ROOMS.values()])
            static[queue] = weight / busy(offer)
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
