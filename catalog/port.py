"""What our catalog and an external one (Rucio) both do, in the same words; one suite of tests holds both to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from .files import NewFile
from .names import Did


@dataclass(frozen=True)
class Listed:
    """A dataset or container as a catalog knows it."""

    did: Did
    container: bool
    open: bool


@dataclass(frozen=True)
class Located:
    """A file with the URL of its copy at each storage."""

    did: Did
    bytes: int
    adler32: str
    urls: dict[str, str]


class Catalog(Protocol):
    """Storages are named, not made, here. Everything may be said twice: the second time changes nothing."""

    async def create(self, did: Did, *, container: bool = False) -> None:
        """Make an open, empty dataset or container; DatasetConflict if the name is one of the other sort."""

    async def register(self, storage: str, files: Sequence[NewFile]) -> None:
        """Make files known with a copy at the storage; FileConflict if one is known with other content."""

    async def add(self, did: Did, members: Sequence[Did]) -> None:
        """Let known files join a dataset, or datasets a container. Raises DatasetClosed, DatasetNotFound."""

    async def close(self, did: Did) -> None:
        """Freeze the content."""

    async def get(self, did: Did) -> Listed:
        """Raises DatasetNotFound."""

    async def find(self, pattern: str) -> list[Did]:
        """Datasets and containers that match ``*`` and ``?``, by name; without a scope those of all scopes."""

    async def files(self, did: Did) -> list[Located]:
        """The files of a dataset, by name. Raises DatasetNotFound."""

    async def completeness(self, did: Did) -> dict[str, tuple[int, int]]:
        """Files at each storage that has one, and files in all. Raises DatasetNotFound."""
