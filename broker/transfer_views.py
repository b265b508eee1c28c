"""Transfers as API, monitor and CLI show them."""

from dataclasses import asdict
from enum import StrEnum

from prodchain.catalog import transfers as moving

from .database import Connection
from .errors import BadRequest
from .marks import mark_of, read_mark
from .task_views import View


class Shown(StrEnum):
    """Which transfers a list shows; failing ones are queued or active and have an error."""

    QUEUED = "queued"
    ACTIVE = "active"
    FAILING = "failing"
    DONE = "done"


_TRANSFERS = """
SELECT f.scope || ':' || f.name AS file, o.name AS source, s.name AS destination,
       CASE WHEN t.state = 'queued' AND t.phase = 'active' THEN 'active' ELSE t.state END AS state,
       t.bytes, t.attempts, t.error, t.method, t.owner, t.priority, t.queued_at, t.started_at, t.done_at,
       CASE WHEN t.state = 'queued' AND t.phase = 'waiting' THEN t.not_before END AS next_try, t.file_id, t.storage_id
FROM transfer t
JOIN file f ON f.id = t.file_id
JOIN storage s ON s.id = t.storage_id
LEFT JOIN storage o ON o.id = t.source_id
WHERE ($1::timestamptz IS NULL OR (t.queued_at, t.file_id, t.storage_id) < ($1, $2, $3))
  AND ($5::text IS NULL OR CASE $5
        WHEN 'done' THEN t.state = 'done'
        WHEN 'active' THEN t.state = 'queued' AND t.phase = 'active'
        WHEN 'failing' THEN t.state = 'queued' AND t.error IS NOT NULL
        ELSE t.state = 'queued' AND t.phase <> 'active' END)
  AND ($6::text IS NULL OR $6 IN (s.name, o.name))
ORDER BY t.queued_at DESC, t.file_id DESC, t.storage_id DESC LIMIT $4
"""


async def transfers(
    conn: Connection,
    *,
    state: str | None = None,
    at: str | None = None,
    limit: int = 100,
    after: str | None = None,
) -> tuple[list[View], str | None]:
    """Transfers, newest first; ``at`` is a storage that they come from or go to."""
    queued, rest = read_mark(after, 2)
    if not all(key is None or key.isdecimal() for key in rest):
        raise BadRequest("not a mark of this list", object="after", hint="send `next` of the page before, unchanged")
    file, storage = (None if key is None else int(key) for key in rest)
    rows = await conn.fetch(_TRANSFERS, queued, file, storage, limit + 1, state, at)
    views = [dict(row) for row in rows[:limit]]
    marks = [mark_of(view["queued_at"], view.pop("file_id"), view.pop("storage_id")) for view in views]
    return views, marks[-1] if len(rows) > limit else None


async def transfer_summary(conn: Connection, *, recent: int = 20) -> View:
    """What moves now, what fails and is tried again, and what was done in a day; from counters."""
    views, _ = await transfers(conn, limit=recent)
    return asdict(await moving.totals(conn)) | {"recent": views}
