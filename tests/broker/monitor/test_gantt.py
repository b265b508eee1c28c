"""Bars of copies and runs, and how much of both went on at once."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodchain.broker.monitor.gantt import WIDTH, chart, common, length, union

START = datetime(2026, 11, 22, 10, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def job(*spans: tuple[str, float, float | None]) -> dict[str, Any]:
    return {
        "job": 7,
        "spans": [
            {"what": what, "from": at(begin), "until": None if end is None else at(end), "words": ""}
            for what, begin, end in spans
        ],
    }


def test_the_time_of_both_is_what_copies_and_runs_have_in_common() -> None:
    drawn = chart([job(("copy", 0, 10), ("running", 10, 30)), job(("copy", 5, 25), ("running", 25, 40))], at(100))
    assert drawn is not None
    assert (drawn.copying_s, drawn.running_s, drawn.both_s) == (25, 30, 15)
    assert (drawn.start, drawn.end) == (at(0), at(40))


def test_without_overlap_there_is_no_time_of_both() -> None:
    drawn = chart([job(("copy", 0, 10), ("running", 10, 30), ("transferring", 30, 40))], at(100))
    assert drawn is not None
    assert drawn.both_s == 0


def test_what_goes_on_lasts_until_now() -> None:
    drawn = chart([job(("running", 10, None))], at(60))
    assert drawn is not None
    assert (drawn.end, drawn.running_s) == (at(60), 50)


def test_a_long_wait_does_not_make_the_rest_too_small_to_see() -> None:
    drawn = chart([job(("assigned", -90_000, 10), ("running", 10, 20), ("copy", 0, 5))], at(20))
    assert drawn is not None
    assert drawn.start == at(0)
    wait, run, copy = drawn.rows[0].bars
    assert (wait.x, wait.width) == (0, WIDTH / 2)
    assert (run.x, run.width, run.copy) == (WIDTH / 2, WIDTH / 2, False)
    assert (copy.x, copy.width, copy.copy) == (0, WIDTH / 4, True)
    assert drawn.rows[0].words == "assigned 10\u202fs, running 10\u202fs, input copied 5.0\u202fs"


def test_nothing_is_drawn_where_nothing_ran_or_moved() -> None:
    assert chart([], at(0)) is None
    assert chart([job(("assigned", 0, None))], at(5)) is None


STATES = ("copy", "assigned", "activated", "sent", "running", "holding", "transferring")
SPANS = st.lists(
    st.tuples(st.sampled_from(STATES), st.integers(0, 50), st.none() | st.integers(0, 50)).map(
        lambda span: (span[0], span[1], None if span[2] is None else span[1] + span[2])
    ),
    max_size=6,
)


@given(st.lists(SPANS.map(lambda spans: job(*spans)), max_size=5))
def test_bars_stay_within_the_chart_and_common_time_within_both(jobs: list[dict[str, Any]]) -> None:
    drawn = chart(jobs, at(120))
    if drawn is None:
        return
    assert 0 <= drawn.both_s <= min(drawn.copying_s, drawn.running_s) + 1e-6
    assert max(drawn.copying_s, drawn.running_s) <= (drawn.end - drawn.start).total_seconds() + 1e-6
    for bar in (bar for row in drawn.rows for bar in row.bars):
        assert 0 <= bar.x < WIDTH
        assert bar.width > 0
        assert bar.x + bar.width <= WIDTH + 0.2


@pytest.mark.parametrize(
    ("some", "others", "both"),
    [([(0, 5), (3, 9)], [(8, 12)], 1), ([(0, 5)], [(5, 9)], 0), ([(0, 9)], [(1, 2), (4, 6)], 3), ([], [(1, 2)], 0)],
)
def test_common_times_are_counted_once(some: list[tuple[int, int]], others: list[tuple[int, int]], both: int) -> None:
    first, second = (union([(at(a), at(b)) for a, b in spans]) for spans in (some, others))
    assert length(common(first, second)) == both
