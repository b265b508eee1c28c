"""Copying one file between storages so that a name at the target is a complete, verified file or nothing."""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

from zlib_ng import zlib_ng

from . import storage
from .errors import BadStorage, CatalogError, ChecksumMismatch
from .storage import BLOCK, Place, explained


def copy(source_url: str, target_url: str, bytes: int, adler32: str) -> int:  # noqa: A002
    """Copy a file of known size and checksum; the number of bytes moved, 0 if it was there already.

    Writes beside the target (``NAME.part-UUID``) and renames at the end, so that a killed copy leaves no file under
    the name. Raises FileMissing (source), ChecksumMismatch (source differs), BadStorage (full, forbidden, ...).
    """
    source, target = storage.place(source_url), storage.place(target_url)
    there = storage.size(target_url)
    if there == bytes and storage.adler32(target_url) == adler32:
        return 0
    with explained(target.url, "make the folder of"):
        target.fs.makedirs(target.folder, exist_ok=True)
    _sweep(target)
    part = target.beside(f"{Path(target.path).name}.part-{uuid4().hex}")
    try:
        _check_source(source, _stream(source, part), (bytes, adler32))
        _check_size(part, bytes)
        _publish(part, target, replace=there is not None)
    except BaseException:
        with suppress(CatalogError):  # the reason of the failure is worth more than the left-over's
            storage.delete(part.url)
        raise
    return bytes


def _stream(source: Place, part: Place) -> tuple[int, str]:
    """Copy block by block; size and checksum of what was read."""
    moved, checksum = 0, 1
    with explained(source.url, "read"):
        reader = source.fs.open(source.path, "rb")
    with reader, explained(part.url, "write"), _open(part) as writer:
        while block := _read(reader, source.url):
            checksum = zlib_ng.adler32(block, checksum)
            writer.write(block)
            moved += len(block)
        if part.local:
            writer.flush()
            os.fsync(writer.fileno())
    return moved, f"{checksum:08x}"


def _read(reader: Any, url: str) -> Any:
    with explained(url, "read"):
        return reader.read(BLOCK)


def _open(part: Place) -> IO[Any]:
    if not part.local:
        writer: IO[Any] = part.fs.open(part.path, "wb")
        return writer
    writer = Path(part.path).open("xb")  # noqa: SIM115 - the caller's with statement closes it
    fcntl.flock(writer, fcntl.LOCK_EX)  # tells _sweep that its writer lives
    return writer


def _check_source(source: Place, got: tuple[int, str], known: tuple[int, str]) -> None:
    if got != known:
        raise ChecksumMismatch(
            f"{source.url} has {got[0]} bytes and adler32 {got[1]},"
            f" the catalog knows {known[0]} bytes and adler32 {known[1]}",
            object=source.url,
            hint="this copy is damaged: delete it, another copy will be used",
        )


def _check_size(part: Place, expected: int) -> None:
    """What the target says it took: catches a backend that lost the tail without an error."""
    if (there := storage.size(part.url)) != expected:
        raise BadStorage(
            f"{part.url} took {there} of {expected} bytes", object=part.url, hint="check the storage's space and log"
        )


def _publish(part: Place, target: Place, *, replace: bool) -> None:
    with explained(target.url, "rename to"):
        if not part.local:
            if replace:  # not every protocol renames over a file that is there
                target.fs.rm_file(target.path)
            target.fs.mv(part.path, target.path)
            return
        Path(part.path).replace(target.path)
        folder = os.open(target.folder, os.O_RDONLY)  # the name itself must survive a power cut too
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _sweep(target: Place) -> None:
    """Delete what killed copies to the same target left behind; a living one keeps its part locked."""
    if not target.local:
        return
    for left in Path(target.folder).glob(f"{Path(target.path).name}.part-*"):
        with suppress(OSError), left.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()
