"""Copy a dataset's files into a folder: in parallel, verified, and never twice.

A file is either complete under its name, or not there. So what is there and right need not be moved again,
however the program before ended.
"""

import errno
import os
import shutil
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from prodchain.broker.client import Client, Document

from .copying import BadSource, BadTarget, Content, Stopped, content_of, download
from .errors import CliError, FailedWork, NotAllowed
from .values import size

THREADS = 4


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
    """What a fetch did. ``bytes`` are those that moved; ``present`` files were here and right before."""

    dataset: str
    directory: str
    files: int
    present: int = 0
    fetched: int = 0
    bytes: int = 0
    seconds: float = 0.0
    retried: list[Failure] = field(default_factory=list)
    """Replicas that were bad though another one was good."""
    failed: list[Failure] = field(default_factory=list)


def fetch(
    client: Client, did: str, directory: Path, progress: Progress | None = None, threads: int = THREADS
) -> Summary:
    """Bring the dataset's files into the folder; files that could not be had are in the summary, by reason."""
    started = time.monotonic()
    progress = progress or Silent()
    dataset = client.dataset(did)
    files = list(client.dataset_files(did))
    _prepare(directory, files)
    progress.begin(len(files), sum(file["bytes"] for file in files))
    summary = Summary(dataset["did"], str(directory), len(files))
    _fetch_all(files, directory, progress, summary, threads)
    summary.seconds = round(time.monotonic() - started, 3)
    return summary


def _prepare(directory: Path, files: Iterable[Document]) -> None:
    """Make the folder and see that it takes what will come, before the first byte moves."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        free = shutil.disk_usage(directory).free
    except OSError as error:
        raise _refused(directory, error) from None
    needed = sum(file["bytes"] for file in files if _length(directory / file["name"]) != file["bytes"])
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


def _refused(directory: Path, error: OSError) -> CliError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        hint = "make room and run it again: what is here is kept"
        return FailedWork(f"no room: {error.strerror}", object=str(directory), hint=hint)
    message = f"cannot write there: {error.strerror or error}"
    return NotAllowed(message, object=str(directory), hint="name a folder that you can write to")


def _fetch_all(
    files: Sequence[Document], directory: Path, progress: Progress, summary: Summary, threads: int
) -> None:
    one = _OneFile(directory, progress)
    pool = ThreadPoolExecutor(threads)
    try:
        for future in as_completed([pool.submit(one.fetch, file) for file in files]):
            result = future.result()
            summary.present += result.present
            summary.fetched += result.fetched
            summary.bytes += result.bytes
            (summary.retried if result.here else summary.failed).extend(result.failures)
    except BadTarget as refusal:
        raise _refused(directory, refusal.error) from None
    finally:
        one.stop.set()
        pool.shutdown(cancel_futures=True)


@dataclass
class _Result:
    present: bool = False
    fetched: bool = False
    bytes: int = 0
    failures: list[Failure] = field(default_factory=list)

    @property
    def here(self) -> bool:
        return self.present or self.fetched


class _OneFile:
    """Fetches files, each with all its replicas; threads share it."""

    def __init__(self, directory: Path, progress: Progress) -> None:
        self.stop = threading.Event()
        self._directory = directory
        self._progress = progress

    def fetch(self, file: Document) -> _Result:
        target = self._directory / file["name"]
        wanted = Content(file["bytes"], file["adler32"])
        result = _Result()
        if _length(target) == wanted.bytes and content_of(target) == wanted:
            result.present = True
            self._progress.moved(wanted.bytes)
            self._progress.done(file["name"])
            return result
        reasons = [] if file["replicas"] else ["there is no replica"]
        for replica in file["replicas"]:
            try:
                self._download(replica["url"], target, wanted)
            except BadSource as failure:
                reasons.append(f"{replica['storage']}: {failure}")
                continue
            result.fetched, result.bytes = True, wanted.bytes
            self._progress.done(file["name"])
            break
        if reasons:
            result.failures.append(Failure(file["name"], "; ".join(reasons)))
        return result

    def _download(self, url: str, target: Path, wanted: Content) -> None:
        so_far = 0

        def moved(number: int) -> None:
            nonlocal so_far
            if self.stop.is_set():
                raise Stopped
            so_far += number
            self._progress.moved(number)

        try:
            download(url, target, wanted, moved)
        except BadSource:
            self._progress.moved(-so_far)
            raise
