"""How a queue does, judged by the outcomes of its latest runs: good, drained, or probing. Pure.

A queue is drained when most of its latest runs failed and the failures are the queue's: the same tasks do well
elsewhere, or several tasks fail there, or the rules for failed jobs blame the queue. What a task does at all queues
counts against none of them. After a pause one job, the canary, tries the queue out; each drain and each canary that
fails doubles the pause, until the queue has done well for long, so that one that comes and goes stays away longer.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from .models import Health

EVER = datetime.min.replace(tzinfo=UTC)
Others: TypeAlias = Mapping[int, Sequence[tuple[int, int]]]
"""By task: how many of its runs succeeded and failed at each other queue."""


@dataclass(frozen=True)
class Limits:
    """When a queue is drained and when it comes back; between the two it stays what it is."""

    newest: int = 50
    """Ends that count, at most."""
    window: timedelta = timedelta(hours=6)
    """How old they may be."""
    runs: int = 10
    drain: float = 0.6
    """A queue is drained when more than this part of at least so many runs failed."""
    several: int = 3
    """Tasks that fail there and are not known elsewhere: so many are not to blame themselves."""
    known: int = 3
    """Ends of a task at another queue, from which on it is known there."""
    well: float = 0.7
    """The part of its runs that must have succeeded there for it to do well."""
    pause: timedelta = timedelta(minutes=5)
    pause_most: timedelta = timedelta(hours=2)
    calm: timedelta = timedelta(hours=4)
    """After so long in good health all strikes are forgotten; longer than any pause."""


@dataclass(frozen=True)
class End:
    """How a run ended; ``kind`` is its error without what differs from job to job."""

    task: int
    failed: bool
    at: datetime
    error: str = ""
    kind: str = ""
    blames: bool = False
    """A rule says of such errors that the work should go elsewhere."""
    job: int = 0


@dataclass(frozen=True)
class Canary:
    """The task that tries the queue out: over or not, and how."""

    over: bool = False
    succeeded: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Standing:
    """A queue's health since when and why; ``strikes`` double the pause, ``next_at`` is when a canary is due."""

    health: Health = Health.GOOD
    reason: str = ""
    since: datetime = EVER
    strikes: int = 0
    next_at: datetime | None = None


@dataclass(frozen=True)
class Tally:
    """The runs that say something of the queue: how many there were, and the failures among them."""

    runs: int
    failures: tuple[End, ...]

    @property
    def rate(self) -> float:
        return len(self.failures) / self.runs if self.runs else 0.0


def weigh(ends: Sequence[End], others: Others, limits: Limits) -> Tally:
    """The failures that are the queue's, and all successes."""
    shares = {task: _best(found, limits) for task, found in others.items()}
    strangers = {end.task for end in ends if end.failed and shares.get(end.task) is None}
    several = len(strangers) >= limits.several

    def is_its(end: End) -> bool:
        share = shares.get(end.task)
        return end.blames or several if share is None else share >= limits.well

    failures = tuple(end for end in ends if end.failed and is_its(end))
    return Tally(len(failures) + sum(not end.failed for end in ends), failures)


def _best(found: Sequence[tuple[int, int]], limits: Limits) -> float | None:
    """How the task does where it does best; none: it is not known anywhere."""
    shares = [good / (good + bad) for good, bad in found if good + bad >= limits.known]
    return max(shares, default=None)


def look(standing: Standing, tally: Tally, canary: Canary | None, now: datetime, limits: Limits) -> Standing:
    """The standing that follows from what ran there since the last change; the same if nothing does.

    Only a canary brings a queue back: runs that end well while it is drained began before the trouble.
    """
    if standing.health is Health.GOOD:
        if tally.runs >= limits.runs and tally.rate > limits.drain:
            return _drained(standing, words(tally), now, limits)
        if standing.strikes and now - standing.since >= limits.calm:
            return replace(standing, strikes=0)
        return standing
    if canary is not None and canary.over and canary.succeeded:
        return _good(standing, f"its canary succeeded: {canary.reason}", now)
    if canary is not None and canary.over:
        return _drained(standing, f"its canary failed: {canary.reason}", now, limits)
    if standing.health is Health.DRAINED and (standing.next_at or now) <= now:
        return replace(standing, health=Health.PROBING, since=now, next_at=None)
    return standing


def words(tally: Tally) -> str:
    """What went wrong, with the commonest error in its newest form."""
    kind, number = Counter(end.kind for end in tally.failures).most_common(1)[0]
    newest = max((end for end in tally.failures if end.kind == kind), key=lambda end: end.at)
    error = newest.error.splitlines()[0][:200] if newest.error else "no reason given"
    part = "all" if number == len(tally.failures) else str(number)
    return f"{len(tally.failures)} of the last {tally.runs} runs failed, {part} with '{error}'"


def pause(strikes: int, limits: Limits) -> timedelta:
    """How long to wait for the next canary after so many strikes."""
    doubled = limits.pause * float(2 ** min(max(strikes - 1, 0), 30))
    return min(doubled, limits.pause_most)


def _drained(standing: Standing, reason: str, now: datetime, limits: Limits) -> Standing:
    strikes = standing.strikes + 1
    return Standing(Health.DRAINED, reason, now, strikes, now + pause(strikes, limits))


def _good(standing: Standing, reason: str, now: datetime) -> Standing:
    return Standing(Health.GOOD, reason, now, standing.strikes)
