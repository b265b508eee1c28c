"""A storage's self-test: what the mover will do there, done once with a small file, step by step."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from zlib_ng import zlib_ng

from . import backends
from .backends.base import Backend
from .errors import BadStorage, CatalogError, ChecksumMismatch

CONTENT = bytes(range(256)) * 4096
"""A mebibyte in which every byte value occurs."""


@dataclass(frozen=True)
class Step:
    """One thing that was tried: what came of it in words, and what to do if it failed."""

    name: str
    ok: bool
    seconds: float
    words: str
    hint: str = ""


def probe(url: str) -> Iterator[Step]:
    """Try everything at the storage; steps that need one that failed are left out. Leaves nothing behind."""
    try:
        place = backends.place(url)
    except CatalogError as error:
        yield Step("connect", False, 0.0, str(error), error.hint)
        return
    test = _Test(place.backend, f"{place.path.rstrip('/')}/prodchain-test-{uuid4().hex}")
    with tempfile.TemporaryDirectory(prefix="prodchain-") as folder:
        test.folder = Path(folder)
        try:
            for name, step in test.steps():
                result = _tried(name, step)
                yield result
                if not result.ok:
                    return
        finally:
            for path in (test.path, test.renamed):
                with suppress(CatalogError):
                    place.backend.delete(path)


def _tried(name: str, step: Callable[[], str]) -> Step:
    began = time.monotonic()
    try:
        words, ok, hint = step(), True, ""
    except CatalogError as error:
        words, ok, hint = str(error), False, error.hint
    return Step(name, ok, round(time.monotonic() - began, 4), words, hint)


class _Test:
    """The steps in their order; each says what it found."""

    folder: Path

    def __init__(self, backend: Backend, path: str) -> None:
        self.backend = backend
        self.path = f"{path}/file"
        self.renamed = f"{path}/file-renamed" if backend.renames else self.path
        self.sum = f"{zlib_ng.adler32(CONTENT):08x}"

    def steps(self) -> Iterator[tuple[str, Callable[[], str]]]:
        yield "put", self.put
        yield "size", self.size
        yield "digest", self.digest
        if self.backend.renames:
            yield "rename", self.rename
        yield "get", self.get
        yield "list", self.list
        yield "free", self.free
        yield "delete", self.delete

    def put(self) -> str:
        source = self.folder / "source"
        source.write_bytes(CONTENT)
        self.same(self.backend.put(source, self.path, lambda _: None))
        return f"{len(CONTENT)} bytes written"

    def size(self) -> str:
        size = self.backend.size(self.path)
        if size != len(CONTENT):
            raise BadStorage(
                f"{size} bytes are there, not {len(CONTENT)}", object=self.path, hint="see the storage's log"
            )
        return f"{size} bytes are there"

    def digest(self) -> str:
        digest = self.backend.digest(self.path)
        if digest is None:
            return "the server computes no adler32: copies are read back"
        self.same(digest)
        return f"the server computes adler32 {digest}"

    def rename(self) -> str:
        self.backend.rename(self.path, self.renamed)
        return "renamed"

    def get(self) -> str:
        self.same(self.backend.get(self.renamed, self.folder / "copy", lambda _: None))
        return "what was written is read"

    def list(self) -> str:
        entries = list(self.backend.list(self.renamed.rpartition("/")[0]))
        if [entry.bytes for entry in entries] != [len(CONTENT)]:
            raise BadStorage(
                f"the listing shows {len(entries)} files where there is one",
                object=self.renamed,
                hint="allow listings, or an audit will find nothing",
            )
        return "listed"

    def free(self) -> str:
        free = self.backend.free(self.renamed.rpartition("/")[0])
        return "the server does not tell what is free" if free is None else f"{free} bytes free"

    def delete(self) -> str:
        self.backend.delete(self.renamed)
        if self.backend.size(self.renamed) is not None:
            raise BadStorage("it is still there after its deletion", object=self.renamed, hint="allow deletions")
        return "deleted"

    def same(self, adler32: str) -> None:
        if adler32 != self.sum:
            raise ChecksumMismatch(
                f"adler32 is {adler32}, not {self.sum}", object=self.path, hint="see the storage's log"
            )
