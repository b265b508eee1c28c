"""What staging needs of a storage, whatever its protocol; one module ``stores_*`` for each."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from .errors import Stopped, StorageError

BLOCK = 1 << 20
"""Bytes per read."""
SILENCE_S = 60.0
"""After so long without a word from a server a transfer has failed."""
LOOK_S = 0.2
"""How often a transfer is asked whether it shall go on."""
Content = tuple[int, str]
"""Size in bytes and adler32 in eight hex digits."""
Sink = Callable[[bytes], object]
"""Takes the blocks of a file in their order; what it raises breaks off the transfer."""


class Tally:
    """Size and adler32 of the blocks that pass; raises Stopped when ``stop`` is set."""

    def __init__(self, stop: threading.Event) -> None:
        self._stop = stop
        self._size, self._adler32 = 0, 1

    def add(self, block: bytes) -> None:
        if self._stop.is_set():
            raise Stopped("copying was stopped")
        self._size += len(block)
        self._adler32 = zlib.adler32(block, self._adler32)

    @property
    def content(self) -> Content:
        return self._size, f"{self._adler32:08x}"


class Source:
    """A file of the work directory on its way to a storage, from its beginning as often as a server wants it."""

    def __init__(self, path: Path, stop: threading.Event) -> None:
        self.path = path
        self.size = path.stat().st_size
        self._stop = stop
        self._tally = Tally(stop)

    def blocks(self) -> Iterator[bytes]:
        self._tally = Tally(self._stop)
        try:
            with self.path.open("rb") as file:
                while block := file.read(BLOCK):
                    self._tally.add(block)
                    yield block
        except OSError as error:
            raise StorageError(f"cannot read {self.path}: {error.strerror}", object=str(self.path)) from None
        if self.content[0] != self.size:
            raise StorageError(f"{self.path.name} was changed while it was stored", object=str(self.path))

    @property
    def content(self) -> Content:
        """What was sent last."""
        return self._tally.content


class Store(Protocol):
    """One storage; ``path`` as given by ``stores.locate``. All raise StorageError in words, or OSError."""

    renames: bool
    """False: what is put appears under its name when it is complete, or not at all (S3)."""
    late: bool
    """Whether what breaks off may appear only afterwards."""

    def get(self, path: str, sink: Sink) -> None: ...
    def put(self, path: str, source: Source) -> None:
        """Store the file, over what is there; the folders above are made."""

    def size(self, path: str) -> int | None:
        """Bytes, or None if there is no such file."""

    def adler32(self, path: str) -> str | None:
        """As the server sums it up, None if it does not: then read the file back."""

    def rename(self, path: str, target: str) -> None: ...
    def delete(self, path: str) -> None:
        """Delete the file if it is there."""

    def cut(self) -> None:
        """Break off what goes on, from another thread."""


@contextmanager
def stoppable(store: Store, stop: threading.Event) -> Iterator[None]:
    """Whatever the store does inside ends soon after ``stop`` is set, with Stopped, even if its server is silent."""
    over, lock = threading.Event(), threading.Lock()

    def watch() -> None:
        while not over.is_set():
            if stop.wait(LOOK_S):
                with lock:  # never what comes afterwards: cleaning up
                    if not over.is_set():
                        store.cut()
                over.wait(LOOK_S)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    except Exception:
        if stop.is_set():
            raise Stopped("copying was stopped") from None
        raise
    finally:
        with lock:
            over.set()
