"""Files of this machine, and how a file that must not be lost is written on it."""
# ruff: noqa: PTH102, PTH105, PTH108, PTH112, PTH116, PTH120 - a Path for each step was a quarter of a small file's time

import errno
import fcntl
import os
import stat
import threading
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

from zlib_ng import zlib_ng

from ..errors import BadStorage, CatalogError, FileMissing, StorageDenied, StorageFull
from .base import BLOCK, Entry, Told
from .checksums import Part, joined

_FICLONE = 0x40049409
"""The ioctl of Btrfs, XFS and others that lets two files share their blocks (linux/fs.h)."""

_HOT = 512 * 1024
"""Bytes copied, then read from the copy and summed up, at a time: they are still in the core's cache then."""

_TWO_LANES = 32 * 1024 * 1024
"""Bytes from which on two threads copy a half each: one does not fill the memory's lanes, nor a good disk's."""

_NO_RANGES = (errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM, errno.EBADF)
"""What copy_file_range says where a file system or an old kernel does not have it."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class Local:
    """The file system. ``get`` and ``put`` are one thing here: a copy whose sum is read from the copy."""

    renames = True
    third_party: str | None = None

    def __init__(self, url: str, credentials: dict[str, Any]) -> None:
        self.url = url

    def size(self, path: str) -> int | None:
        try:
            with explained(path, "look at"):
                there = os.stat(path)
        except FileMissing:
            return None
        return there.st_size if stat.S_ISREG(there.st_mode) else None

    def digest(self, path: str, bytes: int | None = None) -> str | None:  # noqa: A002
        return None  # nobody here has read it already

    def read(self, path: str, start: int = 0) -> Iterator[bytes]:
        with explained(path, "read"), Path(path).open("rb", buffering=0) as file:
            if start:
                file.seek(start)
            while block := file.read(BLOCK):
                yield block

    def write(self, path: str, blocks: Iterable[bytes], bytes: int) -> None:  # noqa: A002
        make_folder(os.path.dirname(path))
        with created(path) as file:
            for block in blocks:
                write_all(file, block)

    def get(self, path: str, target: Path, told: Told) -> str:
        return _copy(path, str(target), told)

    def put(self, source: Path, path: str, told: Told) -> str:
        make_folder(os.path.dirname(path))
        return _copy(str(source), path, told)

    def copy(self, source: str, target: str) -> bool:
        """Shares the blocks where the file system can; what else it could do, ``get`` does while it sums up."""
        make_folder(os.path.dirname(target))
        with _opened(source) as reader:
            try:
                with created(target) as writer:
                    if not _clone(reader, writer):
                        raise _CannotClone
            except _CannotClone:
                return False
        return True

    def pull(self, source_url: str, path: str, bytes: int) -> bool:  # noqa: A002
        return False

    def rename(self, source: str, target: str) -> None:
        with explained(target, "rename to"):
            try:
                os.replace(source, target)
            except FileNotFoundError as error:  # which speaks of the target
                raise FileMissing(f"there is no {source}", object=source, hint="was it deleted?") from error
            _settle(os.path.dirname(target))

    def delete(self, path: str) -> None:
        with suppress(FileMissing), explained(path, "delete"):
            os.unlink(path)

    def list(self, folder: str) -> Iterator[Entry]:
        with suppress(FileMissing), explained(folder, "list"), os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    yield from self.list(entry.path)
                elif entry.is_file():
                    with suppress(FileNotFoundError):  # deleted meanwhile
                        yield Entry(entry.path, entry.stat().st_size)

    def free(self, folder: str) -> int | None:
        there = Path(folder)
        while not there.exists() and there != there.parent:
            there = there.parent
        with explained(folder, "look at"):
            space = os.statvfs(there)
        return space.f_bavail * space.f_frsize

    def opening(self, path: str) -> tuple[str, dict[str, Any]]:
        return f"file://{path}", {}


class _CannotClone(Exception):
    """Lets ``created`` take away the empty file."""


@contextmanager
def created(path: Path | str) -> Iterator[int]:
    """Descriptor of a new file that is on the disk when the block ends, and gone if it breaks off.

    The lock says that its writer lives: left-overs of killed copies are those without. The name is safe from a power
    cut only after ``rename``.
    """
    with explained(str(path), "write"):
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file
            os.fsync(file)
        except BaseException:
            with suppress(OSError):
                os.unlink(path)
            raise
        finally:
            os.close(file)


def write_at(file: int, block: memoryview, at: int) -> None:
    while block:
        got = os.pwrite(file, block, at)
        block, at = block[got:], at + got


def write_all(file: int, block: bytes | memoryview) -> None:
    """Write a block to its end: the kernel may take less at a time."""
    rest = memoryview(block)
    while rest:
        rest = rest[os.write(file, rest) :]


def received(blocks: Generator[bytes | memoryview, None, None], target: Path, told: Told) -> str:
    """Write what comes to a new file, summed up on the way; its adler32."""
    checksum = 1
    with closing(blocks), created(target) as file:
        for block in blocks:
            with explained(str(target), "write"):
                write_all(file, block)
            checksum = zlib_ng.adler32(block, checksum)
            told(len(block))
    return f"{checksum:08x}"


def make_folder(folder: Path | str) -> None:
    """Make a folder and those above it, each of which survives a power cut."""
    if os.path.isdir(folder or "."):
        return
    above = os.path.dirname(folder)
    make_folder(above)
    with explained(str(folder), "make"):
        with suppress(FileExistsError):  # another thread was faster
            os.mkdir(folder)
        _settle(above)


@contextmanager
def explained(path: str, doing: str) -> Iterator[None]:
    """Turn what the system raises while ``doing`` something to a path into the catalog's errors."""
    try:
        yield
    except CatalogError:
        raise
    except FileNotFoundError as error:
        raise FileMissing(f"there is no {path}", object=path, hint="was it deleted at the storage?") from error
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(
                f"no space left to {doing} {path}", object=path, hint="free space there, or raise the quota"
            ) from error
        if error.errno in _FORBIDDEN:
            raise StorageDenied(
                f"not allowed to {doing} {path}: {error.strerror}", object=path, hint="check owner and mode"
            ) from error
        raise BadStorage(f"cannot {doing} {path}: {error}", object=path, hint="check the disk and its log") from error


@contextmanager
def _opened(path: str) -> Iterator[int]:
    with explained(path, "read"):
        file = os.open(path, os.O_RDONLY)
    try:
        yield file
    finally:
        os.close(file)


def _copy(source: str, target: str, told: Told) -> str:
    """Copy to a new file; the adler32 of what is there now, read from the copy while it is in memory."""
    with _opened(source) as reader, created(target) as writer:
        copy = _Copy(reader, writer, told, _clone(reader, writer), Event())
        bytes_ = os.fstat(reader).st_size
        if bytes_ < _TWO_LANES:
            return joined([_lane(copy, 0, bytes_)])
        half = bytes_ // 2
        with ThreadPoolExecutor(1, thread_name_prefix="lane") as helper:
            second = helper.submit(_lane, copy, half, bytes_)
            try:
                first = _lane(copy, 0, half)
                return joined([first, second.result()])
            finally:
                copy.over.set()


class _Copy(NamedTuple):
    reader: int
    writer: int
    told: Told
    cloned: bool
    over: Event


def _lane(copy: _Copy, at: int, end: int) -> Part:
    """Copy a range and sum it up, block by block."""
    start, checksum = at, 1
    while at < end and not copy.over.is_set():
        arrived = _arrived(copy, at, min(_HOT, end - at))
        if not arrived:  # the source became shorter; who asked compares the size
            break
        copy.told(arrived)
        until = at + arrived
        while at < until:
            block = buffer.hot[: min(_HOT, until - at)]
            got = os.preadv(copy.writer, [block], at)
            checksum, at = zlib_ng.adler32(block[:got], checksum), at + got
    return Part(at - start, checksum)


def _arrived(copy: _Copy, at: int, most: int) -> int:
    """Copy a block in the kernel, by the cheapest way that it knows; the bytes that are there then."""
    if copy.cloned:
        return most
    try:
        return os.copy_file_range(copy.reader, copy.writer, most, at, at)
    except OSError as error:
        if error.errno not in _NO_RANGES:
            raise
    got = os.preadv(copy.reader, [buffer.hot[: min(_HOT, most)]], at)
    write_at(copy.writer, buffer.hot[:got], at)
    return got


class _Buffer(threading.local):
    """Kept by each thread: to get new memory costs as much as a small file. Nobody needs it across a call."""

    def __init__(self) -> None:
        self.hot = memoryview(bytearray(_HOT))


buffer = _Buffer()


def _clone(reader: int, writer: int) -> bool:
    try:
        fcntl.ioctl(writer, _FICLONE, reader)
    except OSError:
        return False
    return True


def _settle(folder: str) -> None:
    """The names in a folder must survive a power cut too."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
