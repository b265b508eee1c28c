"""What to do with the work of a job that failed: rules as data, and the decision as a pure function."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from typing import Annotated

import regex
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ..requirements import MEMORY_STEP_MB, WALLTIME_STEP_S, Requirement
from ..tomlmodels import Sort

log = logging.getLogger("prodchain.rules")
LONGEST_S = 0.1
"""For one expression on one error; what is usual takes some microseconds."""
FREE_AT_MOST = 10
"""Runs of one piece of work that may end for reasons of the system's without counting."""


def _pattern(text: str) -> str:
    try:
        regex.compile(text)
    except regex.error as error:
        raise ValueError(f"it is no regular expression: {error}") from None
    return text


def _found(pattern: str, error: str, name: str) -> bool:
    """One that takes too long is not found: some take years for a text of a few lines, and all would wait for it."""
    try:
        return regex.search(pattern, error, timeout=LONGEST_S) is not None
    except TimeoutError:
        log.warning("rule %s: its expression takes more than %g s, so it does not fit: %s", name, LONGEST_S, pattern)
        return False


class Rule(BaseModel):
    """When it fits, and what then. Actions add up; a rule with ``active = false`` is passive: it is only told."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    match: Annotated[str, AfterValidator(_pattern)] = Field("", description="regular expression, found in the error")
    exit_codes: tuple[int, ...] = Field((), description="of the payload; empty: any")
    steps: tuple[str, ...] = Field((), description="of which steps; empty: all")
    owners: tuple[str, ...] = Field((), description="of whose tasks; empty: all")
    active: bool = True
    retry: bool = Field(True, description="false: the work is not tried again")
    limit: int | None = Field(None, ge=1, le=50, description="attempts, where that is less than the task's")
    more_memory: float | None = Field(None, gt=1, le=10, description="factor")
    more_walltime: float | None = Field(None, gt=1, le=10, description="factor")
    smaller: bool = Field(False, description="cut the piece of work in two")
    elsewhere: bool = Field(False, description="not at this queue again")
    free: bool = Field(False, description="does not count as an attempt")
    remedy: str = Field("", description="what people can do, as pages and `why` say it")

    def fits(self, failure: "Failure") -> bool:
        return (
            (not self.exit_codes or failure.exit_code in self.exit_codes)
            and (not self.steps or failure.step in self.steps)
            and (not self.owners or failure.owner in self.owners)
            and (not self.match or _found(self.match, failure.error, self.name))
        )


@dataclass(frozen=True)
class Failure:
    """How a run ended."""

    error: str
    exit_code: int | None = None
    step: str = ""
    owner: str = ""


@dataclass(frozen=True)
class Run:
    """What ran: its number among the runs of this work, how many before it did not count, and what it was given."""

    attempt: int
    spared: int
    max_attempts: int
    requirement: Requirement
    divisible: bool


@dataclass(frozen=True)
class Retry:
    """What follows: another run (``again``) with what it is given, and why, in words."""

    again: bool
    requirement: Requirement
    smaller: bool
    elsewhere: bool
    spared: int
    rule: str
    reason: str


def ruling(failure: Failure, rules: Sequence[Rule]) -> tuple[Rule | None, list[Rule]]:
    """The rule that decides, which is the first active one that fits, and the passive ones that would have fitted."""
    fitting = [rule for rule in rules if rule.fits(failure)]
    return next((rule for rule in fitting if rule.active), None), [rule for rule in fitting if not rule.active]


def decide(failure: Failure, run: Run, rules: Sequence[Rule]) -> Retry:
    """What the rule that decides says; passive ones are named in the reason."""
    found, passive = ruling(failure, rules)
    rule = found or Rule(name="")
    spared = run.spared + 1 if rule.free and run.spared < FREE_AT_MOST else run.spared
    limit = min(run.max_attempts, rule.limit or run.max_attempts)
    counted = run.attempt - spared
    again = rule.retry and counted < limit
    words = [f"rule {rule.name}"] if rule.name else []
    if not rule.retry:
        words.append("it is not tried again")
    elif not again:
        words.append(f"{counted} of {limit} attempts are used up")
    else:
        words += _words(rule, run, spared, counted, limit)
    words += [f"passive rule {each.name} would have fitted" for each in passive]
    return Retry(
        again=again,
        requirement=more(run.requirement, rule),
        smaller=again and rule.smaller and run.divisible,
        elsewhere=rule.elsewhere,
        spared=spared,
        rule=rule.name,
        reason="; ".join(words),
    )


def _words(rule: Rule, run: Run, spared: int, counted: int, limit: int) -> list[str]:
    given = more(run.requirement, rule)
    words = []
    if spared > run.spared:
        words.append("this run does not count")
    words.append(f"attempt {counted + 1} of {limit} follows")
    if given.memory_mb > run.requirement.memory_mb:
        words.append(f"with {given.memory_mb} MB instead of {run.requirement.memory_mb}")
    if given.walltime_s > run.requirement.walltime_s:
        words.append(f"with {given.walltime_s} s instead of {run.requirement.walltime_s}")
    if rule.smaller:
        words.append("cut in two" if run.divisible else "it cannot be cut any smaller")
    if rule.elsewhere:
        words.append("at another queue")
    return words


def more(requirement: Requirement, rule: Rule) -> Requirement:
    """The requirement as the rule raises it, in steps, so that kinds stay few."""
    return replace(
        requirement,
        memory_mb=_raised(requirement.memory_mb, rule.more_memory, MEMORY_STEP_MB),
        walltime_s=_raised(requirement.walltime_s, rule.more_walltime, WALLTIME_STEP_S),
    )


def _raised(value: int, factor: float | None, step: int) -> int:
    return value if factor is None else min(-int(-value * factor // step) * step, 2**31 - 1)


def shipped() -> str:
    """The rules that come with the package, as TOML."""
    return (files(__package__) / "rules.toml").read_text()


_RULES = Sort(
    "rule",
    Rule,
    called="rule",
    hint="write tables [rule.NAME], nothing else; a rule has: "
    + ", ".join(each for each in Rule.model_fields if each != "name"),
)


def parse(text: str, name: str) -> tuple[Rule, ...]:
    """The rules of a TOML document, in its order. Raises BadRequest naming the line, the rule and the key."""
    return tuple(_RULES.read(text, name))
