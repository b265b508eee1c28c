"""A queue's health, judged from outcomes alone."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodchain.broker.health import Canary, End, Limits, Others, Standing, Tally, look, pause, weigh
from prodchain.broker.models import Health

LIMITS = Limits()
T0 = datetime(2026, 3, 1, tzinfo=UTC)
NO_SHELL = "command not found: Sim_tf.py"


def ends(*runs: tuple[int, int, int], blames: bool = False, error: str = NO_SHELL) -> list[End]:
    """Of each (task, successes, failures)."""
    found = []
    for task, good, bad in runs:
        found += [End(task, False, T0)] * good
        found += [End(task, True, T0, error, error, blames)] * bad
    return found


CASES: list[tuple[str, Sequence[End], Others, bool]] = [
    ("nothing ran", [], {}, False),
    ("one failure too few", ends((1, 0, 9), blames=True), {}, False),
    ("all that count fail, and the rules blame the queue", ends((1, 0, 10), blames=True), {}, True),
    ("one task fails, nobody knows it, no rule blames the queue", ends((1, 0, 50)), {}, False),
    ("two such tasks may be bad themselves", ends((1, 0, 5), (2, 0, 5)), {}, False),
    ("three are not", ends((1, 0, 4), (2, 0, 3), (3, 0, 3)), {}, True),
    ("the task does well elsewhere", ends((1, 0, 10)), {1: [(3, 0)]}, True),
    ("two runs elsewhere say too little", ends((1, 0, 10)), {1: [(2, 0)]}, False),
    ("it fails elsewhere too, though the rules blame the queue", ends((1, 0, 10), blames=True), {1: [(0, 3)]}, False),
    ("it fails at a third queue, but does well at a second", ends((1, 0, 10)), {1: [(0, 30), (7, 3)]}, True),
    ("it does not quite well there", ends((1, 0, 10)), {1: [(0, 30), (6, 4)]}, False),
    ("at the limit it is kept", ends((1, 4, 6), blames=True), {}, False),
    ("above it is drained", ends((1, 3, 7), blames=True), {}, True),
    ("a bad task's failures count neither way", ends((1, 0, 30), (2, 10, 0)), {1: [(0, 9)]}, False),
    ("nor do they hide those of the queue", ends((1, 0, 30), (2, 2, 8)), {1: [(0, 9)], 2: [(9, 1)]}, True),
]


@pytest.mark.parametrize(("runs", "others", "drained"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_queue_is_drained_for_failures_of_its_own(runs: Sequence[End], others: Others, drained: bool) -> None:
    after = look(Standing(), weigh(runs, others, LIMITS), None, T0, LIMITS)
    assert (after.health is Health.DRAINED) is drained


def test_the_reason_names_the_commonest_error_as_it_was_last_seen() -> None:
    runs = [End(1, True, T0 + timedelta(seconds=n), f"exit {n}\nand more", "exit N", True) for n in range(8)]
    runs += [End(1, True, T0, "lost heartbeat", "lost heartbeat", True), End(1, False, T0)]
    after = look(Standing(), weigh(runs, {}, LIMITS), None, T0, LIMITS)
    assert after.reason == "9 of the last 10 runs failed, 8 with 'exit 7'"
    assert (after.strikes, after.next_at) == (1, T0 + LIMITS.pause)


def test_the_pause_doubles_with_each_strike_up_to_a_limit() -> None:
    minutes = [pause(strikes, LIMITS).total_seconds() / 60 for strikes in range(8)]
    assert minutes == [5, 5, 10, 20, 40, 80, 120, 120]
    assert pause(10**6, LIMITS) == LIMITS.pause_most < LIMITS.calm


DRAINED = Standing(Health.DRAINED, "9 of 10", T0, 2, T0 + timedelta(minutes=10))
PROBING = Standing(Health.PROBING, "9 of 10", T0, 2)
NOTHING = Tally(0, ())


def test_a_drained_queue_waits_for_its_pause_and_is_tried_then() -> None:
    assert look(DRAINED, NOTHING, None, T0 + timedelta(minutes=9), LIMITS) == DRAINED
    after = look(DRAINED, NOTHING, None, T0 + timedelta(minutes=10), LIMITS)
    assert (after.health, after.reason, after.strikes) == (Health.PROBING, "9 of 10", 2)


def test_a_canary_that_runs_changes_nothing_and_one_that_is_over_decides() -> None:
    assert look(PROBING, NOTHING, Canary(), T0, LIMITS) == PROBING
    good = look(PROBING, NOTHING, Canary(True, True, "task 7"), T0, LIMITS)
    assert (good.health, good.reason, good.strikes) == (Health.GOOD, "its canary succeeded: task 7", 2)
    bad = look(PROBING, NOTHING, Canary(True, False, "no disk"), T0, LIMITS)
    assert bad == Standing(Health.DRAINED, "its canary failed: no disk", T0, 3, T0 + timedelta(minutes=20))


@pytest.mark.parametrize("standing", [DRAINED, PROBING])
def test_runs_that_end_well_meanwhile_bring_no_queue_back(standing: Standing) -> None:
    assert look(standing, weigh(ends((1, 50, 0)), {}, LIMITS), None, T0, LIMITS) == standing


def test_strikes_are_forgotten_after_long_good_health_only() -> None:
    good = Standing(Health.GOOD, "", T0, 3)
    assert look(good, NOTHING, None, T0 + LIMITS.calm - timedelta(seconds=1), LIMITS) == good
    assert look(good, NOTHING, None, T0 + LIMITS.calm, LIMITS).strikes == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9)), max_size=120), st.booleans())
def test_a_bad_task_never_drains_more_than_one_queue(runs: list[tuple[int, int]], blames: bool) -> None:
    """Whatever the order in which its runs end, with other work that does well beside it or without."""
    rings: dict[int, list[End]] = defaultdict(list)
    drained: set[int] = set()
    for queue, dice in runs:
        if queue in drained:
            continue
        rings[queue].append(End(2, False, T0) if dice < 2 else End(1, True, T0, NO_SHELL, NO_SHELL, blames))
        others = {1: [(0, sum(end.failed for end in ring)) for at, ring in rings.items() if at != queue]}
        if look(Standing(), weigh(rings[queue], others, LIMITS), None, T0, LIMITS).health is Health.DRAINED:
            drained.add(queue)
    assert len(drained) <= 1


@given(st.lists(st.booleans(), max_size=60))
def test_no_queue_is_drained_while_most_of_its_runs_succeed(outcomes: list[bool]) -> None:
    runs = [End(n, failed, T0, "e", "e", True) for n, failed in enumerate(outcomes)]
    after = look(Standing(), weigh(runs, {}, LIMITS), None, T0, LIMITS)
    assert (after.health is Health.DRAINED) == (len(runs) >= 10 and sum(outcomes) > 0.6 * len(runs))


@given(st.sampled_from([DRAINED, PROBING]), st.integers(0, 20), st.integers(0, 20))
def test_what_brings_a_queue_back_would_not_drain_it_at_once(standing: Standing, good: int, bad: int) -> None:
    tally = weigh(ends((1, good, bad), blames=True), {}, LIMITS)
    back = look(standing, tally, None, T0, LIMITS)
    if back.health is Health.GOOD:
        assert look(back, tally, None, T0, LIMITS) == back


def a_day(is_bad: "list[bool]", limits: Limits) -> tuple[int, int]:
    """Drains, and jobs that failed, of a site that is bad in some minutes; ten jobs end in each while it is used."""
    standing, runs, drains, failed = Standing(), list[End](), 0, 0
    for minute, bad in enumerate(is_bad):
        now = T0 + timedelta(minutes=minute)
        canary = None
        if standing.health is Health.GOOD:
            runs = [*runs, *[End(1, bad, now, "e", "e", True)] * 10][-limits.newest :]
            failed += 10 * bad
        elif standing.health is Health.PROBING:
            canary = Canary(True, not bad, "it ran")
        recent = [end for end in runs if end.at > standing.since]
        before, standing = standing, look(standing, weigh(recent, {}, limits), canary, now, limits)
        drains += (before.health, standing.health) == (Health.GOOD, Health.DRAINED)
    return drains, failed


@pytest.mark.parametrize("period", [2, 7, 20, 60, 180])
def test_a_site_that_comes_and_goes_is_drained_a_bounded_number_of_times(period: int) -> None:
    day = [minute // period % 2 == 0 for minute in range(24 * 60)]
    drains, failed = a_day(day, LIMITS)
    # Five pauses until the longest, and then one in two hours at most.
    assert 0 < drains <= 5 + 24 * 60 / (LIMITS.pause_most.total_seconds() / 60)
    assert failed <= drains * 10 * 8
    undamped, lost = a_day(day, Limits(pause_most=LIMITS.pause))
    assert drains <= undamped
    assert failed <= lost


def test_a_site_that_recovers_for_good_is_back_within_its_pause() -> None:
    drains, failed = a_day([minute < 30 for minute in range(24 * 60)], LIMITS)
    assert drains == 1
    assert failed <= 100
