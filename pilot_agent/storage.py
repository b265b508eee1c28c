"""Staging: inputs into the work directory, outputs to the site's storage, both verified by size and adler32."""

from __future__ import annotations

import errno
import os
import shutil
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from .errors import DiskFull, PilotError, Stopped, StorageError
from .messages import Input, Output
from .stores import Store, locate

BLOCK = 1 << 20
"""Bytes per read."""
Content = tuple[int, str]
"""Size in bytes and adler32 in eight hex digits."""


def stage_in(inputs: list[Input], work: Path, stop: threading.Event) -> int:
    """Copy all inputs into ``work`` under their LFNs, hard and verified; returns bytes. Raises StorageError."""
    needed, free = sum(wanted.bytes for wanted in inputs), shutil.disk_usage(work).free
    if needed > free:
        raise DiskFull(f"work directory disk full: the inputs need {needed} bytes, {free} are free")
    for wanted in inputs:
        target = place_of(work, wanted.lfn)
        with _in_words(f"input {wanted.lfn}", wanted.url, "work directory disk full"):
            store, path = locate(wanted.url)
            with store.read(path) as source, target.open("xb") as sink:
                content = copy(source, sink, stop)
            if content != (wanted.bytes, wanted.adler32.lower()):
                raise StorageError(
                    f"input {wanted.lfn} is damaged: {content[0]} bytes, adler32 {content[1]} "
                    f"instead of {wanted.bytes} bytes, adler32 {wanted.adler32}",
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


def _store(source: Path, wanted: Output, attempt: int, stop: threading.Event) -> Content:
    """Copy one output beside its place, then rename: a reader never sees half a file."""
    with _in_words(f"output {wanted.lfn}", wanted.url, "storage is full"):
        store, path = locate(wanted.url)
        if store.size(path) is not None:
            return _same_content(store, path, source, wanted, stop)
        part = f"{path}.part-{attempt}"
        try:
            with source.open("rb") as reader, store.write(part) as sink:
                content = copy(reader, sink, stop)
                _sync(sink)
            if store.size(part) != content[0]:
                raise StorageError(f"output {wanted.lfn} did not arrive whole", object=wanted.url)
            store.rename(part, path)
        except BaseException:
            _try_to_delete(store, part)
            raise
    return content


def _same_content(store: Store, path: str, source: Path, wanted: Output, stop: threading.Event) -> Content:
    """Accept what is stored already if it is what we have (a store whose answer was lost)."""
    with source.open("rb") as ours, store.read(path) as theirs:
        content = copy(ours, None, stop)
        if content != copy(theirs, None, stop):
            raise StorageError(
                f"output {wanted.lfn} is stored already, with other content",
                object=wanted.url,
                hint="names of outputs hold the attempt, so something else wrote this file: look who did",
            )
    return content


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


def copy(source: IO[bytes], sink: IO[bytes] | None, stop: threading.Event) -> Content:
    """Copy (or only read) a stream; raises Stopped when ``stop`` is set."""
    size, checksum = 0, 1
    while block := source.read(BLOCK):
        if stop.is_set():
            raise Stopped("copying was stopped")
        size += len(block)
        checksum = zlib.adler32(block, checksum)
        if sink is not None:
            sink.write(block)
    return size, f"{checksum:08x}"


def _sync(sink: IO[bytes]) -> None:
    sink.flush()
    try:
        descriptor = sink.fileno()
    except (AttributeError, OSError):
        return  # a remote file: its store vouches for it
    os.fsync(descriptor)


def _try_to_delete(store: Store, path: str) -> None:
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
        raise StorageError(f"{what}: {error.strerror or error} ({url})", object=url) from None
    except Exception as error:  # backends raise what they like
        raise StorageError(f"{what}: {type(error).__name__}: {error} ({url})", object=url) from None
