"""Transfers: copies of files to storages, leased by movers, tried again until they arrive.

A queued transfer is in one phase: it is new, gets a source (routing), is ready, active under a lease (leasing), or
waits. A mover that dies lets go by dying: its lease runs out, and the transfer gets a source again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from . import files, garbage, links, replicas, routing
from .connection import Connection
from .leasing import Leased, lease
from .links import LinkFacts
from .names import Did, url_of
from .routing import QUICK_S, wait_s
from .waits import FileWait, Totals, TransferView, recent, totals, why

__all__ = [
    "Copied", "Failed", "FileWait", "Leased", "ToStage", "Totals", "TransferView",
    "done", "extend", "failed", "lease", "recent", "release",
    "staged", "staging", "to_stage", "totals", "unstaged", "why",
]  # fmt: skip


@dataclass(frozen=True)
class Copied:
    """A verified copy: how it was made, and how long it took. ``bytes`` is 0 if it was there already."""

    file_id: int
    method: str
    bytes: int
    seconds: float


@dataclass(frozen=True)
class Failed:
    """A try that came to nothing. ``at_target``: no other source would help (full, forbidden)."""

    file_id: int
    words: str
    at_target: bool = False


@dataclass(frozen=True)
class ToStage:
    """A file on tape that a transfer to ``storage_id`` waits for; ``url`` is its address on the tape's disk."""

    file_id: int
    storage_id: int
    did: Did
    bytes: int
    url: str


LOCK_SHARED = "SELECT pg_advisory_xact_lock_shared(hashtext('prodchain transfers'))"
EXTEND = """
UPDATE transfer t SET lease_until = clock_timestamp() + $3::interval, not_before = clock_timestamp() + $3::interval
FROM (
    SELECT file_id, storage_id FROM transfer
    WHERE worker = $1 AND batch = ANY($2::bigint[]) AND state = 'queued' AND phase = 'active'
      AND lease_until > clock_timestamp()
    ORDER BY file_id, storage_id FOR UPDATE
) mine
WHERE t.file_id = mine.file_id AND t.storage_id = mine.storage_id
RETURNING t.batch
"""
_MINE = """
    SELECT t.file_id, t.storage_id, r.words, r.wait_s, r.over
    FROM unnest($3::bigint[], $4::text[], $5::float[], $6::bool[]) AS r (file_id, words, wait_s, over)
    JOIN transfer t ON t.file_id = r.file_id AND t.storage_id = $1
    WHERE t.batch = $2 AND t.state = 'queued' AND t.phase = 'active'
    ORDER BY t.file_id FOR UPDATE OF t
"""
FAILED = f"""
UPDATE transfer t
SET phase = 'waiting', error = mine.words, worker = NULL, batch = NULL, lease_until = NULL,
    stage_id = NULL, staged_at = NULL, -- what was on a tape's disk may be gone from it: it is asked for again
    not_before = clock_timestamp() + make_interval(secs => mine.wait_s),
    tried = CASE WHEN mine.over THEN '{{}}' ELSE t.tried END, rounds = t.rounds + mine.over::int
FROM ({_MINE}) mine
WHERE t.file_id = mine.file_id AND t.storage_id = mine.storage_id
RETURNING t.file_id, t.source_id
"""  # noqa: S608
ROUNDS = "SELECT file_id, rounds FROM transfer WHERE storage_id = $1 AND file_id = ANY($2::bigint[])"
RELEASE = """
UPDATE transfer t
SET phase = 'ready', worker = NULL, batch = NULL, lease_until = NULL, attempts = t.attempts - 1, not_before = now(),
    tried = t.tried[:cardinality(t.tried) - 1]
FROM (
    SELECT file_id, storage_id FROM transfer
    WHERE batch = $1 AND file_id = ANY($2::bigint[]) AND state = 'queued' AND phase = 'active'
    ORDER BY file_id FOR UPDATE
) mine
WHERE t.file_id = mine.file_id AND t.storage_id = mine.storage_id
"""
WANTED = """
SELECT file_id FROM transfer WHERE storage_id = $1 AND file_id = ANY($2::bigint[]) AND state = 'queued'
UNION
SELECT file_id FROM replica WHERE storage_id = $1 AND file_id = ANY($2::bigint[])
"""
METHODS = """
UPDATE transfer t SET method = c.method
FROM unnest($2::bigint[], $3::text[]) AS c (file_id, method)
WHERE t.storage_id = $1 AND t.file_id = c.file_id AND t.state = 'done'
"""


# Files on tape: what is to be asked for, what was asked for in one request, what came to disk or did not.
TO_STAGE = """
SELECT t.file_id, t.storage_id, f.scope, f.name, f.bytes, s.url FROM (
    SELECT file_id, storage_id, source_id FROM transfer
    WHERE source_id = $1 AND state = 'queued' AND phase = 'stage' AND stage_id IS NULL
    ORDER BY priority DESC, queued_at LIMIT $2 FOR UPDATE SKIP LOCKED
) t JOIN file f ON f.id = t.file_id JOIN storage s ON s.id = t.source_id
"""
STAGING = """
UPDATE transfer t SET stage_id = $1
FROM unnest($2::bigint[], $3::smallint[]) AS a (file_id, storage_id)
WHERE t.file_id = a.file_id AND t.storage_id = a.storage_id AND t.state = 'queued' AND t.phase = 'stage'
"""
STAGED = """
UPDATE transfer t SET phase = 'ready', staged_at = clock_timestamp()
FROM (
    SELECT file_id, storage_id FROM transfer
    WHERE stage_id = $1 AND file_id = ANY($2::bigint[]) AND state = 'queued' AND phase = 'stage'
    ORDER BY file_id, storage_id FOR UPDATE
) s
WHERE t.file_id = s.file_id AND t.storage_id = s.storage_id
RETURNING t.file_id
"""
UNSTAGED = """
UPDATE transfer t
SET phase = 'waiting', error = $3, stage_id = NULL, attempts = t.attempts + 1, tried = t.tried || t.source_id,
    not_before = clock_timestamp() + make_interval(secs => $4)
FROM (
    SELECT file_id, storage_id FROM transfer
    WHERE stage_id = $1 AND file_id = ANY($2::bigint[]) AND state = 'queued' AND phase = 'stage'
    ORDER BY file_id, storage_id FOR UPDATE
) s
WHERE t.file_id = s.file_id AND t.storage_id = s.storage_id
RETURNING t.storage_id, t.file_id
"""


async def extend(conn: Connection, worker: str, batches: Sequence[int], time: timedelta) -> set[int]:
    """Keep batches for ``time`` from now; those that are still this worker's. A lease that ran out is gone."""
    await conn.execute(LOCK_SHARED)
    return {row["batch"] for row in await conn.fetch(EXTEND, worker, batches, time)}


async def done(conn: Connection, source_id: int, storage_id: int, copies: Sequence[Copied]) -> list[int]:
    """Record verified copies of one link, whoever has the lease now; the new ones' ids (replicas.arrive).

    A copy that was taken back while its mover had lost touch is none: its bytes may have been deleted as garbage, and
    are so again.
    """
    ids = [copy.file_id for copy in copies]
    await files.lock(conn, ids)  # which garbage is deleted under
    wanted = {row["file_id"] for row in await conn.fetch(WANTED, storage_id, ids)}
    await garbage.add(conn, storage_id, [file for file in ids if file not in wanted])
    copies = [copy for copy in copies if copy.file_id in wanted]
    new = await replicas.arrive(conn, storage_id, [copy.file_id for copy in copies])
    await conn.execute(METHODS, storage_id, [copy.file_id for copy in copies], [copy.method for copy in copies])
    moved = [copy for copy in copies if copy.method != "there"]
    facts = LinkFacts(len(moved), sum(c.bytes for c in moved), sum(c.seconds for c in moved))
    await links.add(conn, (source_id, storage_id), facts)
    return new


async def failed(conn: Connection, storage_id: int, batch: int, failures: Sequence[Failed]) -> set[int]:
    """Keep the reasons; the files that were still in this batch.

    A transfer is tried again after a second while it has a source that was not tried twice in this round, else after
    a long wait. Where the target is to blame, at once after a long wait: other sources would not help.
    """
    rounds = dict(row.values() for row in await conn.fetch(ROUNDS, storage_id, [f.file_id for f in failures]))
    waits = [wait_s(rounds.get(f.file_id, 0)) if f.at_target else QUICK_S for f in failures]
    rows = await conn.fetch(
        FAILED,
        storage_id,
        batch,
        [f.file_id for f in failures],
        [f.words for f in failures],
        waits,
        [f.at_target for f in failures],
    )
    mine = {row["file_id"]: row["source_id"] for row in rows}
    others = [f.file_id for f in failures if f.file_id in mine and not f.at_target]
    if others:
        await routing.end_rounds(conn, await conn.fetchval("SELECT clock_timestamp()"), storage_id, others)
    for source in sorted(set(mine.values())):
        count = sum(each == source for each in mine.values())
        await links.add(conn, (source, storage_id), LinkFacts(failures=count))
    return set(mine)


async def release(conn: Connection, batch: int, file_ids: Sequence[int]) -> None:
    """Give back what was leased and not begun, as if it had not been leased."""
    await conn.execute(RELEASE, batch, file_ids)


async def to_stage(conn: Connection, source_id: int, limit: int) -> list[ToStage]:
    """Files on a tape that transfers wait for and nobody has asked for, the most wanted first; locked."""
    rows = await conn.fetch(TO_STAGE, source_id, limit)
    dids = [Did(row["scope"], row["name"]) for row in rows]
    return [
        ToStage(row["file_id"], row["storage_id"], did, row["bytes"], url_of(row["url"], did))
        for row, did in zip(rows, dids, strict=True)
    ]


async def staging(conn: Connection, stage_id: int, wanted: Sequence[ToStage]) -> None:
    """The request was made for these."""
    await conn.execute(STAGING, stage_id, [w.file_id for w in wanted], [w.storage_id for w in wanted])


async def staged(conn: Connection, stage_id: int, file_ids: Sequence[int]) -> list[int]:
    """The files of the request are on disk: they may be copied now."""
    return [row["file_id"] for row in await conn.fetch(STAGED, stage_id, file_ids)]


async def unstaged(conn: Connection, stage_id: int, file_ids: Sequence[int], words: str) -> None:
    """The tape could not bring the files: a try in vain at this source."""
    rows = await conn.fetch(UNSTAGED, stage_id, file_ids, words, QUICK_S)
    now = await conn.fetchval("SELECT clock_timestamp()")
    for target in sorted({row["storage_id"] for row in rows}):
        ids = [row["file_id"] for row in rows if row["storage_id"] == target]
        await routing.end_rounds(conn, now, target, ids)
