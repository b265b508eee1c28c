"""What templates draw: verdicts by what fails, stories with orders in them."""

from typing import Any

from prodchain.broker.monitor.shapes import changed, refused, steps, timeline

from .production import VERDICTS, ago, event, ordered, verdict


def test_verdicts_fold_by_what_fails_the_least_first() -> None:
    groups = refused(VERDICTS)
    assert [(group.criteria, len(group.verdicts)) for group in groups] == [
        ("memory_mb", 100),
        ("status, memory_mb", 48),
    ]


def test_verdicts_of_a_brief_decision_fold_by_their_criterion() -> None:
    assert [group.criteria for group in refused([verdict("A"), verdict("B", "cores")])] == ["cores"]


def test_an_order_does_not_end_the_state_in_which_it_came() -> None:
    story: list[Any] = [
        event("ready", ago(seconds=100), ""),
        ordered("set", ago(seconds=60), {}),
        event("running", ago(seconds=40), ""),
    ]
    assert [step.lasted_s for step in steps(story)] == [60.0, None, None]
    assert [(segment.state, segment.amount) for segment in timeline(story)] == [("ready", 60.0)]


def test_changes_are_told_with_what_was_before() -> None:
    assert changed({"memory_mb": [1000, 1500], "state": ["running", "paused"], "note": "x"}) == (
        "memory_mb: 1000 → 1500; state: running → paused; note: x"
    )
    rule = {"limit": 2, "match": "x"}
    assert changed({"sites": [[], ["A", "B"]], "ending": [True, False], "rule": [None, rule]}) == (
        "sites: – → A, B; ending: yes → no; rule: – → limit = 2, match = x"
    )
