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
    """An event of a story and how long it lasted: None while it lasts, and for the end."""

    event: Mapping[str, Any]
    lasted_s: float | None


def steps(story: Sequence[Mapping[str, Any]]) -> list[Step]:
    """A story's events, each with the time until the next."""
    followers: list[datetime | str | None] = [*(event["at"] for event in story[1:]), None]
    return [
        Step(event, None if end is None else between(event["at"], end))
        for event, end in zip(story, followers, strict=False)
    ]


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
