"""Everything that has no module of its own, through fsspec if it is there."""

from __future__ import annotations

from typing import Any

from .errors import StorageError
from .store import BLOCK, Sink, Source

REMEDY = "install fsspec and the backend of this URL for the Python that runs the pilot"
_MISSING = "[3011]"
"""How XRootD's backend says it, in an OSError."""


class FsspecStore:
    renames = True
    late = False

    def __init__(self, filesystem: Any) -> None:
        self._fs = filesystem

    def get(self, path: str, sink: Sink) -> None:
        with self._fs.open(path, "rb") as file:
            while block := file.read(BLOCK):
                sink(block)

    def put(self, path: str, source: Source) -> None:
        self._fs.makedirs(path.rpartition("/")[0], exist_ok=True)
        with self._fs.open(path, "wb") as file:
            for block in source.blocks():
                file.write(block)

    def size(self, path: str) -> int | None:
        self._fs.invalidate_cache()
        try:
            return int(self._fs.info(path)["size"])
        except FileNotFoundError:
            return None
        except OSError as error:
            if _MISSING in str(error):
                return None
            raise

    def adler32(self, path: str) -> str | None:
        return None

    def rename(self, path: str, target: str) -> None:
        self._fs.mv(path, target)

    def delete(self, path: str) -> None:
        if self.size(path) is not None:
            self._fs.rm_file(path)

    def cut(self) -> None:
        """Between two blocks is soon enough."""


def locate(url: str, remedy: str = REMEDY) -> tuple[FsspecStore, str]:
    """The store of a URL and the path in it; StorageError with the remedy where this Python cannot go there."""
    try:
        from fsspec.core import url_to_fs  # only here: without it the others still work
    except ImportError:
        raise StorageError(
            f"{url} cannot be reached: the pilot's Python has no fsspec", object=url, hint=remedy
        ) from None
    try:
        filesystem, path = url_to_fs(url)
    except (ImportError, ValueError, OSError) as error:
        raise StorageError(f"{url} cannot be reached: {error}", object=url, hint=remedy) from None
    return FsspecStore(filesystem), str(path)
