"""What the catalog does at a storage, over fsspec: look, sum up, delete; with errors in words.

Never ``fsspec.generic``: its rsync swallows errors, and it cannot tell two servers of one protocol apart.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem
from zlib_ng import zlib_ng

from .errors import BadStorage, CatalogError, FileMissing

BLOCK = 8 * 1024 * 1024
"""Bytes read, summed up and written at a time."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


@dataclass(frozen=True)
class Place:
    """A path in a file system that fsspec opened, with the URL that led there."""

    url: str
    fs: Any
    path: str

    @property
    def local(self) -> bool:
        return isinstance(self.fs, LocalFileSystem)

    @property
    def folder(self) -> str:
        return str(PurePosixPath(self.path).parent)

    def beside(self, name: str) -> "Place":
        """Another name in the same folder."""
        return Place(f"{self.url.rpartition('/')[0]}/{name}", self.fs, f"{self.folder}/{name}")


def place(url: str) -> Place:
    """Open the file system of a URL; BadStorage if its protocol is unknown or its package is missing."""
    try:
        fs, path = fsspec.url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise BadStorage(
            f"cannot use {url}: {error}", object=url, hint="check the URL's protocol and install its package"
        ) from error
    return Place(url, fs, path)


def size(url: str) -> int | None:
    """Bytes of a file, None if it is not there."""
    at = place(url)
    try:
        with explained(at.url, "look at"):
            return int(at.fs.info(at.path)["size"])
    except FileMissing:
        return None


def adler32(url: str) -> str:
    """Checksum of a file as eight hex digits; reads it to the end."""
    at, checksum = place(url), 1
    with explained(at.url, "read"), at.fs.open(at.path, "rb") as file:
        while block := file.read(BLOCK):
            checksum = zlib_ng.adler32(block, checksum)
    return f"{checksum:08x}"


def delete(url: str) -> None:
    """Remove a file; one that is not there is removed."""
    at = place(url)
    try:
        with explained(at.url, "delete"):
            at.fs.rm_file(at.path)
    except FileMissing:
        pass


@contextmanager
def explained(url: str, doing: str) -> Iterator[None]:
    """Turn what a file system raises while ``doing`` something to a URL into FileMissing or BadStorage."""
    try:
        yield
    except CatalogError:
        raise
    except FileNotFoundError as error:
        raise FileMissing(f"there is no {url}", object=url, hint="was it deleted at the storage?") from error
    except OSError as error:
        if error.errno in _FULL:
            message, hint = f"no space left to {doing} {url}", "free space there, or raise the quota"
        elif error.errno in _FORBIDDEN:
            message, hint = f"not allowed to {doing} {url}: {error.strerror}", "check owner and mode at the storage"
        else:
            message, hint = f"cannot {doing} {url}: {error}", "check that the storage answers"
        raise BadStorage(message, object=url, hint=hint) from error
