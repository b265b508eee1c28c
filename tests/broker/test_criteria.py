"""Each criterion: what it says where a queue fails it, that it passes at the boundary, and that its remedies help."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prodchain.broker.brokerage.criteria import CRITERIA
from prodchain.broker.brokerage.decide import decide, judge
from prodchain.broker.brokerage.facts import Files, Link, Need, Network, Offer, Remedy, Slot, Store

GB = 10**9
STORES = {1: Store("A-DISK"), 2: Store("B-DISK"), 3: Store("T-TAPE", tape=True), 4: Store("D-DISK", readable=False)}
NEED = Need(jobs=(1,), owner="ann")
OFFER = Offer(queue=1, name="A", storage=1, storage_name="A-DISK", site="SITE", pilots=1, pilots_ever=True,
              network=Network(STORES))  # fmt: skip


def inputs(*at: int, bytes: int = GB, files: int = 2) -> Need:  # noqa: A002
    return replace(NEED, inputs=(Files(at, files, bytes),))


def linked(link: Link, source: int = 2) -> Offer:
    return replace(OFFER, network=Network(STORES, {(source, 1): link}))


FAILING = Link(None, 0, 3)
# Criterion, a need and an offer that fail it with the sentence, and a need and an offer that just pass.
CASES: dict[str, list[tuple[Need, Offer, str, Need, Offer]]] = {
    "status": [(NEED, replace(OFFER, status="drain"), "the queue is drain", NEED, OFFER)],
    "health": [
        (
            NEED,
            replace(OFFER, health="drained", health_reason="9 of its last 10 jobs failed", canary=7),
            "it is drained: 9 of its last 10 jobs failed",
            replace(NEED, task=7),
            replace(OFFER, health="drained", canary=7),
        ),
        (NEED, replace(OFFER, health="probing"), "it is probing", NEED, OFFER),
    ],
    "sites": [
        (replace(NEED, sites=("B", "C")), OFFER, "only B, C may be taken", replace(NEED, sites=("SITE",)), OFFER),
        (replace(NEED, sites=("B",)), OFFER, "only B may be taken", replace(NEED, sites=("A",)), OFFER),
    ],
    "avoid": [
        (
            replace(NEED, avoid=(1,)),
            OFFER,
            "this work failed there or was sent away",
            replace(NEED, avoid=(2,)),
            OFFER,
        )
    ],
    "role": [
        (
            NEED,
            replace(OFFER, allow=("group:higgs", "analysis")),
            "only group:higgs, analysis may run there, this is production of user:ann",
            replace(NEED, group="higgs"),
            replace(OFFER, allow=("group:higgs",)),
        ),
        (
            replace(NEED, group="top"),
            replace(OFFER, allow=("user:bob",)),
            "only user:bob may run there, this is production of user:ann, group:top",
            NEED,
            replace(OFFER, allow=("user:ann",)),
        ),
    ],
    "cores": [
        (
            replace(NEED, cores=9),
            replace(OFFER, cores=8),
            "offers 8 cores, the job needs 9 cores",
            replace(NEED, cores=8),
            replace(OFFER, cores=8),
        )
    ],
    "memory": [
        (
            replace(NEED, memory_mb=2001),
            OFFER,
            "offers 2000 MB, the job needs 2001 MB",
            replace(NEED, memory_mb=2000),
            OFFER,
        )
    ],
    "walltime": [
        (
            replace(NEED, walltime_s=86401),
            OFFER,
            "offers 86400 s, the job needs 86401 s",
            replace(NEED, walltime_s=86400),
            OFFER,
        )
    ],
    "scratch": [
        (
            replace(NEED, scratch_mb=20_001),
            OFFER,
            "offers 20000 MB of scratch, the job needs 20001 MB of scratch",
            replace(NEED, scratch_mb=20_000),
            OFFER,
        )
    ],
    "gpus": [
        (
            replace(NEED, gpus=1),
            OFFER,
            "offers 0 GPUs, the job needs 1 GPUs",
            replace(NEED, gpus=1),
            replace(OFFER, gpus=1),
        )
    ],
    "architecture": [
        (
            replace(NEED, architecture="aarch64"),
            OFFER,
            "is x86_64, the job needs aarch64",
            replace(NEED, architecture="x86_64"),
            OFFER,
        )
    ],
    "software": [
        (
            replace(NEED, software=("Athena/24.0.1", "apptainer")),
            replace(OFFER, software=("Athena/23.*", "apptainer")),
            "has no Athena/24.0.1",
            replace(NEED, software=("Athena/24.0.1",)),
            replace(OFFER, software=("Athena/24.*",)),
        )
    ],
    "pilots": [
        (
            replace(NEED, memory_mb=1500),
            replace(OFFER, best=Slot(memory_mb=1499)),
            "no pilot there offers more than 1499 MB (the job needs 1500)",
            replace(NEED, memory_mb=1500),
            replace(OFFER, best=Slot(1, 1500, 0, 0)),
        ),
        (
            NEED,
            replace(OFFER, best=Slot(cores=0)),
            "no pilot there offers more than 0 cores (the job needs 1)",
            NEED,
            replace(OFFER, pilots=0, best=Slot(cores=0)),
        ),
    ],
    "storage": [(NEED, replace(OFFER, writable=False), "its storage A-DISK takes no new files", NEED, OFFER)],
    "readable": [(NEED, replace(OFFER, readable=False), "its storage A-DISK cannot be read", NEED, OFFER)],
    "space": [
        (
            NEED,
            replace(OFFER, free_bytes=0),
            "its storage A-DISK has 0 B free beside what is on its way",
            NEED,
            replace(OFFER, free_bytes=1),
        ),
        (
            inputs(2),
            replace(OFFER, free_bytes=GB - 1),
            "its storage A-DISK has 1.0 GB free beside what is on its way, the job brings 1.0 GB",
            inputs(2),
            replace(OFFER, free_bytes=GB),
        ),
    ],
    "link": [
        (
            inputs(2),
            linked(FAILING),
            "2 input files cannot come to A-DISK: nothing arrives from B-DISK",
            inputs(2),
            linked(Link(None, 0, 2)),
        ),
        (
            inputs(2, 4, files=1),
            linked(FAILING),
            "1 input file cannot come to A-DISK: nothing arrives from B-DISK, D-DISK cannot be read",
            inputs(2, 3),
            linked(FAILING),
        ),
        (
            inputs(4),
            OFFER,
            "2 input files cannot come to A-DISK: D-DISK cannot be read",
            inputs(1, 4),
            OFFER,
        ),
        (
            inputs(2),
            linked(FAILING),
            "2 input files cannot come to A-DISK: nothing arrives from B-DISK",
            inputs(2),
            linked(Link(1e6, 1, 30)),
        ),
    ],
    "cap": [
        (
            NEED,
            replace(OFFER, max_jobs=5, executing=5),
            "5 jobs are with pilots there, 5 may be",
            NEED,
            replace(OFFER, max_jobs=5, executing=4),
        )
    ],
    "backlog": [
        (
            NEED,
            replace(OFFER, assigned=12, activated=8, slots=2),
            "20 jobs wait there already, the limit is 20 for 2 slots",
            NEED,
            replace(OFFER, assigned=12, activated=7, slots=2),
        )
    ],
    "incoming": [
        (
            inputs(2),
            replace(OFFER, incoming_bytes=5 * GB, incoming_limit=5 * GB),
            "5.0 GB are on their way to A-DISK already, the limit is 5.0 GB",
            inputs(2),
            replace(OFFER, incoming_bytes=5 * GB - 1, incoming_limit=5 * GB),
        ),
        (
            inputs(2),
            replace(OFFER, incoming_bytes=6 * GB, incoming_limit=5 * GB),
            "6.0 GB are on their way to A-DISK already, the limit is 5.0 GB",
            inputs(1),
            replace(OFFER, incoming_bytes=6 * GB, incoming_limit=5 * GB),
        ),
    ],
}


@pytest.mark.parametrize(
    ("criterion", "need", "offer", "sentence"),
    [(name, *case[:3]) for name, cases in CASES.items() for case in cases],
)
def test_a_queue_that_fails_is_told_so_in_this_sentence(
    criterion: str, need: Need, offer: Offer, sentence: str
) -> None:
    verdict = judge(need, offer)
    assert [(failure.criterion, failure.reason) for failure in verdict.failures] == [(criterion, sentence)]


@pytest.mark.parametrize(
    ("criterion", "need", "offer"), [(name, *case[3:]) for name, cases in CASES.items() for case in cases]
)
def test_a_queue_that_has_just_enough_passes(criterion: str, need: Need, offer: Offer) -> None:
    assert CRITERIA[criterion](need, offer) is None


def test_every_criterion_has_its_cases() -> None:
    assert set(CASES) == set(CRITERIA)


def test_a_verdict_holds_all_that_is_in_the_way_and_sums_it_up() -> None:
    verdict = judge(replace(NEED, memory_mb=4000, cores=4), replace(OFFER, status="offline"))
    assert [failure.criterion for failure in verdict.failures] == ["status", "cores", "memory"]
    assert verdict.criterion == "status"
    assert verdict.reason.startswith("the queue is offline; offers 1 cores")
    assert verdict.remedy == (
        "set A online: `prodchain queue online A`; and ask for at most 1 cores; and ask for at most 2000 MB"
    )


@pytest.mark.parametrize(
    ("offer", "who"),
    [
        (replace(OFFER, max_jobs=0), ["operator"]),
        (replace(OFFER, max_jobs=1, executing=1), ["nobody", "operator"]),
    ],
)
def test_a_closed_queue_does_not_open_by_itself(offer: Offer, who: list[str]) -> None:
    (failure,) = judge(NEED, offer).failures
    assert [remedy.who for remedy in failure.remedies] == who


def done(remedy: Remedy, need: Need, offer: Offer) -> tuple[Need, Offer]:
    """The facts after somebody did what the remedy says, or after it happened."""
    for what, change in remedy.change.items():
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in change.items()
        }
        if what in ("task", "job"):
            need = replace(need, **values)
        elif what == "links":
            stores = {at: replace(store, readable=True) for at, store in offer.network.stores.items()}
            offer = replace(offer, network=Network(stores, {}))
        elif what == "pilots":
            offer = replace(offer, best=replace(offer.best, **values))
        elif "waiting" in values:
            offer = replace(offer, assigned=values["waiting"], activated=0)
        else:
            assert set(values) <= {each.name for each in fields(Offer)}
            offer = replace(offer, **values)
    return need, offer


small = st.integers(0, 3)
needs = st.builds(
    Need,
    jobs=st.integers(1, 12).map(lambda jobs: tuple(range(1, jobs + 1))),
    cores=st.integers(1, 3),
    memory_mb=st.integers(1, 3),
    walltime_s=st.integers(1, 3),
    scratch_mb=small,
    gpus=small,
    architecture=st.sampled_from(["", "x86_64", "aarch64"]),
    software=st.sets(st.sampled_from("abc")).map(lambda items: tuple(sorted(items))),
    inputs=st.lists(
        st.builds(
            Files, st.sets(st.integers(1, 4)).map(lambda at: tuple(sorted(at))), st.integers(1, 5), st.integers(0, 50)
        ),
        max_size=3,
    ).map(tuple),
    task=st.integers(1, 2),
    owner=st.sampled_from(["ann", "bob"]),
    group=st.sampled_from(["", "higgs"]),
    activity=st.sampled_from(["production", "analysis"]),
    sites=st.sets(st.sampled_from(["Q1", "Q2", "S"])).map(lambda names: tuple(sorted(names))),
    avoid=st.sets(small).map(lambda queues: tuple(sorted(queues))),
)
links = st.dictionaries(
    st.tuples(st.integers(1, 4), st.integers(1, 3)),
    st.builds(Link, st.none() | st.integers(1, 100), small, st.integers(0, 5)),
    max_size=4,
)
slot = st.builds(Slot, *(st.none() | small for _ in fields(Slot)))


def queue(number: int) -> st.SearchStrategy[Offer]:
    return st.builds(
        Offer,
        queue=st.just(number),
        name=st.just(f"Q{number}"),
        storage=st.integers(1, 3),
        site=st.sampled_from(["S", "T"]),
        status=st.sampled_from(["online", "online", "drain"]),
        health=st.sampled_from(["good", "good", "drained"]),
        canary=st.none() | st.integers(1, 2),
        slots=small,
        cores=st.integers(1, 3),
        memory_mb=st.integers(1, 3),
        walltime_s=st.integers(1, 3),
        scratch_mb=small,
        gpus=small,
        software=st.sets(st.sampled_from("abc")).map(lambda items: tuple(sorted(items))),
        allow=st.sets(st.sampled_from(["user:ann", "group:higgs", "analysis"])).map(lambda who: tuple(sorted(who))),
        max_jobs=st.none() | small,
        assigned=small,
        activated=small,
        executing=small,
        waiting_limit=st.integers(1, 8),
        pilots=st.integers(0, 1),
        best=slot,
        writable=st.booleans(),
        readable=st.booleans(),
        free_bytes=st.none() | st.integers(0, 30),
        incoming_bytes=st.integers(0, 30),
        incoming_limit=st.integers(1, 30),
        finished=small,
        failed=small,
    )


farms = st.tuples(st.integers(0, 3), links).flatmap(
    lambda drawn: st.tuples(*(queue(n) for n in range(1, drawn[0] + 1))).map(
        lambda found: [replace(offer, network=Network(STORES, drawn[1])) for offer in found]
    )
)


@settings(deadline=None)
@given(need=needs, offers=farms)
def test_every_refusal_has_remedies_and_each_removes_what_it_is_for(need: Need, offers: list[Offer]) -> None:
    decisions, after = decide(need, offers)
    now = {offer.queue: offer for offer in after}
    for decision in decisions:
        if decision.queue is None:
            assert len(decision.verdicts) == len(offers)
            for verdict in decision.verdicts:
                assert verdict.failures
                for failure in verdict.failures:
                    assert failure.remedies
                    for remedy in failure.remedies:
                        changed = done(remedy, replace(need, jobs=decision.jobs), now[verdict.queue])
                        assert CRITERIA[failure.criterion](*changed) is None, remedy


@settings(deadline=None)
@given(need=needs, offers=farms)
def test_what_is_chosen_passes_all_criteria_and_every_job_is_decided_once(need: Need, offers: list[Offer]) -> None:
    decisions, after = decide(need, offers)
    assert sorted(job for decision in decisions for job in decision.jobs) == sorted(need.jobs)
    before = {offer.queue: offer for offer in offers}
    others = {offer.queue for offer in offers} - {decision.queue for decision in decisions}
    for decision in decisions:
        if decision.queue is not None:
            offer = before[decision.queue]
            free = replace(need, avoid=()) if decision.queue in need.avoid else need
            assert judge(free, offer).passed
            assert len(decision.jobs) <= max(0, offer.waiting_limit - offer.waiting)
    if len(decisions) == 1 and decisions[0].queue is not None and len(need.jobs) == 1:
        chosen = judge(replace(need, avoid=()), before[decisions[0].queue])
        assert all(judge(need, before[other]).weight <= chosen.weight for other in others)
    given_away = sum(len(decision.jobs) for decision in decisions if decision.queue is not None)
    assert sum(offer.waiting for offer in after) == sum(offer.waiting for offer in offers) + given_away


@settings(deadline=None)
@given(need=needs, offers=farms)
def test_the_same_facts_give_the_same_answer_in_any_order_of_queues(need: Need, offers: list[Offer]) -> None:
    decisions, _ = decide(need, offers)
    again, _ = decide(need, offers[::-1])
    assert [(d.jobs, d.queue) for d in decisions] == [(d.jobs, d.queue) for d in again]
