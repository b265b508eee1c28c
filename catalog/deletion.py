"""Deletion: hidden at once, brought back if asked in time, let go in the end (purging); never what somebody needs.

What the system makes for itself goes in the same way, without grace, and its rows with it.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from . import datasets, history, hooks
from .connection import Connection
from .datasets import versioned
from .errors import DatasetDeleted, DatasetNeeded
from .models import BOOKKEEPING, Dataset, DatasetState

GRACE = timedelta(days=14)
"""How long a deleted dataset can be brought back, unless the caller says otherwise."""
LINGER = timedelta(days=1)
"""How long people can still look at a bookkeeping dataset that is over."""
ROUND = timedelta(minutes=10)
"""How soon what somebody needs beyond its lifetime is looked at again, or later if there is much of it."""
EARLIEST = datetime.min.replace(tzinfo=UTC)
WORDS = 5
"""How many of those who need a dataset an error names."""

# The database lets nobody refer to a dataset that is locked so: what needs it is seen, or sees it deleted.
LOCK = "SELECT id FROM dataset WHERE id = $1 FOR UPDATE"
NEEDED = """
SELECT c.child_id AS id, 'the container ' || p.scope || ':' || p.name AS who
FROM dataset_child c JOIN dataset p ON p.id = c.parent_id
WHERE c.child_id = ANY($1::bigint[]) AND p.deleted_at IS NULL
UNION ALL
SELECT s.dataset_id, 'the subscription at ' || at.name FROM subscription s
JOIN storage at ON at.id = s.storage_id JOIN dataset d ON d.id = s.dataset_id
WHERE s.dataset_id = ANY($1::bigint[]) AND s.state = 'active' AND d.kind NOT IN ('dispatch', 'sub')
UNION ALL
SELECT v.from_id, 'version ' || d.version || ', into which its files are still being taken over'
FROM version_filling v JOIN dataset d ON d.id = v.dataset_id
WHERE v.from_id = ANY($1::bigint[]) AND d.deleted_at IS NULL
UNION ALL
SELECT h.dataset_id,
       'the hold ' || min(h.holder) || CASE WHEN count(*) > 1 THEN ' and ' || count(*) - 1 || ' more' ELSE '' END
FROM hold h WHERE h.dataset_id = ANY($1::bigint[]) AND h.holder NOT LIKE 'subscription:%'
GROUP BY h.dataset_id
"""
HIDE = """
UPDATE dataset SET deleted_at = now(), purge_at = now() + $2::interval WHERE id = ANY($1::bigint[]) RETURNING *
"""
SHOW = """
UPDATE dataset SET deleted_at = NULL, purge_at = NULL,
       expires_at = CASE WHEN expires_at > now() THEN expires_at END
WHERE id = $1 RETURNING *
"""
PAST = """
SELECT id, expires_at FROM dataset
WHERE expires_at <= now() AND (expires_at, id) > ($1, $2)
  AND deleted_at IS NULL AND kind NOT IN ('dispatch', 'sub')
ORDER BY expires_at, id LIMIT $3
"""
OVER = """
SELECT d.id, d.closed_at FROM dataset d
WHERE d.kind IN ('dispatch', 'sub') AND (d.closed_at, d.id) > ($1, $2) AND d.closed_at <= now() - $4::interval
  AND d.deleted_at IS NULL AND NOT EXISTS (SELECT FROM hold h WHERE h.dataset_id = d.id)
ORDER BY d.closed_at, d.id LIMIT $3
"""
STALE = """
SELECT d.id, d.expires_at FROM dataset d
WHERE d.kind IN ('dispatch', 'sub') AND d.expires_at <= now() AND (d.expires_at, d.id) > ($1, $2)
  AND d.deleted_at IS NULL AND NOT EXISTS (SELECT FROM hold h WHERE h.dataset_id = d.id)
ORDER BY d.expires_at, d.id LIMIT $3
"""
LOCK_LIVING = """
SELECT id FROM dataset WHERE id = ANY($1::bigint[]) AND deleted_at IS NULL ORDER BY id FOR UPDATE SKIP LOCKED
"""


async def needed(conn: Connection, dataset_ids: Sequence[int]) -> dict[int, list[str]]:
    """Who needs them, in words, by id: containers, subscriptions, holds, and whom ``hooks.needed`` names."""
    who: dict[int, list[str]] = {}
    for row in await conn.fetch(NEEDED, dataset_ids):
        who.setdefault(row["id"], []).append(row["who"])
    for dataset_id, words in (await hooks.ask_needed(conn, dataset_ids)).items():
        who.setdefault(dataset_id, []).extend(words)
    return who


async def refuse_needed(conn: Connection, dataset: Dataset) -> None:
    """Raises DatasetNeeded, which names who needs it."""
    assert dataset.id is not None
    who = (await needed(conn, [dataset.id])).get(dataset.id)
    if who:
        more = f" and {len(who) - WORDS} more" if len(who) > WORDS else ""
        raise DatasetNeeded(
            f"{versioned(dataset)} is needed by {', '.join(who[:WORDS])}{more}",
            object=versioned(dataset),
            hint="wait until they are over, or end them first",
        )


async def delete(conn: Connection, dataset_id: int, actor: str, grace: timedelta = GRACE) -> Dataset:
    """Hide a dataset; its files are let go when ``grace`` is over. Repeating it changes nothing.

    Raises DatasetNeeded. The caller has checked that the actor may.
    """
    await conn.execute(LOCK, dataset_id)
    dataset = await datasets.by_id(conn, dataset_id)
    if dataset.deleted_at is not None:
        return dataset
    await refuse_needed(conn, dataset)
    if dataset.kind in BOOKKEEPING:
        grace = timedelta()
    (row,) = await conn.fetch(HIDE, [dataset_id], grace)
    hidden = Dataset.model_validate(dict(row))
    words = f"{hidden.files} files, let go at {hidden.purge_at:%Y-%m-%d %H:%M} UTC"
    await history.note(conn, "deleted", versioned(hidden), actor, words)
    return hidden


async def undelete(conn: Connection, dataset_id: int, actor: str) -> Dataset:
    """Bring a deleted dataset back, as it was; a lifetime that is over is not brought back with it.

    Raises DatasetDeleted if its files were let go meanwhile.
    """
    await conn.execute(LOCK, dataset_id)
    dataset = await datasets.by_id(conn, dataset_id)
    if dataset.state == DatasetState.DELETED:
        raise DatasetDeleted(
            f"{versioned(dataset)} was deleted, and its files were let go",
            object=versioned(dataset),
            hint="make the data again under another name",
        )
    if dataset.deleted_at is None:
        return dataset
    (row,) = await conn.fetch(SHOW, dataset_id)
    await history.note(conn, "undeleted", versioned(dataset), actor, f"{dataset.files} files")
    return Dataset.model_validate(dict(row))


class Expiry:
    """Hides datasets whose lifetime is over, and what the system made for itself and is over; one for each process.

    A dispatch dataset is over when no job holds it any more, a sub-dataset when its task is; people can look at them
    for a day (LINGER). What somebody needs stays, and is looked at again in the next round.
    """

    def __init__(self) -> None:
        self._rounds = [_Round(STALE, timedelta()), _Round(OVER, timedelta(), (LINGER,)), _Round(PAST, GRACE)]

    async def step(self, conn: Connection, limit: int = 500) -> int:
        """Look at the next ``limit`` of each sort; how many were hidden."""
        return sum([await each.step(conn, limit) for each in self._rounds])


class _Round:
    """A way through all that is past its time, the oldest first; what comes later is past its time later."""

    def __init__(self, statement: str, grace: timedelta, bound: Sequence[timedelta] = ()) -> None:
        self._statement, self._grace, self._bound = statement, grace, bound
        self._after: tuple[datetime, int] = (EARLIEST, 0)
        self._began = datetime.now(UTC)

    async def step(self, conn: Connection, limit: int) -> int:
        rows = await conn.fetch(self._statement, *self._after, limit, *self._bound)
        hidden = await _hide(conn, [row["id"] for row in rows], self._grace)
        if rows:
            self._after = (rows[-1][1], rows[-1]["id"])
        if len(rows) < limit and datetime.now(UTC) - self._began > ROUND:
            self._after, self._began = (EARLIEST, 0), datetime.now(UTC)
        return hidden


async def _hide(conn: Connection, dataset_ids: Sequence[int], grace: timedelta) -> int:
    """Those of them that nobody needs; a dataset that somebody is busy with comes next time."""
    who = await needed(conn, dataset_ids)  # asked first, as nobody may use a dataset while it is locked so
    ids = [
        row["id"] for row in await conn.fetch(LOCK_LIVING, [number for number in dataset_ids if number not in who])
    ]
    who = await needed(conn, ids)
    hidden = await conn.fetch(HIDE, [number for number in ids if number not in who], grace)
    for row in hidden:
        dataset = Dataset.model_validate(dict(row))
        if dataset.kind not in BOOKKEEPING:
            await history.note(
                conn, "expired", versioned(dataset), "", f"let go at {dataset.purge_at:%Y-%m-%d %H:%M} UTC"
            )
    return len(hidden)
