"""What the catalog tells a side it does not know: slots that a process fills once, when it starts.

Hooks run on the connection and in the transaction of what happened, so that both happen or neither.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeAlias

from .connection import Connection
from .errors import HookMissing

Satisfied: TypeAlias = Callable[[Connection, list[str]], Awaitable[None]]
FilesAdded: TypeAlias = Callable[[Connection, Mapping[int, Sequence[int]]], Awaitable[None]]
Closed: TypeAlias = Callable[[Connection, int], Awaitable[None]]
Needed: TypeAlias = Callable[[Connection, Sequence[int]], Awaitable[dict[int, list[str]]]]
Reads: TypeAlias = Callable[[Connection, int, Sequence[int]], Awaitable[dict[int, str]]]
Lost: TypeAlias = Callable[[Connection, Sequence[int], str], Awaitable[None]]
Removed: TypeAlias = Callable[[Connection, int, Sequence[int]], Awaitable[list[tuple[str, int]]]]

satisfied: Satisfied | None = None
"""Takes the holders whose last file has arrived."""
files_added: FilesAdded | None = None
"""Takes ids of datasets, each with the ids of the files that are new in it."""
closed: Closed | None = None
"""Takes a dataset's id, once."""
needed: Needed | None = None
"""Takes ids of datasets; who needs them, in words, by id."""
reads: Reads | None = None
"""Takes a storage and files; by file, in words, who needs the copy there."""
removed: Removed | None = None
"""Takes a storage and the files whose copies are gone there; the holders that wait for them again, with the file."""

lost: Lost | None = None
"""Takes files whose last copy is gone, once, and why."""


async def tell_satisfied(conn: Connection, holders: list[str]) -> None:
    """Raises HookMissing: a release must not be lost in a process that cannot act on it."""
    if not holders:
        return
    if satisfied is None:
        raise _missing(
            f"{len(holders)} holders have all their files, but this process cannot release them",
            holders[0],
            "satisfied",
        )
    await satisfied(conn, holders)


async def tell_files_added(conn: Connection, grown: Mapping[int, Sequence[int]]) -> None:
    if files_added is not None:
        await files_added(conn, grown)


async def tell_closed(conn: Connection, dataset_id: int) -> None:
    if closed is not None:
        await closed(conn, dataset_id)


async def ask_needed(conn: Connection, dataset_ids: Sequence[int]) -> dict[int, list[str]]:
    """Raises HookMissing: a process that cannot know who needs a dataset must not delete any."""
    if not dataset_ids:
        return {}
    if needed is None:
        raise _missing("this process cannot know who needs a dataset", str(dataset_ids[0]), "needed")
    return await needed(conn, dataset_ids)


async def ask_reads(conn: Connection, storage_id: int, file_ids: Sequence[int]) -> dict[int, str]:
    """Raises HookMissing, for the same reason."""
    if not file_ids:
        return {}
    if reads is None:
        raise _missing("this process cannot know who needs a copy", str(file_ids[0]), "reads")
    return await reads(conn, storage_id, file_ids)


async def tell_removed(conn: Connection, storage_id: int, file_ids: Sequence[int]) -> list[tuple[str, int]]:
    return [] if removed is None else await removed(conn, storage_id, file_ids)


async def tell_lost(conn: Connection, file_ids: Sequence[int], why: str) -> None:
    if lost is not None:
        await lost(conn, file_ids, why)


def _missing(words: str, about: str, slot: str) -> HookMissing:
    return HookMissing(words, object=about, hint=f"set catalog.hooks.{slot} when the process starts")
