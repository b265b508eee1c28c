"""Transfers as API, monitor and CLI show them."""

from .database import Connection
from .errors import BadRequest
from .marks import mark_of, read_mark
from .task_views import View

_TRANSFERS = """
SELECT f.scope || ':' || f.name AS file, o.name AS source, s.name AS destination,
       CASE WHEN t.state = 'queued' AND t.lease_until > now() THEN 'active' ELSE t.state END AS state,
       t.bytes, t.attempts, t.error, t.queued_at, t.started_at, t.done_at,
       CASE WHEN t.state = 'queued' THEN t.not_before END AS next_try, t.file_id, t.storage_id
FROM transfer t
JOIN file f ON f.id = t.file_id
JOIN storage s ON s.id = t.storage_id
LEFT JOIN storage o ON o.id = t.source_id
WHERE ($1::timestamptz IS NULL OR (t.queued_at, t.file_id, t.storage_id) < ($1, $2, $3))
ORDER BY t.queued_at DESC, t.file_id DESC, t.storage_id DESC LIMIT $4
"""

# What waits is found by its partial index; what is done is summed over a day, by the index on queued_at.
_SUMMARY = """
SELECT q.*, d.* FROM (
    SELECT count(*) FILTER (WHERE lease_until > now()) AS active,
           count(*) FILTER (WHERE lease_until IS NULL OR lease_until <= now()) AS queued,
           count(*) FILTER (WHERE error IS NOT NULL) AS failing
    FROM transfer WHERE state = 'queued') AS q,
(SELECT count(*) AS done, coalesce(sum(bytes), 0)::bigint AS bytes_done
    FROM transfer WHERE state = 'done' AND queued_at > now() - interval '1 day') AS d
"""


async def transfers(conn: Connection, *, limit: int = 100, after: str | None = None) -> tuple[list[View], str | None]:
    """Transfers, newest first."""
    queued, rest = read_mark(after, 2)
    if not all(key is None or key.isdecimal() for key in rest):
        raise BadRequest("not a mark of this list", object="after", hint="send `next` of the page before, unchanged")
    file, storage = (None if key is None else int(key) for key in rest)
    rows = await conn.fetch(_TRANSFERS, queued, file, storage, limit + 1)
    views = [dict(row) for row in rows[:limit]]
    marks = [mark_of(view["queued_at"], view.pop("file_id"), view.pop("storage_id")) for view in views]
    return views, marks[-1] if len(rows) > limit else None


async def transfer_summary(conn: Connection, *, recent: int = 20) -> View:
    """What moves now, what fails and is tried again, and what was done of the last day's."""
    row = await conn.fetchrow(_SUMMARY)
    assert row is not None  # aggregates always answer one row
    views, _ = await transfers(conn, limit=recent)
    return dict(row) | {"recent": views}
