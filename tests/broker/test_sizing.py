"""What scouts teach, as plain numbers."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodchain.broker.requests import TaskRequest
from prodchain.broker.sizing import Measured, enough, quantile, size

from .world import evgen, sim

SCOUT = Measured(wall_s=100, cpu_s=90, max_rss_mb=1900, scratch_mb=300, events=50, files=2)


def test_needs_are_what_was_measured_with_a_margin_rounded_up() -> None:
    sizing = size(sim(), [SCOUT] * 3)
    assert sizing.fields == {"memory_mb": 2500, "walltime_s": 600, "scratch_mb": 500}
    assert sizing.reason == (
        "3 scouts: memory 1900 MB, wall time 100 s, scratch space 300 MB, CPU 1.8 s per event;"
        " the other jobs get memory_mb 2500, walltime_s 600, scratch_mb 500"
    )


def test_the_worst_of_many_scouts_does_not_decide() -> None:
    scouts = [SCOUT] * 20 + [Measured(wall_s=90_000, max_rss_mb=16_000)]
    assert size(sim(), scouts).fields["memory_mb"] == 2500


@pytest.mark.parametrize(
    ("ask", "fields"),
    [
        (sim(events_per_job=10), {"events_per_job": 1800, "walltime_s": 5400, "scratch_mb": 13_000}),
        (sim(), {"files_per_job": 72, "walltime_s": 5400, "scratch_mb": 13_000}),
        (evgen(), {"events_per_job": 1800, "walltime_s": 5400, "scratch_mb": 13_000}),
        (
            evgen(jobs=4, events_per_job=None),
            {"events_per_job": 1800, "jobs": None, "walltime_s": 5400, "scratch_mb": 13_000},
        ),
    ],
)
def test_a_target_sizes_the_work_and_what_grows_with_it(ask: Any, fields: dict[str, int | None]) -> None:
    target = ask.model_copy(update={"scouts": 3, "target_walltime_s": 3600})
    assert size(target, [SCOUT] * 3).fields == {"memory_mb": 2500} | fields


def test_scouts_that_measured_nothing_change_nothing() -> None:
    assert size(sim(), [Measured(wall_s=0)]).fields == {}
    assert "nothing was measured" in size(sim(), [Measured(wall_s=0)]).reason


@given(values=st.lists(st.floats(0.001, 10**6), min_size=1, max_size=50))
def test_the_quantile_is_a_value_that_few_exceed(values: list[float]) -> None:
    found = quantile(values)
    assert found in values
    assert sum(value > found for value in values) <= 0.05 * len(values)


@pytest.mark.parametrize(("finished", "made", "answer"), [(0, 0, False), (0, 3, False), (1, 3, False), (2, 4, True)])
def test_half_of_the_scouts_are_enough(finished: int, made: int, answer: bool) -> None:
    assert enough(finished, made) is answer


def test_what_is_learnt_can_always_be_asked_for() -> None:
    ask = evgen(events=10**9, events_per_job=None, jobs=100, scouts=2, target_walltime_s=10)
    fields = size(ask, [Measured(wall_s=10_000_000, events=10_000_000)]).fields
    assert fields["events_per_job"] == 100  # not 10: that would be more jobs than a task may have
    assert TaskRequest.model_validate(ask.model_dump() | fields).jobs is None


@pytest.mark.parametrize("value", [5e-324, 1.7e308])
def test_scouts_that_report_what_cannot_be_change_what_can_be(value: float) -> None:
    scout = Measured(wall_s=value, cpu_s=value, max_rss_mb=value, scratch_mb=value, events=50)
    ask = evgen(scouts=2, target_walltime_s=3600)
    TaskRequest.model_validate(ask.model_dump() | size(ask, [scout]).fields)
