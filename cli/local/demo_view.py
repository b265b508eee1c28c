"""How the demo looks while it runs: a bar per step on a terminal, a line per change elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from prodchain.broker.client import Document
from prodchain.tasks.progress import ACTIVE

from ..options import chosen
from ..output import say
from ..values import size

Show = Callable[[list[Document], Document], None]


@contextmanager
def watching() -> Iterator[Show]:
    """A function to call with the tasks and the broker's overview as often as there is news."""
    if chosen().json or not sys.stderr.isatty():
        yield Lines().show
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TextColumn("{task.fields[said]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield Bars(progress).show


def said_of(task: Document) -> str:
    """Jobs are counted by number: a failed attempt is followed by another one of the same number."""
    good = task["jobs"].get("finished", 0)
    bad = task["jobs"].get("failed", 0)
    of = task["numbers"] if task["generated"] else "?"
    active = sum(task["jobs"].get(state, 0) for state in ACTIVE)
    text = f"{good}/{of} jobs, {task['events_done']} events"
    return text + (f", {active} running" if active else "") + (f", {bad} failed attempts" if bad else "")


def transfers_of(overview: Document) -> str:
    transfers = overview["transfers"]
    failing = f", {transfers['failing']} failing" if transfers["failing"] else ""
    moving = transfers["queued"] + transfers["active"]
    return f"{transfers['done']} files, {size(transfers['bytes_done'])} moved, {moving} on their way{failing}"


class Bars:
    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._bars: dict[int, Any] = {}
        self._transfers = progress.add_task("transfers", total=None, said="")

    def show(self, tasks: list[Document], overview: Document) -> None:
        for task in tasks:
            if task["id"] not in self._bars:
                self._bars[task["id"]] = self._progress.add_task(task["step"], total=None, said="")
            total = task["events_total"] or None
            self._progress.update(
                self._bars[task["id"]], total=total, completed=task["events_done"], said=said_of(task)
            )
        transfers = overview["transfers"]
        total = transfers["done"] + transfers["queued"] + transfers["active"]
        self._progress.update(
            self._transfers, total=total or None, completed=transfers["done"], said=transfers_of(overview)
        )


class Lines:
    """For logs and pipes: a line when the jobs of a step change."""

    def __init__(self) -> None:
        self._said: dict[int, str] = {}

    def show(self, tasks: list[Document], overview: Document) -> None:
        for task in tasks:
            line = f"{task['step']:<8} {said_of(task)}"
            if self._said.get(task["id"]) != line:
                self._said[task["id"]] = line
                say(line)
