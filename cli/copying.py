"""Copy one file from a URL to a local path, its size and adler32 computed on the way.

Other than the catalog's own copy between storages, this one tells a bad source from a full disk here, says how far
it is, and can be stopped. ``file:`` URLs are opened directly; fsspec is imported for others only.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from zlib_ng import zlib_ng

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
        return _drain(iter(lambda: file.read(CHUNK), b""))


def local_path(url: str) -> Path | None:
    """The path that a ``file:`` URL means; None for any other."""
    parts = urlsplit(url)
    return Path(url.removeprefix("file:").removeprefix("//")) if parts.scheme == "file" else None


def download(url: str, target: Path, wanted: Content, moved: Callable[[int], None]) -> None:
    """Copy to ``target``, which appears complete and verified or not at all. ``moved`` may raise Stopped."""
    part = target.with_name(target.name + ".part")
    with _writable(part) as file:
        try:
            _check(_drain(_reads(url), _into(file, wanted.bytes, moved)), wanted)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
        try:
            part.rename(target)
        except OSError as error:
            raise BadTarget(error) from None


def _drain(chunks: Iterator[bytes], write: Callable[[bytes], None] | None = None) -> Content:
    total, checksum = 0, 1
    for chunk in chunks:
        checksum = zlib_ng.adler32(chunk, checksum)
        total += len(chunk)
        if write is not None:
            write(chunk)
    return Content(total, f"{checksum:08x}")


def _into(file: RawIOBase, most: int, moved: Callable[[int], None]) -> Callable[[bytes], None]:
    written = 0

    def write(chunk: bytes) -> None:
        nonlocal written
        written += len(chunk)
        if written > most:  # a wrong file must not fill the disk
            raise BadSource(f"expected {most} bytes, got more")
        try:
            _write_all(file, chunk)
        except OSError as error:
            raise BadTarget(error) from None
        moved(len(chunk))

    return write


def _write_all(file: RawIOBase, chunk: bytes) -> None:
    """Unbuffered, so that a full disk shows here and not when the file is closed; then a write may do a part only."""
    left = memoryview(chunk)
    while left:
        left = left[file.write(left) or 0 :]


def _reads(url: str) -> Iterator[bytes]:
    try:
        with _readable(url) as file:
            while chunk := file.read(CHUNK):
                yield chunk
    except Exception as error:  # each backend has its own kinds of failure; they all mean: not from here
        reason = getattr(error, "strerror", None) or error
        raise BadSource(f"cannot read {url}: {reason}") from None


def _readable(url: str) -> Any:
    path = local_path(url)
    if path is not None:
        return path.open("rb")
    import fsspec

    return fsspec.open(url, "rb")


@contextmanager
def _writable(part: Path) -> Iterator[RawIOBase]:
    """The file, locked: two programs that fetch the same dataset into one folder must not mix."""
    try:
        handle = os.open(part, os.O_WRONLY | os.O_CREAT, 0o666)
    except OSError as error:
        raise BadTarget(error) from None
    with os.fdopen(handle, "wb", buffering=0) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BadSource(f"another program is writing {part}") from None
        try:
            file.truncate(0)
        except OSError as error:
            raise BadTarget(error) from None
        yield file


def _check(got: Content, wanted: Content) -> None:
    if got.bytes != wanted.bytes:
        raise BadSource(f"expected {wanted.bytes} bytes, got {got.bytes}")
    if got.adler32 != wanted.adler32:
        raise BadSource(f"expected adler32 {wanted.adler32}, got {got.adler32}")
