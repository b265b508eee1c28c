"""Progress bars with bytes, rate and time left: on a terminal only, never in a pipe."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .fetch import Progress, Silent
from .options import chosen


class _Bar:
    def __init__(self, bar: Any) -> None:
        self._bar = bar
        self._task = bar.add_task("", total=None, files=0, of="?")
        self._files = 0

    def begin(self, files: int, bytes: int) -> None:  # noqa: A002
        self._bar.update(self._task, total=bytes, of=files)

    def moved(self, bytes: int) -> None:  # noqa: A002
        self._bar.advance(self._task, bytes)

    def done(self, name: str) -> None:
        self._files += 1
        self._bar.update(self._task, files=self._files)


@contextmanager
def bar() -> Iterator[Progress]:
    if chosen().json or not sys.stderr.isatty():
        yield Silent()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.fields[files]}/{task.fields[of]} files"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        yield _Bar(bars)
