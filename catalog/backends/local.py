"""Files of this machine, and how a file that must not be lost is written on it."""

import errno
import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from zlib_ng import zlib_ng

from ..errors import BadStorage, CatalogError, FileMissing, StorageDenied, StorageFull
from .base import BLOCK, Entry, Told

_FICLONE = 0x40049409
"""The ioctl of Btrfs, XFS and others that lets two files share their blocks (linux/fs.h)."""

_HOT = 256 * 1024
"""Bytes summed up at a time: fit into a core's cache, so that the sum costs little beside the copy."""

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
                there = Path(path).stat()
        except FileMissing:
            return None
        return there.st_size if stat.S_ISREG(there.st_mode) else None

    def digest(self, path: str) -> str | None:
        return None  # nobody here has read it already

    def read(self, path: str) -> Iterator[bytes]:
        with explained(path, "read"), Path(path).open("rb", buffering=0) as file:
            while block := file.read(BLOCK):
                yield block

    def write(self, path: str, blocks: Iterable[bytes], bytes: int) -> None:  # noqa: A002
        make_folder(Path(path).parent)
        with created(Path(path)) as file:
            for block in blocks:
                write_all(file, block)

    def get(self, path: str, target: Path, told: Told) -> str:
        return _copy(Path(path), target, told)

    def put(self, source: Path, path: str, told: Told) -> str:
        make_folder(Path(path).parent)
        return _copy(source, Path(path), told)

    def copy(self, source: str, target: str) -> bool:
        """Shares the blocks where the file system can; what else it could do, ``get`` does while it sums up."""
        make_folder(Path(target).parent)
        with _opened(Path(source)) as reader:
            try:
                with created(Path(target)) as writer:
                    if not _clone(reader, writer):
                        raise _CannotClone
            except _CannotClone:
                return False
        return True

    def pull(self, source_url: str, path: str, bytes: int) -> bool:  # noqa: A002
        return False

    def rename(self, source: str, target: str) -> None:
        with explained(target, "rename to"):
            if not Path(source).exists():  # or the error would speak of the target
                raise FileMissing(f"there is no {source}", object=source, hint="was it deleted?")
            Path(source).replace(target)
            _settle(Path(target).parent)

    def delete(self, path: str) -> None:
        with suppress(FileMissing), explained(path, "delete"):
            Path(path).unlink()

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
def created(path: Path) -> Iterator[int]:
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
                path.unlink()
            raise
        finally:
            os.close(file)


def write_all(file: int, block: bytes | memoryview) -> None:
    """Write a block to its end: the kernel may take less at a time."""
    rest = memoryview(block)
    while rest:
        rest = rest[os.write(file, rest) :]


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, each of which survives a power cut."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with explained(str(folder), "make"):
        folder.mkdir(exist_ok=True)
        _settle(folder.parent)


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
def _opened(path: Path) -> Iterator[int]:
    with explained(str(path), "read"):
        file = os.open(path, os.O_RDONLY)
    try:
        yield file
    finally:
        os.close(file)


def _copy(source: Path, target: Path, told: Told) -> str:
    """Copy to a new file; the adler32 of what is there now, read from the copy while it is in the memory."""
    with _opened(source) as reader, created(target) as writer:
        checksum, at = 1, 0
        hot = memoryview(bytearray(_HOT))
        for end in _arrivals(reader, writer):
            told(end - at)
            while at < end:
                got = os.preadv(writer, [hot[: min(_HOT, end - at)]], at)
                checksum, at = zlib_ng.adler32(hot[:got], checksum), at + got
    return f"{checksum:08x}"


def _arrivals(reader: int, writer: int) -> Iterator[int]:
    """Copy in the kernel, by the cheapest way that it knows; yields up to where the copy has come."""
    bytes_ = os.fstat(reader).st_size
    cloned, ranges, at = _clone(reader, writer), True, 0
    while at < bytes_:
        block = min(BLOCK, bytes_ - at)
        try:
            if cloned:
                got = block
            elif ranges:
                got = os.copy_file_range(reader, writer, block, at, at)
            else:
                got = os.sendfile(writer, reader, at, block)  # where the writer stands
        except OSError as error:
            if not ranges or error.errno not in _NO_RANGES:
                raise
            ranges = False
            os.lseek(writer, at, os.SEEK_SET)
            continue
        if not got:  # the source became shorter; the size tells who asked
            return
        at += got
        yield at


def _clone(reader: int, writer: int) -> bool:
    try:
        fcntl.ioctl(writer, _FICLONE, reader)
    except OSError:
        return False
    return True


def _settle(folder: Path) -> None:
    """The names in a folder must survive a power cut too."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
