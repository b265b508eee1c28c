"""Places that files lie at: this node's file systems by hand, everything else through fsspec if it is there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, Any, Protocol

from .errors import StorageError


class Store(Protocol):
    """What staging needs of a storage; ``path`` as given by ``locate``. All raise OSError."""

    def read(self, path: str) -> IO[bytes]: ...
    def write(self, path: str) -> IO[bytes]:
        """Open for writing; the folders above are made."""

    def size(self, path: str) -> int | None:
        """Bytes, or None if there is no such file."""

    def rename(self, path: str, target: str) -> None: ...
    def delete(self, path: str) -> None:
        """Delete the file if it is there."""


class LocalStore:
    def read(self, path: str) -> IO[bytes]:
        return Path(path).open("rb")

    def write(self, path: str) -> IO[bytes]:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return Path(path).open("wb")

    def size(self, path: str) -> int | None:
        try:
            return Path(path).stat().st_size
        except FileNotFoundError:
            return None

    def rename(self, path: str, target: str) -> None:
        Path(path).replace(target)
        folder = os.open(Path(target).parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the broker will say that this file exists: it must outlive a power cut
        finally:
            os.close(folder)

    def delete(self, path: str) -> None:
        Path(path).unlink(missing_ok=True)


class FsspecStore:
    def __init__(self, filesystem: Any) -> None:
        self._fs = filesystem

    def read(self, path: str) -> IO[bytes]:
        opened: IO[bytes] = self._fs.open(path, "rb")
        return opened

    def write(self, path: str) -> IO[bytes]:
        self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        opened: IO[bytes] = self._fs.open(path, "wb")
        return opened

    def size(self, path: str) -> int | None:
        self._fs.invalidate_cache()
        try:
            return int(self._fs.info(path)["size"])
        except FileNotFoundError:
            return None

    def rename(self, path: str, target: str) -> None:
        self._fs.mv(path, target)

    def delete(self, path: str) -> None:
        if self.size(path) is not None:
            self._fs.rm_file(path)


def locate(url: str) -> tuple[Store, str]:
    """The store of a URL and the path in it; raises StorageError where this node cannot go there."""
    if url.startswith("file:"):
        return LocalStore(), _local_path(url)
    try:
        from fsspec.core import url_to_fs  # only here: without it file: URLs still work
    except ImportError:
        raise StorageError(
            f"{url} cannot be reached: the pilot's Python has no fsspec",
            object=url,
            hint="install fsspec and the backend of this URL for the Python that runs the pilot",
        ) from None
    try:
        filesystem, path = url_to_fs(url)
    except (ImportError, ValueError, OSError) as error:
        raise StorageError(f"{url} cannot be reached: {error}", object=url) from None
    return FsspecStore(filesystem), str(path)


def _local_path(url: str) -> str:
    """The path of file:/p, file:///p or file://localhost/p; like fsspec, nothing in it is unquoted."""
    path = url[len("file:") :]
    if path.startswith("//"):
        host, slash, rest = path[2:].partition("/")
        if host in ("", "localhost"):
            path = slash + rest
    if not path.startswith("/") or path.startswith("//"):
        raise StorageError(f"{url} is no absolute path", object=url, hint="write it as file:///folder/name")
    return path
