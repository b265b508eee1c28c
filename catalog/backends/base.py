"""What the mover asks of a storage's protocol, whatever the protocol is."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

BLOCK = 8 * 1024 * 1024
"""Bytes read, summed up and written at a time."""

TIMEOUT_S = 60.0
"""Silence of a server after which a transfer has failed (StorageTimeout)."""

SUMS_AT_ONCE = 2
"""Digests that a server is asked for at a time. XRootD queues those beyond its ``xrootd.chksum max``, sends away
for 30 s those that find no place in the queue (three for each it may compute), and forgets one in 1,500 (5.5.3)."""

Told = Callable[[int], None]
"""Called with the number of bytes that moved since the last call, from any thread; it may raise to stop the copy."""


class Entry(NamedTuple):
    """A file in a listing."""

    path: str
    bytes: int


class Backend(Protocol):
    """One server, or the local file system; threads share it. Paths are absolute at the server.

    Whatever goes wrong is one of the catalog's errors: FileMissing, StorageFull, StorageDenied, StorageTimeout, else
    BadStorage, with the server's words. What breaks off leaves nothing under the name that it was to write.
    """

    url: str
    """``scheme://host:port``, without a path."""
    renames: bool
    """Whether a finished file is given its name by ``rename``. False: a write appears under its name when it is
    complete, or not at all (S3)."""
    third_party: str | None
    """``http`` or ``root``: two servers of the same word copy between themselves (``pull``)."""

    def __init__(self, url: str, credentials: dict[str, Any]) -> None: ...

    def size(self, path: str) -> int | None:
        """Bytes of a file, None if it is not there."""

    def digest(self, path: str, bytes: int | None = None) -> str | None:  # noqa: A002
        """The adler32 that the server computes, eight hex digits; None if it cannot (S3, SFTP, local files): then
        read the file back. Not needed after ``get``, whose sum is that of the new local file. ``bytes``: its size,
        if known; it says how soon the answer is to come."""

    def read(self, path: str, start: int = 0) -> Iterator[bytes]:
        """The file from byte ``start`` on, in blocks of at most BLOCK bytes; who stops early closes the iterator."""

    def write(self, path: str, blocks: Iterable[bytes], bytes: int) -> None:  # noqa: A002
        """Store the blocks, ``bytes`` in all, under a name that is not taken; makes the folder."""

    def get(self, path: str, target: Path, told: Told) -> str:
        """Bring a file to a new local path as fast as the protocol can; the adler32 of what was written there."""

    def put(self, source: Path, path: str, told: Told) -> str:
        """Store a local file under a name that is not taken; the adler32 of what was read. Makes the folder."""

    def copy(self, source: str, target: str) -> bool:
        """Copy on the server itself; False if it cannot (nothing was done)."""

    def pull(self, source_url: str, path: str, bytes: int) -> bool:  # noqa: A002
        """Let the server fetch a file from another one (third-party copy); False if it cannot."""

    def rename(self, source: str, target: str) -> None:
        """Give a file another name in its folder, over what is there."""

    def delete(self, path: str) -> None:
        """Remove a file; one that is not there is removed."""

    def list(self, folder: str) -> Iterator[Entry]:
        """All files below a folder, at any depth; none if it is not there."""

    def free(self, folder: str) -> int | None:
        """Bytes that fit there, None if nobody knows."""

    def opening(self, path: str) -> tuple[str, dict[str, Any]]:
        """URL and public options with which fsspec opens the file: the copy-paste line for people."""
