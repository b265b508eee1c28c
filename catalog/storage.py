"""What the catalog does at a storage, by URL: look, sum up, delete, list; each protocol is a backend."""

from collections.abc import Iterator

from zlib_ng import zlib_ng

from .backends import place
from .backends.base import Entry


def size(url: str) -> int | None:
    """Bytes of a file, None if it is not there."""
    at = place(url)
    return at.backend.size(at.path)


def adler32(url: str) -> str:
    """Checksum of a file as eight hex digits, by its server if that can, else by reading it to the end."""
    at = place(url)
    return at.backend.digest(at.path) or read_back(url)[1]


def read_back(url: str) -> tuple[int, str]:
    """Size and checksum of a file, read to its end."""
    at, moved, checksum = place(url), 0, 1
    for block in at.backend.read(at.path):
        moved += len(block)
        checksum = zlib_ng.adler32(block, checksum)
    return moved, f"{checksum:08x}"


def delete(url: str) -> None:
    """Remove a file; one that is not there is removed."""
    at = place(url)
    at.backend.delete(at.path)


def listing(url: str) -> Iterator[Entry]:
    """All files below a folder, at any depth."""
    at = place(url)
    return at.backend.list(at.path)
