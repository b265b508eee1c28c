"""Numbers, sizes, times and states as people read them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from prodchain.broker.monitor import formats, shapes
from prodchain.broker.states import JobState, TaskState
from prodchain.catalog.models import DatasetState


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *(
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (9_996, "10.0 kB"),
            (999_499, "999 kB"),
            (999_600, "1.00 MB"),
        ),
        *((1.5e12, "1.50 TB"), (5e18, "5000 PB"), (None, "–")),
    ],
)
def test_sizes_have_three_digits_and_a_unit(value: float | None, text: str) -> None:
    assert formats.size(value).replace("\u202f", " ") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0 s ago"), (59.9, "59 s ago"), (60, "1 min ago"), (7199, "119 min ago"), (7200, "2 h ago")),
        *((172_800, "2 d ago"), (-90, "in 1 min")),
    ],
)
def test_ages_are_in_one_unit(seconds: float, text: str) -> None:
    assert formats.distance(seconds).replace("\u202f", " ") == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.25, "250 ms"),
        (3, "3.0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (90, "1 min 30 s"),
        (3600, "1 h"),
        (90_000, "1 d 1 h"),
    ],
)
def test_durations_are_in_two_units(seconds: float, text: str) -> None:
    assert formats.duration(seconds).replace("\u202f", " ") == text


def test_an_age_carries_its_absolute_time_in_utc() -> None:
    html = formats.age("2026-11-22T03:04:05+02:00")
    assert 'datetime="2026-11-22T01:04:05.000+00:00" title="2026-11-22 01:04:05 UTC"' in html


def test_all_is_only_all_when_nothing_lacks() -> None:
    assert formats.percent(999, 1000).startswith("99\u202f")
    assert formats.percent(0, 0).startswith("0\u202f")


def test_a_scope_that_the_name_repeats_is_left_out() -> None:
    assert formats.short("mc26:mc26.1.x") == "mc26.1.x"
    assert formats.short("user.ann:zmumu.v1") == "user.ann:zmumu.v1"


def test_code_in_hints_is_escaped() -> None:
    assert formats.coded("try `a <b>` & c") == "try <code>a &lt;b&gt;</code> &amp; c"
    assert formats.coded("a lone ` stays") == "a lone ` stays"


@pytest.mark.parametrize("state", [*JobState, *TaskState, *DatasetState])
def test_every_state_has_a_sign_of_its_own_besides_its_colour(state: str) -> None:
    assert state in formats.GLYPHS


def test_a_bar_is_full_and_in_the_order_of_progress() -> None:
    bar = shapes.segments({"failed": 1, "running": 1, "finished": 2, "defined": 0})
    assert [(s.state, s.x, s.width) for s in bar] == [
        ("finished", 0, 500),
        ("running", 500, 250),
        ("failed", 750, 250),
    ]
    assert shapes.segments({}) == []


def test_a_story_tells_how_long_each_step_took() -> None:
    start = datetime(2026, 11, 22, tzinfo=UTC)
    story: list[dict[str, Any]] = [
        {"at": start, "state": "defined"},
        {"at": (start + timedelta(seconds=10)).isoformat(), "state": "running"},
        {"at": start + timedelta(seconds=40), "state": "finished"},
    ]
    assert [step.lasted_s for step in shapes.steps(story)] == [10, 30, None]
    assert [(s.state, s.width) for s in shapes.timeline(story)] == [("defined", 250), ("running", 750)]


def test_tasks_of_a_run_are_in_the_order_of_its_steps_newest_run_first() -> None:
    tasks: list[dict[str, Any]] = [
        {"id": 4, "run": "new"},
        {"id": 3, "run": None},
        {"id": 2, "run": "old"},
        {"id": 1, "run": "old"},
    ]
    grouped = shapes.runs(tasks)
    assert [(run, [task["id"] for task in members]) for run, members in grouped.items()] == [
        ("new", [4]),
        ("", [3]),
        ("old", [1, 2]),
    ]
