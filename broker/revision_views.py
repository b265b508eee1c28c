"""What was declared of the sites, and when."""

from prodchain.catalog import sites

from .database import Connection
from .task_views import View


async def revisions(conn: Connection, *, limit: int = 20, after: int | None = None) -> tuple[list[View], int | None]:
    """Declarations that changed something, newest first."""
    rows = await sites.revisions(conn, limit=limit + 1, before=after)
    views = [
        {"id": row.id, "at": row.at, "actor": row.actor, "changes": row.changes, "text": row.text}
        for row in rows[:limit]
    ]
    return views, rows[limit - 1].id if len(rows) > limit else None
