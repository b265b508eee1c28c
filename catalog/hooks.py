"""What the catalog tells a side it does not know: slots that a process fills once, when it starts.

Hooks run on the connection and in the transaction of what happened, so that both happen or neither.
"""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from .connection import Connection
from .errors import HookMissing

Satisfied: TypeAlias = Callable[[Connection, list[str]], Awaitable[None]]
FilesAdded: TypeAlias = Callable[[Connection, int, list[int]], Awaitable[None]]
Closed: TypeAlias = Callable[[Connection, int], Awaitable[None]]

satisfied: Satisfied | None = None
"""Takes the holders whose last file has arrived."""
files_added: FilesAdded | None = None
"""Takes a dataset's id and the ids of the files that are new in it."""
closed: Closed | None = None
"""Takes a dataset's id, once."""


async def tell_satisfied(conn: Connection, holders: list[str]) -> None:
    """Raises HookMissing: a release must not be lost in a process that cannot act on it."""
    if not holders:
        return
    if satisfied is None:
        raise HookMissing(
            f"{len(holders)} holders have all their files, but this process cannot release them",
            object=holders[0],
            hint="set catalog.hooks.satisfied when the process starts",
        )
    await satisfied(conn, holders)


async def tell_files_added(conn: Connection, dataset_id: int, file_ids: list[int]) -> None:
    if files_added is not None:
        await files_added(conn, dataset_id, file_ids)


async def tell_closed(conn: Connection, dataset_id: int) -> None:
    if closed is not None:
        await closed(conn, dataset_id)
