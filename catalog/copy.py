"""Copying one file between storages so that a name at the target is a complete, verified file or nothing.

The way is the cheapest that both ends know; whichever it was, size and digest are checked at the target. A file is
written as ``NAME.part-UUID`` and renamed, where the protocol renames: a killed copy leaves no file under the name.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeAlias
from uuid import uuid4

from zlib_ng import zlib_ng

from . import storage
from .backends import Place, place
from .backends.base import Told
from .backends.local import Local, explained, make_folder
from .errors import BadStorage, CatalogError, ChecksumMismatch, FileMissing, StorageFull

Block: TypeAlias = bytes


class Side(StrEnum):
    """Which end a failure belongs to."""

    SOURCE = "source"
    TARGET = "target"
    UNKNOWN = "unknown"


class Method(StrEnum):
    """How a copy was made."""

    THERE = "there"
    """It was there already."""
    LINK = "link"
    """A second name of the same blocks (hard link)."""
    LOCAL = "local"
    """In the kernel, or by shared blocks where the file system has them (clone, copy_file_range)."""
    SERVER = "server"
    THIRD_PARTY = "third-party"
    GET = "get"
    PUT = "put"
    STREAM = "stream"


@dataclass(frozen=True)
class Outcome:
    """What became of a copy. ``bytes`` moved, in ``seconds``; ``note`` says which cheaper way did not go."""

    method: Method
    bytes: int
    seconds: float
    error: CatalogError | None = None
    side: Side = Side.UNKNOWN
    note: str | None = None


def copy(source_url: str, target_url: str, bytes: int, adler32: str, told: Told | None = None) -> Outcome:  # noqa: A002
    """Copy a file of known size and checksum, unless it is there; what was left behind by killed copies is deleted.

    Raises FileMissing (source), ChecksumMismatch, BadStorage and its kinds (full, denied, silent).
    """
    outcome = attempt(source_url, target_url, bytes, adler32, told=told)
    if outcome.error is not None:
        raise outcome.error
    return outcome


def attempt(
    source_url: str,
    target_url: str,
    bytes: int,  # noqa: A002
    adler32: str,
    *,
    told: Told | None = None,
    first: bool = False,
    links: bool = False,
) -> Outcome:
    """The same, with the error as a value and the side that it belongs to.

    ``first``: nobody tried before, so nothing is looked for at the target. ``links``: both storages allow that the
    copy is a second name of the same blocks. That must be declared: such a copy is lost together with its original
    when the disk damages it, so it serves as a way to move data within one system, not as a second copy. ``told`` may
    raise to stop the copy; what it raises comes out.
    """
    began = time.monotonic()
    source, target = place(source_url), place(target_url)
    work = _Copy(source, target, bytes, adler32, told or (lambda _: None), links)
    try:
        if not first and work.is_there():
            return Outcome(Method.THERE, 0, time.monotonic() - began)
        method = work.run(first)
    except CatalogError as error:
        if work.side == Side.TARGET and isinstance(error, FileMissing) and _quietly(work.is_there):
            return Outcome(Method.THERE, 0, time.monotonic() - began)  # another copy was faster, and swept up
        if isinstance(error, FileMissing) and work.side == Side.UNKNOWN:
            work.side = Side.SOURCE  # a target's folders are made: only a source can be missing
        return Outcome(work.method, 0, time.monotonic() - began, error, work.side, work.note)
    return Outcome(method, bytes, time.monotonic() - began, note=work.note)


@dataclass
class _Copy:
    """One copy under way; ``side`` is the end that has to do its part now."""

    source: Place
    target: Place
    bytes: int
    adler32: str
    told: Told
    links: bool
    side: Side = Side.UNKNOWN
    method: Method = Method.STREAM
    note: str | None = None
    part: str = field(init=False)

    def __post_init__(self) -> None:
        renames = self.target.backend.renames
        self.part = f"{self.target.path}.part-{uuid4().hex}" if renames else self.target.path

    def is_there(self) -> bool:
        """Whether the target has the right file already."""
        self.side = Side.TARGET
        if self.target.backend.size(self.target.path) != self.bytes:
            return False
        return storage.adler32(self.target.url) == self.adler32

    def run(self, first: bool) -> Method:
        local = isinstance(self.target.backend, Local)
        if not first and local:
            _sweep_local(Path(self.target.path))
        try:
            if not first and self.part == self.target.path:
                self.target.backend.delete(self.target.path)  # wrong, or it would be there
            self._transfer()
            self.side = Side.TARGET
            if self.part != self.target.path:
                self.target.backend.rename(self.part, self.target.path)
        except BaseException as error:
            with suppress(CatalogError):  # the reason of the failure is worth more than the left-over's
                self.target.backend.delete(self.part)
            if isinstance(error, StorageFull) and not local:
                _quietly(self._sweep)
            raise
        if not first and not local:
            _quietly(self._sweep)
        return self.method

    def _transfer(self) -> None:
        """Write the part by the first way that goes, and verify it."""
        for method, way in self._ways():
            self.method, self.side = method, Side.UNKNOWN
            try:
                digest = way()
            except (StorageFull, FileMissing, ChecksumMismatch):
                raise
            except CatalogError as error:
                if method not in (Method.SERVER, Method.THIRD_PARTY):
                    raise
                # The two servers may not reach or trust each other; both trust this machine.
                self.note = f"{method} failed: {error}"
                self.target.backend.delete(self.part)
                continue
            if digest is not None:
                self._verify(digest)
                return
        raise AssertionError("a stream always goes")  # pragma: no cover

    def _ways(self) -> Iterable[tuple[Method, Callable[[], str | None]]]:
        """Ways from the cheapest on. Each gives a digest of what it saw, '' if it saw nothing, None if it cannot."""
        source, target = self.source.backend, self.target.backend
        if isinstance(source, Local) and isinstance(target, Local):
            if self.links:
                yield Method.LINK, self._link
            yield Method.LOCAL, self._put
            return
        if source.url == target.url:
            yield Method.SERVER, self._on_server
        elif source.third_party is not None and source.third_party == target.third_party:
            yield Method.THIRD_PARTY, self._pull
        if isinstance(target, Local):
            yield Method.GET, self._get
        elif isinstance(source, Local):
            yield Method.PUT, self._put
        yield Method.STREAM, self._stream

    def _link(self) -> str | None:
        make_folder(Path(self.part).parent)
        try:
            with explained(self.part, "write"):
                os.link(self.source.path, self.part)
        except BadStorage:  # another file system, or one without links
            return None
        return storage.read_back(f"file:{self.part}")[1]

    def _on_server(self) -> str | None:
        return "" if self.target.backend.copy(self.source.path, self.part) else None

    def _pull(self) -> str | None:
        return "" if self.target.backend.pull(self.source.url, self.part, self.bytes) else None

    def _get(self) -> str:
        path = Path(self.part)
        make_folder(path.parent)
        return self._blamed(
            lambda: self.source.backend.get(self.source.path, path, self.told), self.part, Side.SOURCE
        )

    def _put(self) -> str:
        path = Path(self.source.path)
        return self._blamed(lambda: self.target.backend.put(path, self.part, self.told), str(path), Side.TARGET)

    def _blamed(self, way: Callable[[], str], local: str, remote: Side) -> str:
        """Errors of the two ends of a ``get`` or ``put``: the local one is known by its path."""
        other = Side.TARGET if remote == Side.SOURCE else Side.SOURCE
        try:
            return way()
        except CatalogError as error:
            self.side = other if error.object.removeprefix("file://") == local else remote
            raise

    def _stream(self) -> str:
        self.side = Side.TARGET
        blocks = self._blocks()
        self.target.backend.write(self.part, blocks, self.bytes)
        return self.adler32  # _blocks saw to it

    def _blocks(self) -> Iterator[Block]:
        """The source, summed up; a wrong one ends the write before it is complete."""
        moved, checksum = 0, 1
        reader = self.source.backend.read(self.source.path)
        while True:
            self.side = Side.SOURCE
            block = next(reader, None)
            if block is None:
                break
            self.side = Side.TARGET
            moved += len(block)
            checksum = zlib_ng.adler32(block, checksum)
            self.told(len(block))
            yield block
        if (moved, f"{checksum:08x}") != (self.bytes, self.adler32):
            raise self._damaged(moved, f"{checksum:08x}")
        self.side = Side.TARGET

    def _verify(self, read: str) -> None:
        """Compare what arrived, and find out which end is wrong. ``read``: the sum of what was read, '' unknown."""
        if read not in ("", self.adler32) and self.method != Method.LOCAL:
            self.side = Side.SOURCE
            raise self._damaged(None, read)
        self.side = Side.TARGET
        there = self.target.backend.size(self.part)
        if there is None:
            raise FileMissing(
                f"{self.target.url} was stored with success, and is not there",
                object=self.target.url,
                hint="the storage loses what it takes, or somebody deletes it there",
            )
        digest: str | None = read
        if there == self.bytes and self.method not in (Method.GET, Method.LOCAL, Method.LINK):
            digest = self.target.backend.digest(self.part, self.bytes) or storage.read_back(self._part_url())[1]
        if (there, digest) == (self.bytes, self.adler32):
            return
        if self.method in (Method.SERVER, Method.THIRD_PARTY, Method.LOCAL, Method.LINK):
            self._check_source()
        what = f"{there} of {self.bytes} bytes" if there != self.bytes else f"adler32 {digest}, not {self.adler32}"
        raise BadStorage(
            f"{self.target.url} was stored with {what}",
            object=self.target.url,
            hint="the storage damages what it takes: check its disks and its log",
        )

    def _check_source(self) -> None:
        """Nobody here has read it: is it the source that is wrong?"""
        self.side = Side.SOURCE
        there, digest = storage.read_back(self.source.url)  # what its server keeps as its digest may be old
        if (there, digest) != (self.bytes, self.adler32):
            raise self._damaged(there, digest)
        self.side = Side.TARGET

    def _damaged(self, bytes_: int | None, digest: str | None) -> ChecksumMismatch:
        size = self.source.backend.size(self.source.path) if bytes_ is None else bytes_
        return ChecksumMismatch(
            f"{self.source.url} has {size} bytes and adler32 {digest or 'unread'},"
            f" the catalog knows {self.bytes} bytes and adler32 {self.adler32}",
            object=self.source.url,
            hint="this copy is damaged: another one will be used",
        )

    def _part_url(self) -> str:
        return self.target.url + self.part.removeprefix(self.target.path)

    def _sweep(self) -> bool:
        """Delete what killed copies to the same target left at a server.

        Called when the target is complete: a living copy that loses its part finds the file there.
        """
        if self.target.backend.renames:
            folder = self.target.path.rpartition("/")[0]
            for entry in list(self.target.backend.list(folder)):
                if entry.path.startswith(f"{self.target.path}.part-"):
                    self.target.backend.delete(entry.path)
        return True


def _quietly(work: Callable[[], bool]) -> bool:
    """False if it cannot be had: the copy's own outcome matters more."""
    try:
        return work()
    except CatalogError:
        return False


def _sweep_local(target: Path) -> None:
    """Delete what killed copies to the same target left behind; a living one keeps its part locked."""
    for left in target.parent.glob(f"{target.name}.part-*"):
        with suppress(OSError), left.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            left.unlink()
