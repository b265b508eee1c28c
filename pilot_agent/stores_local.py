"""``file:``: the file systems of this node."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import StorageError
from .store import BLOCK, Sink, Source


class LocalStore:
    renames = True
    late = False

    def get(self, path: str, sink: Sink) -> None:
        with Path(path).open("rb") as file:
            while block := file.read(BLOCK):
                sink(block)

    def put(self, path: str, source: Source) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with Path(path).open("wb") as file:
            for block in source.blocks():
                file.write(block)
            file.flush()
            os.fsync(file.fileno())

    def size(self, path: str) -> int | None:
        try:
            return Path(path).stat().st_size
        except FileNotFoundError:
            return None

    def adler32(self, path: str) -> str | None:
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

    def cut(self) -> None:
        """Between two blocks is soon enough."""


def local_path(url: str) -> str:
    """The path of file:/p, file:///p or file://localhost/p; like fsspec, nothing in it is unquoted."""
    path = url[len("file:") :]
    if path.startswith("//"):
        host, slash, rest = path[2:].partition("/")
        if host in ("", "localhost"):
            path = slash + rest
    if not path.startswith("/") or path.startswith("//"):
        raise StorageError(f"{url} is no absolute path", object=url, hint="write it as file:///folder/name")
    return path
