"""Staging: inputs into the work directory, outputs to the site's storage, both verified by size and adler32."""

from __future__ import annotations

import errno
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import DiskFull, PilotError, StorageError
from .messages import Input, Output
from .store import Content, Sink, Source, Store, Tally, stoppable
from .stores import locate

AFTERWARDS_S = (0.0, 0.05, 0.25, 0.7)
"""When to look for what broke off."""


def stage_in(inputs: list[Input], work: Path, stop: threading.Event) -> int:
    """Copy all inputs into ``work`` under their LFNs, hard and verified; returns bytes. Raises StorageError."""
    needed, free = sum(wanted.bytes for wanted in inputs), shutil.disk_usage(work).free
    if needed > free:
        raise DiskFull(f"work directory disk full: the inputs need {needed} bytes, {free} are free")
    for wanted in inputs:
        target = place_of(work, wanted.lfn)
        with _in_words(f"input {wanted.lfn}", wanted.url, "work directory disk full"):
            store, path = locate(wanted.url)
            tally, right = Tally(stop), (wanted.bytes, wanted.adler32.lower())
            with _written(target, tally) as sink, stoppable(store, stop):
                store.get(path, sink)
            if tally.content != right:
                raise StorageError(
                    f"input {wanted.lfn} is damaged: {_words(tally.content)} instead of {_words(right)}",
                    object=wanted.url,
                    hint="the copy at this storage is bad: delete it there, so that it is copied anew",
                )
    return needed


def stage_out(outputs: list[Output], work: Path, attempt: int, stop: threading.Event) -> list[Content]:
    """Store all outputs at their URLs, or none; returns their contents in order. Raises StorageError."""
    for wanted in outputs:
        if not place_of(work, wanted.lfn).is_file():
            raise StorageError(f"output {wanted.lfn} is missing", object=wanted.lfn)
    contents: list[Content] = []
    try:
        for wanted in outputs:
            contents.append(_store(place_of(work, wanted.lfn), wanted, attempt, stop))  # noqa: PERF401 - partial
    except BaseException:
        delete(outputs[: len(contents)])
        raise
    return contents


def _store(file: Path, wanted: Output, attempt: int, stop: threading.Event) -> Content:
    """Store one output under another name, verify it there, then rename: a reader never sees half a file."""
    with _in_words(f"output {wanted.lfn}", wanted.url, "storage is full"):
        store, path = locate(wanted.url)
        source, begun = Source(file, stop), list[str]()
        part = f"{path}.part-{attempt}" if store.renames else path
        try:
            with stoppable(store, stop):
                if store.size(path) is not None:
                    return _same_content(store, path, source, wanted, stop)
                begun.append(part)
                store.put(part, source)
                if (there := _stored(store, part, source.size, stop)) != source.content:
                    raise StorageError(
                        f"output {wanted.lfn} is damaged at the storage: "
                        f"{_words(there)} instead of {_words(source.content)}",
                        object=wanted.url,
                        hint="look whether the storage is full, and at its log",
                    )
                if store.renames:
                    begun.append(path)
                    store.rename(part, path)
                    if store.size(path) != source.size:
                        raise StorageError(f"output {wanted.lfn} did not get its name", object=wanted.url)
        except BaseException:
            for left in begun:
                _clean(store, left)
            raise
    return source.content


def _stored(store: Store, path: str, expected: int, stop: threading.Event) -> Content:
    """What lies at the storage: as its server sums it up, else read back."""
    size = store.size(path) or 0
    adler32 = store.adler32(path) if size == expected else "not looked at"
    if adler32 is not None:
        return size, adler32
    tally = Tally(stop)
    store.get(path, tally.add)
    return tally.content


def _same_content(store: Store, path: str, source: Source, wanted: Output, stop: threading.Event) -> Content:
    """Accept what is stored already if it is what we have (a store whose answer was lost)."""
    for _ in source.blocks():
        pass
    if source.content != _stored(store, path, source.size, stop):
        raise StorageError(
            f"output {wanted.lfn} is stored already, with other content",
            object=wanted.url,
            hint="names of outputs hold the attempt, so something else wrote this file: look who did",
        )
    return source.content


def delete(outputs: list[Output]) -> list[str]:
    """Delete stored outputs; returns what went wrong, since there is nobody else to help."""
    errors = []
    for output in outputs:
        try:
            with _in_words(f"output {output.lfn}", output.url, "storage is full"):
                store, path = locate(output.url)
                store.delete(path)
        except StorageError as error:
            errors.append(str(error))
    return errors


def place_of(work: Path, lfn: str) -> Path:
    """Where a file of this LFN lies in the work directory; refuses names that lead out of it."""
    if lfn in ("", ".", "..") or "/" in lfn or "\0" in lfn:
        raise StorageError(f"{lfn!r} is no file name", object=lfn)
    return work / lfn


@contextmanager
def _written(target: Path, tally: Tally) -> Iterator[Sink]:
    """Takes the blocks of a new file of the work directory; what goes wrong with that is not the storage's."""
    with target.open("xb") as file:

        def take(block: bytes) -> None:
            tally.add(block)
            with _in_words(target.name, str(target), "work directory disk full"):
                file.write(block)
                file.flush()

        yield take


def _words(content: Content) -> str:
    return f"{content[0]} bytes, adler32 {content[1]}"


def _clean(store: Store, path: str) -> None:
    """Delete what broke off."""
    for pause_s in AFTERWARDS_S if store.late else AFTERWARDS_S[:1]:
        time.sleep(pause_s)
        with suppress(Exception):  # the error that brought us here is the one to tell
            store.delete(path)


@contextmanager
def _in_words(what: str, url: str, full: str) -> Iterator[None]:
    """Turn whatever a file system or backend raises into a StorageError that names the file."""
    try:
        yield
    except PilotError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"{full}: no room for {what}", object=url, hint="free some space there") from None
        hint = "was it deleted at the storage?" if isinstance(error, FileNotFoundError) else ""
        raise StorageError(f"{what}: {error.strerror or error} ({url})", object=url, hint=hint) from None
    except Exception as error:  # backends raise what they like
        raise StorageError(f"{what}: {type(error).__name__}: {error} ({url})", object=url) from None
