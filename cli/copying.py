"""Copy one file from a URL to a local path, its size and adler32 computed on the way; broken off, it goes on later.

What has come lies in ``NAME.part`` until the whole file is right. Other than the catalog's own copy between storages,
this one tells a bad source from a full disk here, and never moves a byte twice.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedIOBase, FileIO, RawIOBase
from pathlib import Path
from typing import NamedTuple

from zlib_ng import zlib_ng

from prodchain.catalog.backends import place
from prodchain.catalog.errors import CatalogError

CHUNK = 4_000_000


class Content(NamedTuple):
    """What a file is, whatever its name."""

    bytes: int
    adler32: str
    """Eight hex digits."""


class BadSource(Exception):
    """This copy cannot be read, or is not what it should be; another one may."""


class BadTarget(Exception):
    """Nothing more can be written there: what failed, as an OSError."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror or str(error))
        self.error = error


class Stopped(Exception):
    """Somebody asked to stop."""


def content_of(path: Path) -> Content:
    with path.open("rb") as file:
        return _sum(file)


def download(url: str, target: Path, wanted: Content, moved: Callable[[int], None]) -> None:
    """Copy to ``target``, which appears complete and verified or not at all. ``moved`` may raise Stopped.

    Goes on where an earlier call ended, from whatever copy that was. ``moved`` is told bytes as they come, and fewer
    than none for those that are thrown away.
    """
    with _part(target) as part:
        there = _sum(part) if os.fstat(part.fileno()).st_size <= wanted.bytes else Content(0, "")
        got = _continue(url, part, there, wanted, moved)
        if got.bytes < wanted.bytes:  # another copy may go on from here
            raise BadSource(_difference(got, wanted))
        if got != wanted and there.bytes:  # it may be what was there that is wrong
            moved(-(got.bytes - there.bytes))
            got = _continue(url, part, Content(0, ""), wanted, moved)
        if got != wanted:
            part.truncate(0)  # nothing in it is worth going on from
            raise BadSource(_difference(got, wanted))
        try:
            Path(part.name).rename(target)
        except OSError as error:
            raise BadTarget(error) from None


def _continue(url: str, part: FileIO, there: Content, wanted: Content, moved: Callable[[int], None]) -> Content:
    """What is in the part afterwards: what was there, and what the source has beyond."""
    try:
        part.seek(there.bytes)
        part.truncate()
    except OSError as error:
        raise BadTarget(error) from None
    total, checksum = there.bytes, int(there.adler32, 16) if there.bytes else 1
    if total == wanted.bytes and total:
        return there
    for block in _blocks(url, total):
        total += len(block)
        if total > wanted.bytes:  # a wrong file must not fill the disk
            return Content(total, "unread")
        checksum = zlib_ng.adler32(block, checksum)
        _write(part, block)
        moved(len(block))
    return Content(total, f"{checksum:08x}")


def _blocks(url: str, start: int) -> Iterator[bytes]:
    try:
        at = place(url)
        yield from at.backend.read(at.path, start)
    except CatalogError as error:
        raise BadSource(str(error)) from None
    except Exception as error:  # whatever a backend raises means: not from here
        raise BadSource(f"cannot read {url}: {error}") from None


def _write(part: FileIO, block: bytes) -> None:
    """Unbuffered, so that a full disk shows here and not when the file is closed; a write may do a part only."""
    left = memoryview(block)
    try:
        while left:
            left = left[part.write(left) or 0 :]
    except OSError as error:
        raise BadTarget(error) from None


def _sum(file: RawIOBase | BufferedIOBase) -> Content:
    total, checksum = 0, 1
    while chunk := file.read(CHUNK):
        checksum = zlib_ng.adler32(chunk, checksum)
        total += len(chunk)
    return Content(total, f"{checksum:08x}")


@contextmanager
def _part(target: Path) -> Iterator[FileIO]:
    """What has come, locked: two programs that fetch the same dataset into one folder must not mix."""
    path = target.with_name(target.name + ".part")
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise BadTarget(error) from None
    with FileIO(handle, "r+") as file:
        file.name = str(path)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadSource(f"another program is writing {path}") from None
        try:
            yield file
        finally:
            if os.fstat(handle).st_size == 0:
                path.unlink(missing_ok=True)


def _difference(got: Content, wanted: Content) -> str:
    if got.bytes != wanted.bytes:
        return f"expected {wanted.bytes} bytes, got {got.bytes if got.bytes < wanted.bytes else 'more'}"
    return f"expected adler32 {wanted.adler32}, got {got.adler32}"
