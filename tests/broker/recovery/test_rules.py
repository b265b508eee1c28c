"""Rules for failed jobs: read with care, decided as data."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodchain.broker.errors import BadRequest
from prodchain.broker.recovery.rules import (
    FREE_AT_MOST,
    MEMORY_STEP_MB,
    Failure,
    Rule,
    Run,
    decide,
    parse,
    shipped,
)
from prodchain.broker.requirements import Requirement

SHIPPED = parse(shipped(), "rules.toml")
FIRST = Run(attempt=1, spared=0, max_attempts=3, requirement=Requirement(), divisible=True)


@pytest.mark.parametrize(
    ("message", "rule"),
    [
        ("lost heartbeat: pilot p1 was silent until 10:00:00 UTC", "lost-pilot"),
        ("payload was killed by signal 9 (SIGKILL)", "out-of-memory"),
        ("payload failed with exit code 1 (terminate called after std::bad_alloc)", "out-of-memory"),
        ("payload was over its wall time of 3600 s", "over-wall-time"),
        ("payload failed with exit code 1 (x); work directory disk full", "scratch-full"),
        ("command not found: Gen_tf.py", "no-such-program"),
        ("payload failed with exit code 2 (error: unrecognized arguments: --x)", "wrong-options"),
        ("payload failed with exit code 65 (a bad event)", ""),
    ],
)
def test_the_rules_that_come_with_the_package_know_the_pilots_errors(message: str, rule: str) -> None:
    assert decide(Failure(message), FIRST, SHIPPED).rule == rule


def test_without_a_rule_the_work_is_tried_again_until_its_attempts_are_used_up() -> None:
    assert decide(Failure("x"), replace(FIRST, attempt=2), ()).again
    last = decide(Failure("x"), replace(FIRST, attempt=3), ())
    assert (last.again, last.reason) == (False, "3 of 3 attempts are used up")


def test_a_run_that_the_system_lost_does_not_count() -> None:
    run = replace(FIRST, attempt=5, spared=4)
    retry = decide(Failure("lost heartbeat"), run, SHIPPED)
    assert (retry.again, retry.spared, retry.elsewhere) == (True, 5, True)
    assert retry.reason == "rule lost-pilot; this run does not count; attempt 1 of 3 follows; at another queue"


def test_what_does_not_count_ends_some_time() -> None:
    run = replace(FIRST, attempt=FREE_AT_MOST + 3, spared=FREE_AT_MOST)
    assert not decide(Failure("lost heartbeat"), run, SHIPPED).again


def test_memory_and_time_are_raised_in_steps() -> None:
    retry = decide(Failure("MemoryError"), FIRST, SHIPPED)
    assert retry.requirement.memory_mb == 1500
    assert "with 1500 MB instead of 1000" in retry.reason
    assert decide(Failure("over its wall time"), FIRST, SHIPPED).requirement.walltime_s == 5400


def test_a_passive_rule_is_told_and_does_nothing() -> None:
    rules = (Rule(name="stop", match="x", retry=False, active=False),)
    retry = decide(Failure("x"), FIRST, rules)
    assert (retry.again, retry.rule) == (True, "")
    assert retry.reason == "attempt 2 of 3 follows; passive rule stop would have fitted"


def test_the_first_active_rule_that_fits_decides() -> None:
    rules = (
        Rule(name="other step", match="x", steps=("sim",), retry=False),
        Rule(name="code", exit_codes=(65,), limit=1),
        Rule(name="later", match="x", more_memory=2),
    )
    assert decide(Failure("x", 65, "evgen"), FIRST, rules).rule == "code"
    assert not decide(Failure("x", 65, "evgen"), FIRST, rules).again
    assert decide(Failure("x", 1, "evgen"), FIRST, rules).rule == "later"


def test_work_that_cannot_be_cut_is_tried_as_it_is_and_says_so() -> None:
    rules = (Rule(name="big", smaller=True),)
    assert decide(Failure("x"), FIRST, rules).smaller
    one = decide(Failure("x"), replace(FIRST, divisible=False), rules)
    assert (one.again, one.smaller) == (True, False)
    assert "it cannot be cut any smaller" in one.reason


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[rule.a]\nmatch = "("', r"rules:2: rule a: match: it is no regular expression"),
        ("[rule.a]\n\nmore_memory = 0.5", r"rules:3: rule a: more_memory: Input should be greater than 1"),
        ("[rule.a]\nretries = 2", r"rules:2: rule a: retries: there is no such field"),
        ("[rules.a]\n", "'rules' is no rule"),
        ("[rule", "rules: "),
        ('[rule.a]\nmatch = "x\\u0000"', "rule a has a NUL"),
        ("rule = 3", "'rule' is no rule"),
        ("[rule]\na = 3", "rule a: : it is no table"),
    ],
)
def test_a_bad_rule_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(BadRequest, match=message) as refused:
        parse(text, "rules")
    assert refused.value.hint


@given(
    attempt=st.integers(1, 40),
    spared=st.integers(0, FREE_AT_MOST),
    limit=st.integers(1, 10),
    factor=st.floats(1.01, 10),
    memory=st.integers(1, 2**31 - 1),
    free=st.booleans(),
)
def test_no_rule_tries_for_ever_and_none_takes_memory_away(
    attempt: int, spared: int, limit: int, factor: float, memory: int, free: bool
) -> None:
    run = Run(attempt, min(spared, attempt - 1), limit, Requirement(memory_mb=memory), True)
    retry = decide(Failure("x"), run, (Rule(name="r", more_memory=factor, free=free),))
    assert not retry.again or attempt < limit + FREE_AT_MOST + 1
    assert memory <= retry.requirement.memory_mb < 2**31
    assert retry.requirement.memory_mb % MEMORY_STEP_MB == 0 or retry.requirement.memory_mb == 2**31 - 1
    assert retry.reason


def test_an_expression_that_would_take_years_does_not_fit_and_the_next_rule_decides() -> None:
    rules = (Rule(name="slow", match="(a|aa)+$"), Rule(name="next", match="b$"))
    assert decide(Failure("a" * 4000 + "b"), FIRST, rules).rule == "next"
