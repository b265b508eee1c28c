"""Bad replicas, declared or found: replaced by good copies, or their files are lost, which is said once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from . import files, history, hooks, replicas
from .connection import Connection
from .models import BadReplica, BadState
from .queueing import RECOVERY, Terms, queue

MISMATCHES = 2
"""Copies that came out wrong before the source is taken to be bad: one may be the network's fault."""
FLOOD = 100
"""Copies of a storage that movers give up in an hour. Where more are bad, the storage does not show what it has (not
mounted, another prefix): people decide then, with an audit."""

HERE = """
SELECT r.file_id, EXISTS (SELECT FROM replica o WHERE o.file_id = r.file_id AND o.storage_id <> $1) AS elsewhere
FROM replica r WHERE r.storage_id = $1 AND r.file_id = ANY($2::bigint[]) ORDER BY r.file_id
"""
DECLARE = """
INSERT INTO bad_replica (file_id, storage_id, state, actor, reason)
SELECT file_id, $1, state, $4, $5 FROM unnest($2::bigint[], $3::text[]) AS bad (file_id, state)
RETURNING *
"""
LOSE = """
UPDATE file SET lost_at = now() WHERE id = ANY($1::bigint[]) AND lost_at IS NULL
RETURNING id, scope || ':' || name AS did
"""
LOSERS = """
SELECT d.scope || ':' || d.name || CASE WHEN d.latest THEN '' ELSE '@' || d.version END AS did,
       count(*) AS files, (array_agg(f.scope || ':' || f.name ORDER BY f.id))[1:3] AS some
FROM dataset_file m JOIN dataset d ON d.id = m.dataset_id JOIN file f ON f.id = m.file_id
WHERE m.file_id = ANY($1::bigint[]) GROUP BY d.id ORDER BY d.id
"""
SUSPECT = """
UPDATE replica SET mismatches = mismatches + 1 WHERE file_id = $1 AND storage_id = $2 RETURNING mismatches
"""
RECENT = """
SELECT count(*) FROM bad_replica WHERE storage_id = $1 AND actor = $2 AND at > now() - interval '1 hour'
"""
FIND = """
SELECT b.id, f.scope || ':' || f.name AS file, s.name AS storage, b.state, b.at, b.actor, b.reason
FROM bad_replica b JOIN file f ON f.id = b.file_id JOIN storage s ON s.id = b.storage_id
WHERE ($1::text IS NULL OR b.state = $1) AND ($2::smallint IS NULL OR b.storage_id = $2)
  AND ($3::bigint IS NULL OR b.file_id IN (SELECT file_id FROM dataset_file WHERE dataset_id = $3))
  AND ($4::bigint IS NULL OR b.id < $4)
ORDER BY b.id DESC LIMIT $5
"""


@dataclass(frozen=True)
class BadReplicaView:
    """A bad copy as people see it; ``state`` is recovering, recovered or lost."""

    id: int
    file: str
    storage: str
    state: str
    at: datetime
    actor: str
    reason: str


async def bad(
    conn: Connection, storage_id: int, file_ids: Sequence[int], actor: str, reason: str
) -> list[BadReplica]:
    """Declare copies bad: they are forgotten and their bytes deleted or overwritten.

    A file with another copy gets a new one here before all others; else it is lost, and its datasets' stories say so.
    What is not at the storage (any more) is left out, so that declaring twice is declaring once.
    """
    await files.lock(conn, file_ids)
    here = {row["file_id"]: row["elsewhere"] for row in await conn.fetch(HERE, storage_id, file_ids)}
    if not here:
        return []
    await replicas.remove(conn, storage_id, list(here))
    await queue(conn, storage_id, [f for f, elsewhere in here.items() if elsewhere], Terms(priority=RECOVERY))
    states = [BadState.RECOVERING if elsewhere else BadState.LOST for elsewhere in here.values()]
    declared = await conn.fetch(DECLARE, storage_id, list(here), states, actor, reason)
    await _lose(conn, storage_id, [f for f, elsewhere in here.items() if not elsewhere], actor, reason)
    return [BadReplica.model_validate(dict(row)) for row in declared]


async def suspect(conn: Connection, storage_id: int, file_id: int, words: str, actor: str = "mover") -> bool:
    """A copy from here came out wrong: True if it was the one too many, and the replica is bad now.

    Not where very many are: then the storage is in doubt, which its story says once, and its copies stay registered.
    """
    await files.lock(conn, [file_id])
    mismatches = await conn.fetchval(SUSPECT, file_id, storage_id)
    if mismatches is None or mismatches < MISMATCHES:
        return False
    recent = await conn.fetchval(RECENT, storage_id, actor)
    if recent >= FLOOD or not await bad(conn, storage_id, [file_id], actor, words):
        return False
    if recent + 1 == FLOOD:
        await _doubt(conn, storage_id, actor)
    return True


async def find(
    conn: Connection,
    *,
    state: str | None = None,
    storage_id: int | None = None,
    dataset_id: int | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[BadReplicaView]:
    """Bad copies, newest first; ``before`` is the last id of the page before."""
    rows = await conn.fetch(FIND, state, storage_id, dataset_id, before, limit)
    return [BadReplicaView(**dict(row)) for row in rows]


async def _doubt(conn: Connection, storage_id: int, actor: str) -> None:
    storage = await conn.fetchval("SELECT name FROM storage WHERE id = $1", storage_id)
    text = (
        f"{FLOOD} copies were bad within an hour: no more are given up now. Is it all there?"
        f" `prodchain storage audit {storage}` compares it with the catalog"
    )
    await history.note(conn, "doubt", storage, actor, text)


async def _lose(conn: Connection, storage_id: int, file_ids: Sequence[int], actor: str, reason: str) -> None:
    lost = await conn.fetch(LOSE, file_ids)
    if not lost:
        return
    storage = await conn.fetchval("SELECT name FROM storage WHERE id = $1", storage_id)
    why = f"the last copy, at {storage}, was bad: {reason}"
    await history.note_many(conn, "lost", sorted(row["did"] for row in lost), actor, f"the file is lost: {why}")
    for row in await conn.fetch(LOSERS, [row["id"] for row in lost]):
        more = f" and {row['files'] - len(row['some'])} more" if row["files"] > len(row["some"]) else ""
        await history.note(conn, "lost", row["did"], actor, f"lost {', '.join(row['some'])}{more}: {why}")
    await hooks.tell_lost(conn, [row["id"] for row in lost], why)
