"""What templates draw: bars as shares of a width, stories as steps with their times.

Widths are numbers for SVG attributes: the content security policy forbids style attributes.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from .formats import between

WIDTH = 1000
"""Units across a bar; its SVG stretches them to the width on the page."""

ORDER = (
    *("finished", "transferring", "holding", "running", "starting", "sent"),
    *("activated", "assigned", "defined", "failed", "cancelled", "closed"),
)


class Segment(NamedTuple):
    """A part of a bar: from ``x``, ``width`` wide."""

    state: str
    amount: float
    x: float
    width: float


def segments(counts: Mapping[str, float]) -> list[Segment]:
    """The bar of a number of things by state; what is done comes first, what failed last."""
    known = [state for state in ORDER if counts.get(state)]
    states = known + sorted(state for state in counts if counts[state] and state not in ORDER)
    total = sum(counts[state] for state in states)
    found: list[Segment] = []
    at = 0.0
    for state in states:
        width = WIDTH * counts[state] / total
        found.append(Segment(state, counts[state], round(at, 2), round(width, 2)))
        at += width
    return found


def runs(tasks: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Tasks by the run that submitted them, in the order of its steps; the run with the newest task first."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for task in sorted(tasks, key=lambda task: -task["id"]):
        found.setdefault(task["run"] or "", []).insert(0, task)
    return found


class Step(NamedTuple):
    """An event or order of a story, and how long the state lasted: None while it lasts, and for orders."""

    event: Mapping[str, Any]
    lasted_s: float | None


def steps(story: Sequence[Mapping[str, Any]]) -> list[Step]:
    """A story's events, each with the time until the next state."""
    found: list[Step] = []
    following: datetime | str | None = None
    for event in reversed(story):
        found.append(Step(event, between(event["at"], following) if event["state"] and following else None))
        following = event["at"] if event["state"] else following
    return found[::-1]


class Refused(NamedTuple):
    """Queues that fail the same criteria, and what the first of them fails, in words."""

    criteria: str
    verdicts: list[Mapping[str, Any]]
    words: str


def refused(verdicts: Sequence[Mapping[str, Any]]) -> list[Refused]:
    """Verdicts that did not pass, by what they failed: the fewest failures first, then the largest groups."""
    found: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for verdict in verdicts:
        if not verdict["passed"]:
            failures = verdict.get("failures") or [verdict]
            found.setdefault(tuple(failure["criterion"] for failure in failures), []).append(verdict)
    ordered = sorted(found.items(), key=lambda item: (len(item[0]), -len(item[1]), item[0]))
    return [Refused(", ".join(criteria), group, group[0]["reason"]) for criteria, group in ordered]


def changed(changes: Mapping[str, Any]) -> str:
    """What an order changed: each field, before and after."""
    parts = []
    for name, change in changes.items():
        both = isinstance(change, list | tuple) and len(change) == 2
        parts.append(f"{name}: {_plain(change[0])} → {_plain(change[1])}" if both else f"{name}: {_plain(change)}")
    return "; ".join(parts)


def _plain(value: Any) -> str:
    """A value of a document without the marks of a program: a dash for nothing."""
    if value in (None, "", [], {}):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} = {_plain(each)}" for key, each in value.items())
    return ", ".join(map(_plain, value)) if isinstance(value, list) else str(value)


def timeline(story: Sequence[Mapping[str, Any]]) -> list[Segment]:
    """The bar of a story: one segment per step that is over, as wide as it took."""
    over = [(step.event["state"], step.lasted_s) for step in steps(story) if step.lasted_s]
    total = sum(lasted for _, lasted in over)
    found: list[Segment] = []
    at = 0.0
    for state, lasted in over:
        width = WIDTH * lasted / total
        found.append(Segment(state, lasted, round(at, 2), round(width, 2)))
        at += width
    return found
