"""Transfers as people see them: what moves, what waits and why. Cheap however much is queued or done."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from . import quotas
from .connection import Connection
from .models import TransferPhase
from .names import Did
from .quotas import Room


@dataclass(frozen=True)
class TransferView:
    """A transfer as people see it; ``state`` is queued, active or done."""

    file: Did
    source: str | None
    destination: str
    state: str
    bytes: int
    attempts: int
    error: str | None
    method: str | None
    queued_at: datetime
    started_at: datetime | None
    done_at: datetime | None
    next_try: datetime | None


@dataclass(frozen=True)
class Totals:
    """Numbers of files; ``failing`` are queued or active and have an error; what is done was done in a day."""

    queued: int
    active: int
    failing: int
    done: int
    bytes_done: int


@dataclass(frozen=True)
class FileWait:
    """What a file at a storage waits for, or how it came there; ``words`` says it in a sentence.

    ``state``: there, active, ready, staging, waiting, new, or none (nobody wishes for it there).
    """

    file_id: int
    file: Did
    state: str
    attempts: int
    source: str | None
    error: str | None
    next_try: datetime | None
    method: str | None
    words: str


RECENT = """
SELECT f.scope, f.name, source.name AS source, target.name AS destination,
       CASE WHEN t.state = 'queued' AND t.phase = 'active' THEN 'active' ELSE t.state END AS state,
       t.bytes, t.attempts, t.error, t.method, t.queued_at, t.started_at, t.done_at,
       CASE WHEN t.state = 'queued' AND t.phase = 'waiting' THEN t.not_before END AS next_try
FROM (
    SELECT t.* FROM storage s CROSS JOIN LATERAL (
        (SELECT * FROM transfer WHERE storage_id = s.id AND state = 'queued'
         ORDER BY queued_at DESC, file_id DESC LIMIT $1)
        UNION ALL
        (SELECT * FROM transfer WHERE storage_id = s.id AND state = 'done'
         ORDER BY queued_at DESC, file_id DESC LIMIT $1)
    ) t ORDER BY queued_at DESC, file_id DESC, storage_id DESC LIMIT $1
) t
JOIN file f ON f.id = t.file_id JOIN storage target ON target.id = t.storage_id
LEFT JOIN storage source ON source.id = t.source_id
ORDER BY t.queued_at DESC, t.file_id DESC, t.storage_id DESC
"""
TOTALS = """
SELECT q.files - a.files AS queued, a.files AS active, q.failing, d.files AS done,
       d.bytes AS bytes_done
FROM (SELECT coalesce(sum(files), 0)::bigint AS files, coalesce(sum(failing), 0)::bigint AS failing
      FROM transfer_count) q,
     (SELECT count(*) AS files FROM transfer
      WHERE state = 'queued' AND phase = 'active' AND lease_until > clock_timestamp()) a,
     (SELECT coalesce(sum(files), 0)::bigint AS files, coalesce(sum(bytes), 0)::bigint AS bytes
      FROM link WHERE hour >= now() - interval '1 day') d
"""
FOLD = """
WITH taken AS (
    DELETE FROM transfer_count WHERE (SELECT count(*) FROM (SELECT FROM transfer_count LIMIT $1) c) = $1
    RETURNING storage_id, files, bytes, failing
)
INSERT INTO transfer_count (storage_id, files, bytes, failing)
SELECT storage_id, sum(files), sum(bytes), sum(failing) FROM taken GROUP BY storage_id
"""
FOLD_AT = 500
WHY = """
SELECT f.id AS file_id, f.scope, f.name, f.lost_at, r.created_at AS there_at, t.state, t.phase, t.attempts, t.error,
       t.not_before, t.method, t.started_at, t.stage_id, t.worker, t.owner, f.bytes,
       source.name AS source, target.name AS target, target.writable, coalesce(m.file_id > s.walked_to, false) AS soon
FROM dataset_file m
JOIN file f ON f.id = m.file_id
JOIN storage target ON target.id = $2
LEFT JOIN replica r ON r.file_id = m.file_id AND r.storage_id = $2
LEFT JOIN transfer t ON t.file_id = m.file_id AND t.storage_id = $2
LEFT JOIN storage source ON source.id = t.source_id
LEFT JOIN subscription s ON s.dataset_id = $1 AND s.storage_id = $2 AND s.state = 'active'
WHERE m.dataset_id = $1 AND m.file_id > $4 AND ($5 OR r.file_id IS NULL)
ORDER BY m.file_id LIMIT $3
"""


async def recent(conn: Connection, limit: int = 50) -> list[TransferView]:
    """The transfers that were queued last, newest first."""
    rows: Sequence[Any] = await conn.fetch(RECENT, limit)
    return [TransferView(Did(scope, name), *rest) for scope, name, *rest in (row.values() for row in rows)]


async def totals(conn: Connection) -> Totals:
    """How much there is, from counters, what is active, and the last day's links."""
    (row,) = await conn.fetch(TOTALS)
    return Totals(**dict(row))


async def fold(conn: Connection) -> None:
    """Make one row for each storage out of the counters' changes, when there are many; one at a time does this."""
    await conn.execute(FOLD, FOLD_AT)


async def why(
    conn: Connection, dataset_id: int, storage_id: int, *, limit: int = 1000, after: int = 0, there: bool = False
) -> list[FileWait]:
    """Why files of a dataset are not at a storage, one by one, from file id ``after`` on; ``there``: also those
    that are."""
    rooms = [room for room in await quotas.room(conn) if room.storage_id == storage_id]
    return [_wait(row, rooms) for row in await conn.fetch(WHY, dataset_id, storage_id, limit, after, there)]


def _wait(row: Mapping[str, Any], rooms: Sequence[Room]) -> FileWait:
    state, words = words_of(row, rooms)
    return FileWait(
        file_id=row["file_id"],
        file=Did(row["scope"], row["name"]),
        state=state,
        attempts=row["attempts"] or 0,
        source=row["source"],
        error=row["error"],
        next_try=row["not_before"] if state == "waiting" else None,
        method=row["method"],
        words=words,
    )


def words_of(row: Mapping[str, Any], rooms: Sequence[Room]) -> tuple[str, str]:
    """State and sentence; ``rooms`` are what owners and the storage may still take."""
    said = f": {row['error']}" if row["error"] else ""
    if row["there_at"] is not None:
        how = f", copied from {row['source']} ({row['method']})" if row["method"] else ""
        return "there", f"there since {_time(row['there_at'])}{how}"
    if row["lost_at"] is not None:
        return "lost", "its last copy was bad, and there is no other"
    if row["state"] != "queued" and row["soon"]:
        return "new", "its turn to be queued comes soon: the dataset is large"
    if row["state"] != "queued":
        return "none", "nobody wishes for it here"
    if row["phase"] == TransferPhase.ACTIVE:
        return (
            "active",
            f"being copied from {row['source']} by {row['worker']} since {_time(row['started_at'])}{said}",
        )
    if row["phase"] == TransferPhase.WAITING:
        return "waiting", f"tried {_times(row['attempts'])}, next try at {_time(row['not_before'])}{said}"
    if row["phase"] == TransferPhase.STAGE:
        asked = "was asked to bring it to disk" if row["stage_id"] else "will be asked to bring it to disk"
        return "staging", f"its copy is on tape: {row['source']} {asked}{said}"
    if not row["writable"]:
        return row["phase"], f"nothing may be written to {row['target']} now"
    if full := next(
        (r.words for r in rooms if r.owner in (None, row["owner"]) and r.bytes < max(1, row["bytes"])), None
    ):
        return row["phase"], full
    if row["phase"] == TransferPhase.READY:
        return "ready", f"waits for its turn on the way from {row['source']}{said}"
    return "new", f"queued{said}"


def _times(count: int) -> str:
    return {0: "in vain", 1: "once"}.get(count, f"{count} times")


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
