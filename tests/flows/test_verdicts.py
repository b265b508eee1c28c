from datetime import UTC, datetime, timedelta

import pytest

from prodchain.flows.verdicts import Change, Limits, Verb, on_crashed, on_silence, short_tries

START = datetime(2026, 1, 1, tzinfo=UTC)
LIMITS = Limits(silence_s=150, tries=5, first_pause_s=5)


def _history(*minutes: float) -> list[Change]:
    """Tries that ran for so many minutes each, one after the other, all of them crashed."""
    changes, at = [], START
    for length in minutes:
        changes.append(Change("RUNNING", at))
        at += timedelta(minutes=length)
        changes.append(Change("CRASHED", at))
    return changes


@pytest.mark.parametrize(
    ("minutes", "tries"), [((1,), 1), ((1, 1, 1), 3), ((1, 1, 60), 1), ((60, 1, 1), 3), ((60, 60), 1)]
)
def test_a_long_try_begins_the_count_anew(minutes: tuple[float, ...], tries: int) -> None:
    assert short_tries(_history(*minutes)) == tries


def test_a_crash_before_the_run_began_is_a_short_try() -> None:
    assert short_tries([Change("PENDING", START), Change("CRASHED", START + timedelta(hours=1))]) == 1


def test_the_pause_before_a_try_grows() -> None:
    history = _history(1, 1, 1)
    crashed = history[-1].at
    assert on_crashed(history, crashed + timedelta(seconds=19), LIMITS).verb is Verb.LEAVE
    assert on_crashed(history, crashed + timedelta(seconds=20), LIMITS).verb is Verb.RESUME


def test_a_run_that_crashes_again_and_again_is_left_with_a_reason() -> None:
    verdict = on_crashed(_history(*[1] * 6), START + timedelta(days=1), LIMITS)
    assert verdict.verb is Verb.LEAVE and "crashed 6 times in a row" in verdict.reason


@pytest.mark.parametrize(
    ("kind", "silent_s", "verb"),
    [
        ("RUNNING", 149, Verb.LEAVE),
        ("RUNNING", 151, Verb.CRASH),
        ("PENDING", 151, Verb.CRASH),
        ("CANCELLING", 149, Verb.LEAVE),
        ("CANCELLING", 151, Verb.CANCEL),
    ],
)
def test_silence(kind: str, silent_s: float, verb: Verb) -> None:
    assert on_silence(kind, START, START + timedelta(seconds=silent_s), LIMITS).verb is verb
