"""What is named and does not exist: told with the names that come near, never answered with an empty list."""

from .database import Connection
from .errors import NotFound, unknown

_NAMES = {
    "queue": "SELECT name FROM queue ORDER BY name",
    "site": "SELECT name FROM site ORDER BY name",
}


async def no_such(conn: Connection, kind: str, name: str) -> NotFound:
    """The error for a queue or site that is not there."""
    return unknown(kind, name, await _names(conn, kind))


async def refuse_unknown(
    conn: Connection, *, task: int | None = None, queue: str | None = None, site: str | None = None
) -> None:
    """For a list that came out empty: NotFound if what it was filtered by does not exist."""
    if task is not None and not await conn.fetchval("SELECT EXISTS (SELECT FROM task WHERE id = $1)", task):
        raise unknown("task", task)
    for kind, name in (("queue", queue), ("site", site)):
        if name is not None and name not in await _names(conn, kind):
            raise await no_such(conn, kind, name)


async def _names(conn: Connection, kind: str) -> list[str]:
    return [row["name"] for row in await conn.fetch(_NAMES[kind])]
