"""A round is kept as JSON, small, and gives the same answers when it is read again."""

import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from prodchain.broker.brokerage.decide import decide
from prodchain.broker.brokerage.facts import Files, Link, Need, Network, Offer, Slot, Store
from prodchain.broker.brokerage.record import Round, decision_of, decode, encode, ids, ranges, verdict_document
from prodchain.broker.brokerage.replay import replay

from .test_criteria import farms, needs


@settings(deadline=None)
@given(bunches=st.lists(needs, max_size=3), offers=farms)
def test_a_round_that_was_kept_gives_the_same_decisions(bunches: list[Need], offers: list[Offer]) -> None:
    found = Round(tuple(bunches), tuple(offers))
    kept = json.loads(json.dumps(encode(found)))
    assert decode(kept) == found
    if offers:
        assert decode(kept).offers[0].network == offers[0].network
    decisions, now = [], offers
    for need in bunches:
        answer, now = decide(need, now)
        decisions += answer
    again = replay(kept)
    assert list(again.decisions) == decisions
    for decision in decisions:  # and a decision that was stored is the one that was made
        stored = json.loads(json.dumps([verdict_document(verdict) for verdict in decision.verdicts]))
        assert decision_of(decision.queue, decision.reason, stored) == replace(decision, jobs=())


@given(st.sets(st.integers(1, 60)).map(sorted))
def test_ids_are_kept_as_ranges(jobs: list[int]) -> None:
    assert ids(ranges(jobs)) == tuple(jobs)
    assert len(ranges(jobs)) <= 2 * len(jobs)


def test_what_is_the_same_or_as_by_default_is_kept_once_or_not_at_all() -> None:
    network = Network({n: Store(f"S{n}-DISK") for n in range(40)}, {(n, 1): Link(1e6, n, 0) for n in range(5)})
    offers = [
        Offer(
            queue=n,
            name=f"S{n}-BATCH",
            storage=n,
            storage_name=f"S{n}-DISK",
            site=f"S{n}",
            best=Slot(8),
            pilots=50,
            pilots_ever=True,
            cores=8,
            memory_mb=16_000,
            slots=1000,
            waiting_limit=10_000,
            executing=900 + n,
            network=network,
        )
        for n in range(40)
    ]
    need = Need(tuple(range(5000, 6000)), inputs=tuple(Files((n,), 100, 10**11) for n in range(4)), owner="ann")
    kept = encode(Round((need,), tuple(offers)))
    assert len(json.dumps(kept)) < 6000
    assert kept["offers"]["all"]["cores"] == 8
    assert "scratch_mb" not in json.dumps(kept)


def test_a_plugin_that_is_gone_and_rules_that_changed_are_said() -> None:
    kept = encode(Round((), (), ("prodchain.criteria/mine:odd",), 0))
    assert replay(kept).notes == (
        "plugin prodchain.criteria/mine:odd took part and is not installed here",
        "the built-in rules were version 0 then and are version 1 now",
    )


def test_a_verdict_of_an_older_version_is_read() -> None:
    old = {
        "queue": 1, "passed": False, "criterion": "memory", "reason": "offers 1 MB", "remedy": "ask for 1 MB",
        "weight": 0.0, "missing_bytes": 0,
    }  # fmt: skip
    (verdict,) = decision_of(None, "none", [old]).verdicts
    assert (verdict.criterion, verdict.reason, verdict.remedy) == ("memory", "offers 1 MB", "ask for 1 MB")
