"""Copies and runs of jobs over time, as bars of a chart: who waited for what, and how much went on at once. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from .formats import duration, moment

WIDTH = 1000
LEAST = 3
"""Units that a bar has at least, so that it can be seen."""
RUNS = ("sent", "starting", "running", "holding")
COPIES = ("copy", "transferring")
NAMES = {"copy": "input copied", "transferring": "output copied"}


class Bar(NamedTuple):
    """A span of a row; copies are drawn in the upper lane, states in the lower one."""

    what: str
    copy: bool
    x: float
    width: float
    words: str


class Row(NamedTuple):
    job: Mapping[str, Any]
    bars: list[Bar]
    words: str
    """The same in a sentence."""


class Chart(NamedTuple):
    rows: list[Row]
    start: datetime
    end: datetime
    running_s: float
    copying_s: float
    both_s: float
    """How long something was copied while something ran."""


Span = tuple[datetime, datetime]


def chart(jobs: Sequence[Mapping[str, Any]], now: datetime | None = None) -> Chart | None:
    """The chart of what task_spans says; what goes on lasts until ``now``. None if nothing ran and nothing moved."""
    until = now or datetime.now(UTC)
    busy = [(_span(span, until), span["what"]) for job in jobs for span in job["spans"]]
    runs = [span for span, what in busy if what in RUNS]
    copies = [span for span, what in busy if what in COPIES]
    if not runs and not copies:
        return None
    start, end = min(begin for begin, _ in runs + copies), max(end for _, end in runs + copies)
    end = max(end, start + timedelta(milliseconds=1))
    return Chart(
        [_row(job, start, end, until) for job in jobs],
        start,
        end,
        length(union(runs)),
        length(union(copies)),
        length(common(union(runs), union(copies))),
    )


def _span(span: Mapping[str, Any], now: datetime) -> Span:
    begin = moment(span["from"])
    return begin, max(begin, now if span["until"] is None else moment(span["until"]))


def _row(job: Mapping[str, Any], start: datetime, end: datetime, now: datetime) -> Row:
    """What was before the chart begins is cut off: a job may have waited for long."""
    bars, words = [], []
    for span in job["spans"]:
        begin, last = _span(span, now)
        if last < start or begin > end:
            continue
        begin, last = max(begin, start), min(last, end)
        said = f"{NAMES.get(span['what'], span['what'])} {duration((last - begin).total_seconds())}"
        words.append(said)
        x = min(_at(begin, start, end), WIDTH - LEAST)
        width = max(LEAST, round(_at(last, start, end) - x, 1))
        title = f"{said}: {span['words']}" if span["words"] else said
        bars.append(Bar(span["what"], span["what"] == "copy", round(x, 1), width, title))
    return Row(job, bars, ", ".join(words))


def _at(time: datetime, start: datetime, end: datetime) -> float:
    return WIDTH * ((time - start) / (end - start))


def union(spans: Sequence[Span]) -> list[Span]:
    """The same times without overlaps, in order."""
    found: list[Span] = []
    for begin, end in sorted(spans):
        if found and begin <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((begin, end))
    return found


def common(some: Sequence[Span], others: Sequence[Span]) -> list[Span]:
    """The times that are in both."""
    pairs = ((max(a, c), min(b, d)) for a, b in some for c, d in others)
    return [(begin, end) for begin, end in pairs if begin < end]


def length(spans: Sequence[Span]) -> float:
    return sum((end - begin).total_seconds() for begin, end in spans)
