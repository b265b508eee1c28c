"""A server as an object, on files of this machine: what it can do, and what it does wrong, is chosen by the test.

It stands for servers that cannot be had here: those that lie. What real servers do is tested against them.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

from prodchain.catalog import backends, storage
from prodchain.catalog.backends.base import Entry, Told
from prodchain.catalog.backends.local import Local
from prodchain.catalog.errors import StorageDenied

Block: TypeAlias = bytes


class Word(StrEnum):
    """What a server does while it says that all went well."""

    KEEPS = "keeps its word"
    DROPS_THE_TAIL = "drops the tail"
    FLIPS_A_BYTE = "flips a byte"
    STORES_NOTHING = "stores nothing"


class Remote:
    """``remote://NAME``: a backend, not a Local one to those who ask; ``trusts``: other servers may be read."""

    third_party: str | None = "remote"

    def __init__(self, folder: Path) -> None:
        self.url = f"remote://{uuid4().hex}"
        self.folder = folder
        self.renames = True
        self.digests = True
        self.copies = self.pulls = False
        self.trusts = True
        self.lie = Word.KEEPS
        self._disk = Local("file://", {})

    @classmethod
    @contextmanager
    def serving(cls, folder: Path) -> Iterator["Remote"]:
        """While it is there, ``backends.place`` finds it by its URL."""
        folder.mkdir(parents=True)
        server = cls(folder)
        find = backends._backend

        def finding(scheme: str, netloc: str, *rest: Any) -> Any:
            return server if f"{scheme}://{netloc}" == server.url else find(scheme, netloc, *rest)

        backends._backend = finding  # type: ignore[assignment]
        known = dict(backends.BACKENDS)
        backends.BACKENDS["remote"] = "remote:Remote"
        try:
            yield server
        finally:
            backends._backend = find
            backends.BACKENDS.clear()
            backends.BACKENDS.update(known)

    def at(self, name: str) -> Path:
        return self.folder / name

    def url_of(self, name: str) -> str:
        return f"{self.url}{self.at(name)}"

    def put_there(self, name: str, content: bytes) -> None:
        self.at(name).parent.mkdir(parents=True, exist_ok=True)
        self.at(name).write_bytes(content)

    def files(self) -> list[Path]:
        return sorted(path for path in self.folder.rglob("*") if path.is_file())

    def size(self, path: str) -> int | None:
        return self._disk.size(path)

    def digest(self, path: str, bytes: int | None = None) -> str | None:  # noqa: A002
        return storage.adler32(f"file:{path}") if self.digests else None

    def read(self, path: str) -> Iterator[Block]:
        return self._disk.read(path)

    def write(self, path: str, blocks: Iterable[Block], bytes: int) -> None:  # noqa: A002
        Path(path).unlink(missing_ok=True)
        self._disk.write(path, blocks, bytes)
        self._spoil(path)

    def get(self, path: str, target: Path, told: Told) -> str:
        return self._disk.get(path, target, told)

    def put(self, source: Path, path: str, told: Told) -> str:
        Path(path).unlink(missing_ok=True)
        read = self._disk.put(source, path, told)
        self._spoil(path)
        return read

    def copy(self, source: str, target: str) -> bool:
        if self.copies:
            self.put(Path(source), target, lambda _: None)
        return self.copies

    def pull(self, source_url: str, path: str, bytes: int) -> bool:  # noqa: A002
        if self.pulls:
            if not self.trusts:
                raise StorageDenied(f"{self.url} does not trust it", object=source_url, hint="make them trust")
            self.put(Path(backends.place(source_url).path), path, lambda _: None)
        return self.pulls

    def rename(self, source: str, target: str) -> None:
        self._disk.rename(source, target)

    def delete(self, path: str) -> None:
        self._disk.delete(path)

    def list(self, folder: str) -> Iterator[Entry]:
        return self._disk.list(folder)

    def free(self, folder: str) -> int | None:
        return None

    def opening(self, path: str) -> tuple[str, dict[str, Any]]:
        return f"file://{path}", {}

    def _spoil(self, path: str) -> None:
        there = Path(path)
        match self.lie:
            case Word.DROPS_THE_TAIL:
                there.write_bytes(there.read_bytes()[:-1000])
            case Word.FLIPS_A_BYTE:
                content = bytearray(there.read_bytes())
                content[len(content) // 2] ^= 1
                there.write_bytes(content)
            case Word.STORES_NOTHING:
                there.unlink()
