"""Which copy a transfer reads: two tries at a source, then the next; when all were tried twice, it waits."""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from . import expressions, links, sites
from .connection import Connection
from .errors import BadExpression
from .links import Link, LinkFacts
from .models import Storage, StorageKind, TransferPhase

TRIES = 2
"""At one source, before the next one is tried."""
QUICK_S = 1.0
"""What is waited before the next try, while there is a source that was not tried twice."""
WAITS_S = (60, 300, 900, 3600)
"""What is waited when all sources were tried twice, for the first time, the second, ...; the last one for ever."""
RECENT = timedelta(hours=2)
"""How far back a link's rate and failures count."""

_ROW = "file_id, storage_id, bytes, sources, tried, rounds, staged_at, phase, worker"
DUE = f"""
SELECT {_ROW} FROM transfer
WHERE state = 'queued' AND (phase = 'waiting' OR phase = 'active') AND not_before <= $1
ORDER BY not_before LIMIT $2 FOR UPDATE SKIP LOCKED
"""  # noqa: S608
NEW = f"""
SELECT new.* FROM unnest($1::smallint[]) AS target (id) CROSS JOIN LATERAL (
    SELECT {_ROW} FROM transfer
    WHERE state = 'queued' AND phase = 'new' AND storage_id = target.id
    ORDER BY priority DESC, bytes DESC, file_id LIMIT $2 FOR UPDATE SKIP LOCKED
) new
"""  # noqa: S608
THESE = f"""
SELECT {_ROW} FROM transfer WHERE storage_id = $1 AND file_id = ANY($2::bigint[]) AND state = 'queued'
ORDER BY file_id FOR UPDATE
"""  # noqa: S608
COPIES = "SELECT file_id, storage_id FROM replica WHERE file_id = ANY($1::bigint[]) ORDER BY file_id, storage_id"
WRITE = """
UPDATE transfer t
SET phase = r.phase, source_id = coalesce(r.source_id, t.source_id), error = coalesce(r.error, t.error),
    not_before = r.not_before, worker = NULL, batch = NULL, lease_until = NULL,
    tried = CASE WHEN r.over THEN '{}' ELSE t.tried END, rounds = t.rounds + r.over::int
FROM unnest($1::bigint[], $2::smallint[], $3::text[], $4::smallint[], $5::text[], $6::timestamptz[], $7::bool[])
     AS r (file_id, storage_id, phase, source_id, error, not_before, over)
WHERE t.file_id = r.file_id AND t.storage_id = r.storage_id
"""


@dataclass(frozen=True)
class Waiting:
    """A transfer that wants a source. ``tried`` are the sources of this round, one for each try."""

    file_id: int
    storage_id: int
    bytes: int
    sources: str | None
    tried: Sequence[int]
    rounds: int
    staged: bool
    died: str | None = None
    """The worker whose lease ran out."""


@dataclass(frozen=True)
class Route:
    """What becomes of a transfer: a source and its phase, or a reason and how long to wait; a round may be over."""

    phase: TransferPhase
    source_id: int | None = None
    error: str | None = None
    wait_s: float = 0.0
    over: bool = False


class Routes:
    """Chooses sources for many transfers, so that each link gets work by what it carries."""

    def __init__(self, storages: Sequence[Storage], facts: Mapping[Link, LinkFacts]) -> None:
        self._storages = {storage.id or 0: storage for storage in storages}
        self._facts = facts
        # A link that nobody knows is tried as if it were as good as the best.
        self._best = max((known.rate or 0.0 for known in facts.values()), default=0.0) or 1.0
        self._given: dict[Link, float] = defaultdict(float)

    def choose(self, waiting: Waiting, copies: Sequence[int]) -> Route:
        """The next source of a transfer, of the storages that have a copy."""
        readable = [at for at in copies if at != waiting.storage_id and self._storages[at].readable]
        allowed = [at for at in readable if self._allowed(waiting.sources, at)]
        if not allowed:
            return self._later(waiting, self._nowhere(waiting, copies, readable))
        open_ = [at for at in allowed if waiting.tried.count(at) < TRIES]
        if not open_:
            return self._later(waiting, _died(waiting))
        # One that was begun is tried again first: most failures are over in a second.
        source = min(open_, key=lambda at: (at not in waiting.tried, *self._cost(waiting, at), at))
        self._given[source, waiting.storage_id] += waiting.bytes
        to_stage = self._storages[source].kind == StorageKind.TAPE and not waiting.staged
        return Route(TransferPhase.STAGE if to_stage else TransferPhase.READY, source, _died(waiting))

    def _allowed(self, text: str | None, storage_id: int) -> bool:
        if text is None:
            return True
        try:
            return expressions.fits(expressions.parse(text), self._storages[storage_id])
        except BadExpression:  # was read when it was written: its language changed since
            return False

    def _cost(self, waiting: Waiting, source: int) -> tuple[bool, float]:
        """Seconds until the link would have carried all that was given to it here; what is on tape comes last."""
        known = self._facts.get((source, waiting.storage_id), LinkFacts())
        rate = (known.rate or self._best) * known.success**2
        tape = self._storages[source].kind == StorageKind.TAPE and not waiting.staged
        return tape, (self._given[source, waiting.storage_id] + waiting.bytes + 1) / rate

    def _nowhere(self, waiting: Waiting, copies: Sequence[int], readable: Sequence[int]) -> str:
        others = ", ".join(self._storages[at].name for at in copies if at != waiting.storage_id)
        if not others:
            return "there is no copy at any other storage; it may still be on its way from the job that makes it"
        if not readable:
            return f"its copies are at {others}, of which none may be read now"
        return f"its copies are at {others}, none of which is one of the sources '{waiting.sources}'"

    def _later(self, waiting: Waiting, error: str | None) -> Route:
        return Route(TransferPhase.WAITING, error=error, wait_s=wait_s(waiting.rounds), over=True)


def _died(waiting: Waiting) -> str | None:
    return f"the mover {waiting.died} died, or lost touch, while it had this copy" if waiting.died else None


def wait_s(rounds: int) -> float:
    """Seconds after the round of that number, from 0; a tenth more or less, so that what failed together parts."""
    return WAITS_S[min(rounds, len(WAITS_S) - 1)] * random.uniform(0.9, 1.1)  # noqa: S311


async def route_due(conn: Connection, now: datetime, limit: int) -> int:
    """Find sources for transfers whose wait, or whose mover's lease, is over; the number looked at."""
    return await _route(conn, now, await conn.fetch(DUE, now, limit))


async def route_new(conn: Connection, now: datetime, storage_ids: Sequence[int], limit: int) -> int:
    """The same for the most wanted new transfers to each of the storages."""
    return await _route(conn, now, await conn.fetch(NEW, storage_ids, limit))


async def end_rounds(conn: Connection, now: datetime, storage_id: int, file_ids: Sequence[int]) -> None:
    """Let those transfers wait long that have no source left to try after a failure."""
    waiting = [_waiting(row) for row in await conn.fetch(THESE, storage_id, file_ids)]
    copies = await _copies(conn, waiting)
    routes = await _routes(conn)
    ended = [(w, routes.choose(w, copies[w.file_id])) for w in waiting]
    await _write(conn, now, [(w, route) for w, route in ended if route.source_id is None])


async def _route(conn: Connection, now: datetime, rows: Sequence[Any]) -> int:
    if rows:
        waiting = [_waiting(row) for row in rows]
        copies = await _copies(conn, waiting)
        routes = await _routes(conn)
        await _write(conn, now, [(w, routes.choose(w, copies[w.file_id])) for w in waiting])
    return len(rows)


def _waiting(row: Any) -> Waiting:
    died = row["worker"] if row["phase"] == TransferPhase.ACTIVE else None
    staged = row["staged_at"] is not None
    return Waiting(
        row["file_id"],
        row["storage_id"],
        row["bytes"],
        row["sources"],
        row["tried"],
        row["rounds"],
        staged,
        died,
    )


async def _routes(conn: Connection) -> Routes:
    since = await conn.fetchval("SELECT clock_timestamp() - $1::interval", RECENT)
    return Routes(await sites.storages(conn), await links.facts(conn, since))


async def _copies(conn: Connection, waiting: Sequence[Waiting]) -> Mapping[int, list[int]]:
    copies: dict[int, list[int]] = defaultdict(list)
    for row in await conn.fetch(COPIES, list({w.file_id for w in waiting})):
        copies[row["file_id"]].append(row["storage_id"])
    return copies


async def _write(conn: Connection, now: datetime, routed: Sequence[tuple[Waiting, Route]]) -> None:
    if not routed:
        return
    await conn.execute(
        WRITE,
        [w.file_id for w, _ in routed],
        [w.storage_id for w, _ in routed],
        [r.phase for _, r in routed],
        [r.source_id for _, r in routed],
        [r.error for _, r in routed],
        [now + timedelta(seconds=r.wait_s) for _, r in routed],
        [r.over for _, r in routed],
    )
