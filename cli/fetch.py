"""Copy a dataset's files into a folder: in parallel, verified, and never twice.

A file is either complete under its name, or not there, and what came of it waits beside it. So nothing is moved
again, however the program before ended.
"""

import errno
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Protocol

from prodchain.broker.client import Client, Document

from .copying import BadSource, BadTarget, Content, Stopped, content_of, download
from .crew import Crew
from .errors import CliError, FailedWork, NotAllowed, NotFound
from .values import size

THREADS = 4
"""Files at once where nobody measures."""


@dataclass(frozen=True)
class Wish:
    """Which files of a dataset: those whose names fit ``match`` (``*``, ``?``, ``[]``), the ``first`` so many.

    ``source`` is the storage whose copies are taken; None: any, and those in folders of this machine first.
    """

    match: str = "*"
    first: int | None = None
    source: str | None = None

    def of(self, files: Iterable[Document]) -> Iterator[Document]:
        return islice((file for file in files if fnmatchcase(file["name"], self.match)), self.first)

    def copies(self, file: Document) -> list[Document]:
        """Those of the file's that may be taken, the best first."""
        wanted = [each for each in file["replicas"] if self.source in (None, each["storage"])]
        return sorted(wanted, key=lambda each: not _here(each["url"]))


def _here(url: str) -> bool:
    """Whether it is a file that this machine has."""
    return url.startswith("file:") and Path(url.removeprefix("file:")).exists()


class Progress(Protocol):
    """Told from several threads at once what happens."""

    def begin(self, files: int, bytes: int) -> None:  # noqa: A002
        """So much is wanted in all."""

    def moved(self, bytes: int) -> None:  # noqa: A002
        """Bytes more are here; fewer than none when a bad copy was thrown away."""

    def done(self, name: str) -> None:
        """A file is here and right."""


class Silent:
    """Shows nothing."""

    def begin(self, files: int, bytes: int) -> None:  # noqa: A002
        pass

    def moved(self, bytes: int) -> None:  # noqa: A002
        pass

    def done(self, name: str) -> None:
        pass


@dataclass(frozen=True)
class Failure:
    """A file that is not here: what was wrong with each replica."""

    file: str
    reason: str


@dataclass
class Summary:
    """What a fetch did. ``bytes`` are those that moved; ``present`` files were here and right before; ``resumed``
    bytes had come before of files that were not whole."""

    dataset: str
    directory: str
    files: int
    present: int = 0
    fetched: int = 0
    bytes: int = 0
    resumed: int = 0
    seconds: float = 0.0
    retried: list[Failure] = field(default_factory=list)
    """Replicas that were bad though another one was good."""
    failed: list[Failure] = field(default_factory=list)


Placed = Callable[[Document], Path]
"""Where a file is to lie below the folder."""


def by_name(file: Document) -> Path:
    return Path(file["name"])


def fetch(
    client: Client,
    did: str,
    directory: Path,
    progress: Progress | None = None,
    threads: int | None = THREADS,
    wish: Wish | None = None,
    placed: Placed = by_name,
) -> Summary:
    """Bring the dataset's files into the folder; files that could not be had are in the summary, by reason.

    ``threads`` None: as many at once as it takes to be fast.
    """
    started = time.monotonic()
    progress = progress or Silent()
    dataset = client.dataset(did)
    files = list((wish or Wish()).of(client.dataset_files(did)))
    if not files and wish is not None and dataset["files"]:
        hint = "`prodchain dataset files NAME` lists them"
        raise NotFound("no file of the dataset fits", object=f"{dataset['did']} {wish.match}", hint=hint)
    _prepare(directory, files, placed)
    progress.begin(len(files), sum(file["bytes"] for file in files))
    summary = Summary(dataset["did"], str(directory), len(files))
    _fetch_all(files, _OneFile(directory, placed, progress, wish or Wish()), summary, Crew(threads))
    summary.seconds = round(time.monotonic() - started, 3)
    return summary


def _prepare(directory: Path, files: Iterable[Document], placed: Placed) -> None:
    """Make the folder and see that it takes what will come, before the first byte moves."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        free = shutil.disk_usage(directory).free
    except OSError as error:
        raise _refused(directory, error) from None
    needed = sum(file["bytes"] - _come(directory / placed(file), file["bytes"]) for file in files)
    if needed > free:
        raise FailedWork(
            f"the files need {size(needed)}, and {size(free)} are free",
            object=str(directory),
            hint="make room, or name another folder",
        )


def _length(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _come(path: Path, whole: int) -> int:
    """Bytes of a file that need no room any more."""
    if _length(path) == whole:
        return whole
    part = _length(path.with_name(path.name + ".part")) or 0
    return part if part <= whole else 0


def _refused(directory: Path, error: OSError) -> CliError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        hint = "make room and run it again: what is here is kept"
        return FailedWork(f"no room: {error.strerror}", object=str(directory), hint=hint)
    message = f"cannot write there: {error.strerror or error}"
    return NotAllowed(message, object=str(directory), hint="name a folder that you can write to")


def _fetch_all(files: Sequence[Document], one: "_OneFile", summary: Summary, crew: "Crew[Document, _Result]") -> None:
    try:
        for result in crew.work(one.fetch, files, lambda: one.bytes):
            summary.present += result.present
            summary.fetched += result.fetched
            summary.bytes += result.bytes
            summary.resumed += result.resumed
            (summary.retried if result.here else summary.failed).extend(result.failures)
    except BadTarget as refusal:
        raise _refused(Path(summary.directory), refusal.error) from None
    finally:
        one.stop.set()
        crew.end()


@dataclass
class _Result:
    present: bool = False
    fetched: bool = False
    bytes: int = 0
    resumed: int = 0
    failures: list[Failure] = field(default_factory=list)

    @property
    def here(self) -> bool:
        return self.present or self.fetched


class _OneFile:
    """Fetches files, each with all its replicas; threads share it."""

    def __init__(self, directory: Path, placed: Placed, progress: Progress, wish: Wish) -> None:
        self.stop = threading.Event()
        self.bytes = 0
        """That have moved, in all."""
        self._directory = directory
        self._placed = placed
        self._progress = progress
        self._wish = wish

    def fetch(self, file: Document) -> _Result:
        target = self._directory / self._placed(file)
        wanted = Content(file["bytes"], file["adler32"])
        result = _Result()
        if _length(target) == wanted.bytes and content_of(target) == wanted:
            result.present = True
            self._progress.moved(wanted.bytes)
            self._progress.done(file["name"])
            return result
        target.parent.mkdir(parents=True, exist_ok=True)
        result.resumed = _come(target, wanted.bytes)
        self._progress.moved(result.resumed)
        copies = self._wish.copies(file)
        where = f" at {self._wish.source}" if self._wish.source else ""
        reasons = [] if copies else [f"there is no replica{where}"]
        for replica in copies:
            try:
                download(replica["url"], target, wanted, lambda number: self._moved(number, result))
            except BadSource as failure:
                reasons.append(f"{replica['storage']}: {failure}")
                continue
            result.fetched = True
            self._progress.done(file["name"])
            break
        if reasons:
            result.failures.append(Failure(file["name"], "; ".join(reasons)))
        return result

    def _moved(self, number: int, result: _Result) -> None:
        if self.stop.is_set():
            raise Stopped
        result.bytes += max(0, number)
        self.bytes += max(0, number)  # of one thread or another: a measure, not an account
        self._progress.moved(number)
