"""Transfers: copies of files to storages, leased by movers, tried again until they arrive.

A leased transfer is one whose ``not_before`` is the end of its lease: a mover that dies lets go by dying.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from . import replicas
from .connection import Connection
from .names import Did, url_of

BACKOFF_S = (1, 5, 15, 60, 300, 900, 3600)
"""Seconds to wait after the first failed attempt, the second, ...; the last one for ever after."""


@dataclass(frozen=True)
class Leased:
    """A copy to make: from ``source_url`` (None: there is no other copy) to ``target_url``."""

    file_id: int
    storage_id: int
    did: Did
    bytes: int
    adler32: str
    source_url: str | None
    target_url: str
    writable: bool


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
    queued_at: datetime
    started_at: datetime | None
    done_at: datetime | None
    next_try: datetime | None


@dataclass(frozen=True)
class Totals:
    """Numbers of transfers; ``failing`` ones are queued or active and have failed at least once."""

    queued: int
    active: int
    failing: int
    done: int
    bytes_done: int


# Attempts are counted when they begin: one that kills its mover counts too, and the next takes another source.
LEASE = """
WITH taken AS (
    SELECT file_id, storage_id, attempts FROM transfer
    WHERE state = 'queued' AND not_before <= now()
    ORDER BY not_before, file_id LIMIT $2 FOR UPDATE SKIP LOCKED
), routed AS (
    SELECT taken.*, sources.ids[1 + taken.attempts % cardinality(sources.ids)] AS source_id
    FROM taken CROSS JOIN LATERAL (
        SELECT array_agg(r.storage_id ORDER BY r.storage_id) AS ids FROM replica r
        WHERE r.file_id = taken.file_id AND r.storage_id <> taken.storage_id
    ) sources
), leased AS (
    UPDATE transfer t
    SET worker = $1, attempts = t.attempts + 1, started_at = now(), source_id = routed.source_id,
        lease_until = now() + $3::interval, not_before = now() + $3::interval
    FROM routed WHERE t.file_id = routed.file_id AND t.storage_id = routed.storage_id
    RETURNING t.file_id, t.storage_id, t.source_id
)
SELECT leased.file_id, leased.storage_id, f.scope, f.name, f.bytes, f.adler32, target.writable,
       source.url AS source_url, target.url AS target_url
FROM leased JOIN file f ON f.id = leased.file_id JOIN storage target ON target.id = leased.storage_id
LEFT JOIN storage source ON source.id = leased.source_id
ORDER BY leased.file_id
"""
EXTEND = """
UPDATE transfer SET lease_until = now() + $4::interval, not_before = now() + $4::interval
WHERE file_id = $1 AND storage_id = $2 AND worker = $3 AND state = 'queued'
RETURNING true
"""
FAILED = """
UPDATE transfer
SET error = $4, worker = NULL, lease_until = NULL,
    not_before = now() + make_interval(secs => ($5::int[])[least(attempts, cardinality($5::int[]))])
WHERE file_id = $1 AND storage_id = $2 AND worker = $3 AND state = 'queued'
RETURNING true
"""
RECENT = """
SELECT f.scope, f.name, source.name AS source, target.name AS destination,
       CASE WHEN t.state = 'queued' AND t.lease_until > now() THEN 'active' ELSE t.state END AS state,
       t.bytes, t.attempts, t.error, t.queued_at, t.started_at, t.done_at,
       CASE WHEN t.state = 'queued' THEN t.not_before END AS next_try
FROM (SELECT * FROM transfer ORDER BY queued_at DESC LIMIT $1) t
JOIN file f ON f.id = t.file_id JOIN storage target ON target.id = t.storage_id
LEFT JOIN storage source ON source.id = t.source_id
ORDER BY t.queued_at DESC, f.name
"""
TOTALS = """
SELECT count(*) FILTER (WHERE state = 'queued' AND (lease_until > now()) IS NOT TRUE) AS queued,
       count(*) FILTER (WHERE state = 'queued' AND lease_until > now()) AS active,
       count(*) FILTER (WHERE state = 'queued' AND error IS NOT NULL) AS failing,
       count(*) FILTER (WHERE state = 'done') AS done,
       coalesce(sum(bytes) FILTER (WHERE state = 'done'), 0)::bigint AS bytes_done
FROM transfer
"""


async def lease(conn: Connection, worker: str, limit: int, time: timedelta) -> list[Leased]:
    """Take up to ``limit`` transfers that are due, for ``time``; nobody else gets them until that is over.

    Sources take turns from attempt to attempt, so that one damaged copy does not stop a transfer.
    """
    return [
        Leased(
            file_id=row["file_id"],
            storage_id=row["storage_id"],
            did=(did := Did(row["scope"], row["name"])),
            bytes=row["bytes"],
            adler32=row["adler32"],
            source_url=url_of(row["source_url"], did) if row["source_url"] else None,
            target_url=url_of(row["target_url"], did),
            writable=row["writable"],
        )
        for row in await conn.fetch(LEASE, worker, limit, time)
    ]


async def extend(conn: Connection, worker: str, file_id: int, storage_id: int, time: timedelta) -> bool:
    """Keep a transfer for ``time`` from now; False if it is no longer this worker's."""
    return bool(await conn.fetchval(EXTEND, file_id, storage_id, worker, time))


async def done(conn: Connection, storage_id: int, file_ids: Sequence[int]) -> list[int]:
    """Record verified copies, whoever made them; see replicas.arrive."""
    return await replicas.arrive(conn, storage_id, file_ids)


async def failed(conn: Connection, worker: str, file_id: int, storage_id: int, error: str) -> bool:
    """Keep the reason and let the transfer wait its back-off; False if it is no longer this worker's."""
    return bool(await conn.fetchval(FAILED, file_id, storage_id, worker, error, BACKOFF_S))


async def recent(conn: Connection, limit: int = 50) -> list[TransferView]:
    """The transfers that were queued last, newest first."""
    return [
        TransferView(Did(scope, name), *rest)
        for scope, name, *rest in (row.values() for row in await conn.fetch(RECENT, limit))
    ]


async def totals(conn: Connection) -> Totals:
    """How many transfers there are; reads all of them."""
    (row,) = await conn.fetch(TOTALS)
    return Totals(**dict(row))
