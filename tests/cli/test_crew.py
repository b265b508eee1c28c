"""As many threads as it takes to be fast, and not one thing lost or done twice."""

import threading
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodchain.cli.crew import MOST, Crew, Tuner


def settle(rate_of: dict[int, float]) -> int:
    tuner = Tuner()
    for _ in range(20):
        tuner.judge(rate_of[tuner.number])
    return tuner.number


def test_more_are_taken_as_long_as_that_is_faster() -> None:
    assert settle({number: float(number) for number in range(1, MOST + 1)}) == MOST


def test_more_are_not_taken_where_one_line_is_full() -> None:
    assert settle(dict.fromkeys(range(1, MOST + 1), 100.0)) <= 8


@given(st.lists(st.floats(0, 1e12), max_size=50))
def test_the_number_stays_within_its_bounds(rates: list[float]) -> None:
    tuner = Tuner()
    for rate in rates:
        assert 1 <= tuner.judge(rate) <= MOST


@pytest.mark.parametrize("threads", [1, 3, None])
def test_each_thing_is_done_once(threads: int | None) -> None:
    done: Counter[int] = Counter()

    def one(thing: int) -> int:
        done[thing] += 1
        return thing

    crew: Crew[int, int] = Crew(threads)
    assert sorted(crew.work(one, range(200), lambda: sum(done.values()))) == list(range(200))
    crew.end()
    assert set(done.values()) == {1}


def test_no_more_than_wanted_run_at_a_time() -> None:
    running, most, lock = 0, 0, threading.Lock()

    def one(_: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.005)
        with lock:
            running -= 1

    crew: Crew[int, None] = Crew(3)
    list(crew.work(one, range(30), lambda: 0))
    crew.end()
    assert most == 3


def test_a_failure_is_raised_and_nothing_more_is_begun() -> None:
    begun = []

    def one(thing: int) -> int:
        begun.append(thing)
        if thing == 2:
            raise ValueError("two")
        return thing

    crew: Crew[int, int] = Crew(1)
    with pytest.raises(ValueError, match="two"):
        list(crew.work(one, range(100), lambda: 0))
    crew.end()
    assert len(begun) < 100
