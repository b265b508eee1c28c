"""A decision explains itself: one verdict for each queue, the reason for the choice, a remedy for each refusal."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodchain.broker.brokerage.criteria import CRITERIA
from prodchain.broker.brokerage.decide import decide, judge
from prodchain.broker.brokerage.facts import Need, Offer

NEED = Need(jobs=(1,), cores=1, memory_mb=1000, walltime_s=3600)
OFFER = Offer(
    queue=1,
    name="A",
    storage=1,
    storage_writable=True,
    status="online",
    slots=2,
    cores=1,
    memory_mb=2000,
    walltime_s=7200,
    pilots_seen=1,
)


@pytest.mark.parametrize(
    ("criterion", "need", "offer", "reason"),
    [
        ("status", NEED, replace(OFFER, status="drain"), "the queue is drain"),
        ("storage", NEED, replace(OFFER, storage_writable=False), "its storage takes no new files"),
        ("cores", replace(NEED, cores=2), OFFER, "offers 1 cores, the job needs 2"),
        ("memory", replace(NEED, memory_mb=2001), OFFER, "offers 2000 MB, the job needs 2001 MB"),
        ("walltime", replace(NEED, walltime_s=7201), OFFER, "runs jobs of at most 7200 s, the job needs 7201 s"),
        ("backlog", NEED, replace(OFFER, waiting=20), "20 jobs wait there already, the limit is 20 for 2 slots"),
    ],
)
def test_a_criterion_refuses_with_its_sentence_and_a_remedy(
    criterion: str, need: Need, offer: Offer, reason: str
) -> None:
    verdict = judge(need, offer)
    assert (verdict.passed, verdict.criterion, verdict.reason) == (False, criterion, reason)
    assert verdict.remedy


def test_every_criterion_passes_at_its_boundary() -> None:
    need = replace(NEED, memory_mb=2000, walltime_s=7200)
    assert all(criterion(need, replace(OFFER, waiting=19)) is None for criterion in CRITERIA.values())


def test_of_two_idle_queues_the_one_with_the_data_is_taken() -> None:
    need = replace(NEED, missing_bytes={1: 50_000_000, 2: 0})
    (decision,), _ = decide(need, [OFFER, replace(OFFER, queue=2, name="B", storage=2)])
    assert decision.queue == 2
    assert decision.reason.startswith("B: best weight")


def test_a_bunch_is_spread_over_idle_queues() -> None:
    need = replace(NEED, jobs=(1, 2, 3, 4), missing_bytes={1: 0, 2: 1_000_000})
    decisions, _ = decide(need, [OFFER, replace(OFFER, queue=2, name="B", storage=2)])
    assert {decision.queue: len(decision.jobs) for decision in decisions} == {1: 2, 2: 2}


def test_without_any_queue_the_decision_says_so() -> None:
    (decision,), _ = decide(NEED, [])
    assert (decision.queue, decision.reason) == (None, "no queue is configured")


@given(
    jobs=st.integers(1, 40),
    offers=st.lists(st.tuples(st.integers(1, 4), st.integers(0, 25), st.booleans()), max_size=5),
)
def test_every_job_is_decided_once_with_a_verdict_for_each_queue(
    jobs: int, offers: list[tuple[int, int, bool]]
) -> None:
    queues = [
        replace(OFFER, queue=i, name=f"Q{i}", slots=slots, waiting=waiting, status="online" if online else "offline")
        for i, (slots, waiting, online) in enumerate(offers)
    ]
    need = replace(NEED, jobs=tuple(range(jobs)))
    decisions, after = decide(need, queues)
    assert sorted(job for decision in decisions for job in decision.jobs) == list(range(jobs))
    for decision in decisions:
        assert {verdict.queue for verdict in decision.verdicts} == {offer.queue for offer in queues}
    given_away = sum(len(decision.jobs) for decision in decisions if decision.queue is not None)
    assert sum(offer.waiting for offer in after) == sum(offer.waiting for offer in queues) + given_away
