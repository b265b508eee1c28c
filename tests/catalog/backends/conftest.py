"""The storages, started once in a session, and a new folder at one of them for each test."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from uuid import uuid4

import pytest

from prodchain.catalog.backends import place
from prodchain.catalog.backends.base import Backend

from ...storages.farm import Farm, farm

_numbers = count()


@dataclass(frozen=True)
class Storage:
    """A backend with a folder that only one test uses, and local files to move."""

    backend: Backend
    url: str
    folder: str
    here: Path

    def path(self, name: str) -> str:
        return f"{self.folder}/{name}"

    def source(self, content: bytes) -> Path:
        """A local file with such content."""
        made = self.here / f"source-{next(_numbers)}"
        made.write_bytes(content)
        return made

    def content(self, path: str) -> bytes:
        return b"".join(self.backend.read(path))

    def names(self) -> set[str]:
        """All files in the folder, below it."""
        return {entry.path.removeprefix(self.folder).lstrip("/") for entry in self.backend.list(self.folder)}


@pytest.fixture(scope="session")
def storages() -> Iterator[Farm]:
    with farm() as started:
        yield started


def storage_at(storages: Farm, name: str, here: Path) -> Storage:
    url = f"{storages.url(name)}/{uuid4().hex}"
    there = place(url)
    return Storage(there.backend, url, there.path, here)
