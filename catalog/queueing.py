"""What is to be copied because somebody wants it: queued once for all who do, withdrawn when nobody does."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from .connection import Connection

RECOVERY = 1000
"""The priority of copies that replace bad ones: somebody counted on them."""


@dataclass(frozen=True)
class Terms:
    """How a copy is wished for: see models.Subscription."""

    owner: str = ""
    standing: bool = True
    sources: str | None = None
    priority: int = 0
    expires_at: datetime | None = None


ANYBODY = Terms()
PAYER = "CASE WHEN s.owner = d.owner THEN coalesce(d.charged, d.owner) ELSE s.owner END AS owner"
"""Whose copies those are that a wish ``s`` for a dataset ``d`` wants (quotas.payer)."""
LARGE = 10_000
"""Files of datasets that are queued, taken back or copied to a new version in slices, if there are more of them."""
NEAR = timedelta(minutes=1)
"""How long before its next try a copy is looked at once more: longer than the time between two sweeps."""

MEMBERS = "SELECT coalesce(sum(files), 0)::bigint FROM dataset WHERE id = ANY($1::bigint[])"
QUEUE = """
INSERT INTO transfer (file_id, storage_id, state, bytes, attempts, owner, priority, sources)
SELECT f.id, $2, 'queued', f.bytes, 0, $3, $4, $5 FROM file f
WHERE f.id = ANY($1::bigint[])
  AND NOT EXISTS (SELECT FROM replica r WHERE r.file_id = f.id AND r.storage_id = $2)
ORDER BY f.id
ON CONFLICT (file_id, storage_id) DO UPDATE
SET state = 'queued', attempts = 0, error = NULL, worker = NULL, source_id = NULL, lease_until = NULL,
    not_before = now(), queued_at = now(), started_at = NULL, done_at = NULL,
    owner = excluded.owner, priority = excluded.priority, sources = excluded.sources
WHERE transfer.state = 'done'
"""
# A wish without sources takes copies from anywhere; several with sources are joined as (A)|(B).
STRENGTHEN = """
UPDATE transfer t SET priority = greatest(t.priority, $3),
    sources = CASE WHEN t.sources = $4 OR position('|(' || $4 || ')|' IN '|' || t.sources || '|') > 0 THEN t.sources
                   WHEN t.sources LIKE '(%)|(%)' THEN t.sources || '|(' || $4 || ')'
                   ELSE '(' || t.sources || ')|(' || $4 || ')' END
FROM (
    SELECT file_id FROM transfer
    WHERE file_id = ANY($1::bigint[]) AND storage_id = $2 AND state = 'queued'
      AND (priority < $3 OR sources <> $4 OR (sources IS NOT NULL AND $4::text IS NULL))
    ORDER BY file_id FOR UPDATE
) weaker
WHERE t.file_id = weaker.file_id AND t.storage_id = $2
"""
WISHED = """
(EXISTS (SELECT FROM dataset_file m JOIN subscription s ON s.dataset_id = m.dataset_id
         WHERE m.file_id = t.file_id AND s.storage_id = t.storage_id AND s.state = 'active'
           AND (s.standing OR NOT EXISTS (SELECT FROM hold h WHERE h.holder = 'subscription:' || s.id)))
 OR EXISTS (SELECT FROM hold_file h WHERE h.file_id = t.file_id AND h.storage_id = t.storage_id)
 OR EXISTS (SELECT FROM bad_replica b
            WHERE b.file_id = t.file_id AND b.storage_id = t.storage_id AND b.state = 'recovering'))
"""
LOCK = """
SELECT file_id FROM transfer WHERE file_id = ANY($1::bigint[]) AND storage_id = $2 AND state = 'queued'
ORDER BY file_id FOR UPDATE
"""
# A copy that was begun may have left its file there, which nobody would know of any more.
WITHDRAW = f"""
WITH gone AS (
    DELETE FROM transfer t
    WHERE t.file_id = ANY($1::bigint[]) AND t.storage_id = $2 AND t.state = 'queued'
      AND (t.lease_until > now()) IS NOT TRUE AND NOT {WISHED}
    RETURNING t.file_id, t.attempts
), left_over AS (
    INSERT INTO garbage (storage_id, scope, name)
    SELECT $2, f.scope, f.name FROM gone JOIN file f ON f.id = gone.file_id WHERE gone.attempts > 0 ORDER BY f.id
)
SELECT count(*) FROM gone
"""  # noqa: S608
WAITING = f"""
SELECT t.storage_id, array_agg(t.file_id) AS file_ids FROM (
    SELECT t.storage_id, t.file_id FROM transfer t
    WHERE t.state = 'queued' AND t.phase = 'waiting' AND t.not_before <= now() + $2::interval AND NOT {WISHED}
    LIMIT $1
) t GROUP BY t.storage_id ORDER BY t.storage_id
"""  # noqa: S608
AGAIN = f"""
SELECT owner, sources, priority, array_agg(DISTINCT file_id) AS file_ids FROM (
    SELECT m.file_id, {PAYER}, s.sources, s.priority FROM dataset_file m
    JOIN subscription s ON s.dataset_id = m.dataset_id JOIN dataset d ON d.id = m.dataset_id
    WHERE m.file_id = ANY($1::bigint[]) AND s.storage_id = $2 AND s.state = 'active'
      AND (s.standing OR NOT EXISTS (SELECT FROM hold h WHERE h.holder = 'subscription:' || s.id))
    UNION ALL
    SELECT h.file_id, '', NULL, 0 FROM hold_file h WHERE h.file_id = ANY($1::bigint[]) AND h.storage_id = $2
) wish GROUP BY owner, sources, priority ORDER BY priority DESC, owner
"""  # noqa: S608


async def large(conn: Connection, dataset_ids: Sequence[int]) -> bool:
    """Whether these have more members than one transaction should touch."""
    members: int = await conn.fetchval(MEMBERS, dataset_ids)
    return members > LARGE


async def queue(conn: Connection, storage_id: int, file_ids: Sequence[int], terms: Terms = ANYBODY) -> None:
    """Queue copies of the files to the storage, except those that are there.

    What is queued already stays in its place and its first owner's, but takes the higher priority and the wider
    choice of sources.
    """
    if file_ids:
        await conn.execute(QUEUE, file_ids, storage_id, terms.owner, terms.priority, terms.sources)
        await conn.execute(STRENGTHEN, file_ids, storage_id, terms.priority, terms.sources)


async def again(conn: Connection, storage_id: int, file_ids: Sequence[int]) -> None:
    """Queue copies of files that are no longer at the storage, as far as somebody waits for them there."""
    for wish in await conn.fetch(AGAIN, file_ids, storage_id):
        terms = Terms(wish["owner"], sources=wish["sources"], priority=wish["priority"])
        await queue(conn, storage_id, wish["file_ids"], terms)


async def lock(conn: Connection, storage_id: int, file_ids: Sequence[int]) -> None:
    """Let nobody join the queued copies of these files, or take them, until the transaction ends."""
    await conn.execute(LOCK, file_ids, storage_id)


async def withdraw(conn: Connection, storage_id: int, file_ids: Sequence[int]) -> int:
    """Take back queued copies that nobody wishes for any more; those that a mover has in hand finish."""
    count: int = await conn.fetchval(WITHDRAW, file_ids, storage_id)
    return count


async def sweep(conn: Connection, limit: int = 1000) -> int:
    """Take back copies that failed after their wish had ended; looks at those whose next try is near.

    So each is looked at before each try, however many wait long. Returns 0 when that were all.
    """
    count = 0
    for row in await conn.fetch(WAITING, limit, NEAR):
        await lock(conn, row["storage_id"], row["file_ids"])
        count += await withdraw(conn, row["storage_id"], row["file_ids"])
    return count // limit
