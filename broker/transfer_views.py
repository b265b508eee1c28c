"""Transfers as API, monitor and CLI show them."""

from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum

from prodchain.catalog import transfers as moving

from .database import Connection
from .errors import BadRequest
from .marks import mark_of, read_mark
from .storage_views import named
from .task_views import View


class Shown(StrEnum):
    """Which transfers a list shows; failing ones are queued or active and have an error."""

    QUEUED = "queued"
    ACTIVE = "active"
    FAILING = "failing"
    DONE = "done"


# Each list is the newest of each storage's, which have an index for each state: what else there is costs nothing.
_NEWEST = """
SELECT t.* FROM storage s CROSS JOIN LATERAL (
    SELECT * FROM transfer t
    WHERE t.{end} = s.id AND {state} AND (t.queued_at, t.file_id, t.storage_id) < ($1, $2, $3)
    ORDER BY t.queued_at DESC, t.file_id DESC, t.storage_id DESC LIMIT $4
) t WHERE $5::text IS NULL OR s.name = $5
"""
# Few at any time; so that no index of the others is walked through for them.
_ACTIVE = """
SELECT t.* FROM (SELECT * FROM transfer WHERE state = 'queued' AND phase = 'active' OFFSET 0) t
WHERE (t.queued_at, t.file_id, t.storage_id) < ($1, $2, $3) AND ($5::text IS NULL OR EXISTS (
    SELECT FROM storage s WHERE s.name = $5 AND s.id IN (t.source_id, t.storage_id)))
"""
_BEGIN = (datetime(9999, 1, 1, tzinfo=UTC), 2**63 - 1, 2**15 - 1)
"""The mark before the first page: later than anything."""
_IN_STATE = {
    Shown.QUEUED: ("t.state = 'queued' AND t.phase <> 'active'",),
    Shown.FAILING: ("t.state = 'queued' AND t.error IS NOT NULL",),
    Shown.DONE: ("t.state = 'done'",),
    None: ("t.state = 'queued'", "t.state = 'done'"),
}
_TRANSFERS = """
SELECT f.scope || ':' || f.name AS file, o.name AS source, s.name AS destination,
       CASE WHEN t.state = 'queued' AND t.phase = 'active' THEN 'active' ELSE t.state END AS state,
       t.bytes, t.attempts, t.error, t.method, t.owner, t.priority, t.queued_at, t.started_at, t.done_at,
       CASE WHEN t.state = 'queued' AND t.phase = 'waiting' THEN t.not_before END AS next_try, t.file_id, t.storage_id
FROM ({newest} ORDER BY queued_at DESC, file_id DESC, storage_id DESC LIMIT $4) t
JOIN file f ON f.id = t.file_id
JOIN storage s ON s.id = t.storage_id
LEFT JOIN storage o ON o.id = t.source_id
ORDER BY t.queued_at DESC, t.file_id DESC, t.storage_id DESC
"""


def _statement(state: Shown | None, at: str | None) -> str:
    """Of one storage both what goes there and what comes from there; else what goes anywhere."""
    if state is Shown.ACTIVE:
        return _TRANSFERS.format(newest=_ACTIVE)
    ends = ("storage_id",) if at is None else ("storage_id", "source_id")
    parts = [_NEWEST.format(end=end, state=each) for end in ends for each in _IN_STATE[state]]
    return _TRANSFERS.format(newest=" UNION ALL ".join(parts))


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
    mark = _BEGIN if queued is None else (queued, *(int(key or 0) for key in rest))
    if at is not None:
        await named(conn, at)
    statement = _statement(None if state is None else Shown(state), at)
    rows = await conn.fetch(statement, *mark, limit + 1, at)
    views = [dict(row) for row in rows[:limit]]
    marks = [mark_of(view["queued_at"], view.pop("file_id"), view.pop("storage_id")) for view in views]
    return views, marks[-1] if len(rows) > limit else None


async def transfer_summary(conn: Connection, *, recent: int = 20) -> View:
    """What moves now, what fails and is tried again, and what was done in a day; from counters."""
    views, _ = await transfers(conn, limit=recent)
    return asdict(await moving.totals(conn)) | {"recent": views}
