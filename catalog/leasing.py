"""Leasing: which of the ready transfers a mover gets next, within the limits of storages and links.

The cost does not depend on how many transfers wait, are held back by limits, or are done: each lane (owner and link)
is one step in an index, and a transfer gets its source once for each try.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from . import links, quotas, routing, waits
from .connection import Connection
from .links import Capacity, Share
from .names import Did, url_of
from .quotas import Room

SMALL = 32 * 1024 * 1024
"""Files below this size are leased in batches: the way there and back costs more than their bytes."""
BATCH = 100
"""Files in a batch at most."""
SLICE = 500
"""Transfers that get a source at a time; a lease looks for sources only as long as it has not enough to give."""
SLICES = 4


@dataclass(frozen=True)
class Leased:
    """A copy to make: from ``source_url`` to ``target_url``. Those of one ``batch`` are one worker's, in turn."""

    batch: int
    file_id: int
    storage_id: int
    source_id: int
    did: Did
    bytes: int
    adler32: str
    source_url: str
    target_url: str
    attempts: int
    """Which try it is, from 1."""
    links: bool = False
    """Whether both storages allow that the copy is a second name of the same blocks."""


class Head(NamedTuple):
    """A new transfer that comes first at its target."""

    storage_id: int
    priority: int
    bytes: int
    queued_at: datetime
    file_id: int

    @property
    def turn(self) -> tuple[int, int]:
        return -self.priority, -self.bytes


class Lane(NamedTuple):
    """Ready transfers of one owner on one link, and the one that comes first."""

    source_id: int
    storage_id: int
    owner: str
    priority: int
    bytes: int
    queued_at: datetime
    file_id: int
    error: str | None

    @property
    def key(self) -> tuple[int, int, str]:
        return self.source_id, self.storage_id, self.owner

    @property
    def turn(self) -> tuple[int, int, datetime, int]:
        """By priority, then big files first, then age."""
        return -self.priority, -self.bytes, self.queued_at, self.file_id


# Leases exclude each other, so that what one counts as running is all that runs: the limits hold whoever asks at the
# same time. They last milliseconds; an extension excludes leases only, so that none revives what was given away.
LOCK = "SELECT pg_advisory_xact_lock(hashtext('prodchain transfers'))"
NOW = "SELECT clock_timestamp()"
STORAGES = "SELECT id, name, readable, writable FROM storage"
_READY = "state = 'queued' AND phase = 'ready'"
_OF_LANE = f"{_READY} AND source_id = $1 AND storage_id = $2 AND owner = $3"
_ORDER = "priority DESC, bytes DESC, queued_at, file_id"
# One step down the index for each lane, however many wait in it.
LANES = f"""
WITH RECURSIVE lane AS (
    (SELECT source_id, storage_id, owner FROM transfer WHERE {_READY} ORDER BY source_id, storage_id, owner LIMIT 1)
    UNION ALL
    SELECT next.* FROM lane CROSS JOIN LATERAL (
        SELECT source_id, storage_id, owner FROM transfer t
        WHERE {_READY} AND (t.source_id, t.storage_id, t.owner) > (lane.source_id, lane.storage_id, lane.owner)
        ORDER BY source_id, storage_id, owner LIMIT 1
    ) next
)
SELECT lane.*, head.* FROM lane CROSS JOIN LATERAL (
    SELECT priority, bytes, queued_at, file_id, error FROM transfer t
    WHERE {_READY} AND t.source_id = lane.source_id AND t.storage_id = lane.storage_id AND t.owner = lane.owner
    ORDER BY {_ORDER} LIMIT 1
) head
"""  # noqa: S608
HEAD = f"""
SELECT source_id, storage_id, owner, priority, bytes, queued_at, file_id, error FROM transfer
WHERE {_OF_LANE} ORDER BY {_ORDER} LIMIT 1
"""  # noqa: S608
NEW_HEADS = """
SELECT target.id, head.* FROM unnest($1::smallint[]) AS target (id) CROSS JOIN LATERAL (
    SELECT priority, bytes, queued_at, file_id FROM transfer
    WHERE state = 'queued' AND phase = 'new' AND storage_id = target.id
    ORDER BY priority DESC, bytes DESC, file_id LIMIT 1
) head
"""
SMALL_ONES = f"""
SELECT count(*) FROM (
    SELECT FROM transfer WHERE {_OF_LANE} AND priority = $4 AND bytes < $5 LIMIT $6
) small
"""  # noqa: S608
# Attempts are counted when they begin: one that kills its mover counts too. What has lost its source in the meantime
# is new again.
TAKE = f"""
WITH taken AS (
    SELECT file_id, storage_id, EXISTS (
        SELECT FROM replica r WHERE r.file_id = transfer.file_id AND r.storage_id = $1) AS there
    FROM transfer WHERE {_OF_LANE} AND priority = $4 AND bytes <= $5
    ORDER BY {_ORDER} LIMIT $6 FOR UPDATE SKIP LOCKED
), batch AS (
    SELECT nextval('transfer_batch') AS id
), lost AS (
    UPDATE transfer t SET phase = 'new', source_id = NULL, stage_id = NULL, staged_at = NULL FROM taken
    WHERE NOT taken.there AND t.file_id = taken.file_id AND t.storage_id = taken.storage_id
), leased AS (
    UPDATE transfer t
    SET phase = 'active', worker = $7, batch = batch.id, attempts = t.attempts + 1, tried = t.tried || t.source_id,
        started_at = $8::timestamptz, lease_until = $8::timestamptz + $9::interval,
        not_before = $8::timestamptz + $9::interval
    FROM taken, batch WHERE taken.there AND t.file_id = taken.file_id AND t.storage_id = taken.storage_id
    RETURNING t.batch, t.file_id, t.storage_id, t.source_id, t.attempts
)
SELECT leased.*, f.scope, f.name, f.bytes, f.adler32, source.url AS source_url, target.url AS target_url,
       coalesce(source.attributes ->> 'links' = 'yes' AND target.attributes ->> 'links' = 'yes', false) AS links
FROM leased JOIN file f ON f.id = leased.file_id JOIN storage target ON target.id = leased.storage_id
JOIN storage source ON source.id = leased.source_id
ORDER BY f.bytes DESC, leased.file_id
"""  # noqa: S608
BLOCKED = f"""
UPDATE transfer t SET error = $5
FROM (SELECT file_id FROM transfer WHERE {_OF_LANE} ORDER BY {_ORDER} LIMIT $4 FOR UPDATE SKIP LOCKED) first
WHERE t.file_id = first.file_id AND t.storage_id = $2 AND t.error IS DISTINCT FROM $5
"""  # noqa: S608
LEAVE = f"""
UPDATE transfer t SET phase = 'new', source_id = NULL, stage_id = NULL, staged_at = NULL
FROM (SELECT file_id FROM transfer WHERE {_OF_LANE} ORDER BY {_ORDER} LIMIT $4 FOR UPDATE SKIP LOCKED) left_
WHERE t.file_id = left_.file_id AND t.storage_id = $2
"""  # noqa: S608


async def lease(
    conn: Connection, worker: str, limit: int, time: timedelta, mine: Share | None = None
) -> list[Leased]:
    """Take up to ``limit`` copies that limits allow, for ``time``; nobody else gets them until that is over.

    A copy is one big file, or a batch of up to BATCH small ones of one link; a batch's files follow each other. By
    priority, then big files first, then age. ``mine`` bounds what this worker takes of each link.
    """
    await conn.execute(LOCK)
    now: datetime = await conn.fetchval(NOW)
    facts = {row["id"]: row for row in await conn.fetch(STORAGES)}
    closed = {at: f"nothing may be written to {row['name']} now" for at, row in facts.items() if not row["writable"]}
    await waits.fold(conn)
    capacity = await links.capacity(conn, now, mine)
    turn = _Turn(conn, worker, time, now, capacity, closed, await quotas.room(conn), limit)
    unreadable = {at for at, row in facts.items() if not row["readable"]}
    for _ in range(SLICES):
        more = await turn.route(unreadable)
        await turn.take()
        if not more or turn.wanted == 0:
            break
    return turn.leased


@dataclass
class _Turn:
    """One worker's turn at the queue, under the lock."""

    conn: Connection
    worker: str
    time: timedelta
    now: datetime
    capacity: Capacity
    closed: Mapping[int, str]
    space: Sequence[Room]
    wanted: int
    leased: list[Leased] = field(default_factory=list)

    async def route(self, unreadable: Collection[int]) -> bool:
        """Give sources to those that are due, and to new ones that come before what is ready; False: no more are."""
        due = await routing.route_due(self.conn, self.now, SLICE)
        lanes = await self._lanes()
        for lane in lanes:
            if lane.source_id in unreadable:
                await self.conn.execute(LEAVE, *lane.key, SLICE)
        targets = [at for at, room in self.capacity.storages.items() if room > 0]
        heads = [Head(*row.values()) for row in await self.conn.fetch(NEW_HEADS, targets)]
        wanted = [head.storage_id for head in heads if self._comes_first(head, lanes)]
        each = max(BATCH, SLICE // max(1, len(wanted)))
        new = await routing.route_new(self.conn, self.now, wanted, each) if wanted else 0
        return due == SLICE or new >= each

    async def take(self) -> None:
        """Lease batch after batch from the lane whose turn it is."""
        lanes = {lane.key: lane for lane in await self._lanes()}
        while self.wanted and (open_ := [lane for lane in lanes.values() if self._open(lane)]):
            lane = min(open_, key=lambda lane: lane.turn)
            batch = await self._take(lane)
            head = await self.conn.fetchrow(HEAD, *lane.key) if batch else None
            if head is None:  # empty, or what is left is locked by those who end it
                del lanes[lane.key]
            else:
                lanes[lane.key] = Lane(*head.values())
            if batch:
                self.capacity.take((lane.source_id, lane.storage_id))
                size = sum(each.bytes for each in batch)
                rooms = self._rooms(lane)
                self.space = [replace(r, bytes=r.bytes - size) if r in rooms else r for r in self.space]
                self.wanted -= 1
                self.leased += batch

    async def _lanes(self) -> list[Lane]:
        lanes = [Lane(*row.values()) for row in await self.conn.fetch(LANES)]
        for lane in lanes:
            words = self._blocked(lane)
            if words and words != lane.error:
                await self.conn.execute(BLOCKED, *lane.key, BATCH, words)
        return lanes

    def _blocked(self, lane: Lane) -> str | None:
        """Why nothing of a lane may be leased, limits apart. What comes first is not passed by what is smaller."""
        if words := self.closed.get(lane.storage_id):
            return words
        return next((room.words for room in self._rooms(lane) if room.bytes < max(1, lane.bytes)), None)

    def _rooms(self, lane: Lane) -> list[Room]:
        return [
            room for room in self.space if room.storage_id == lane.storage_id and room.owner in (None, lane.owner)
        ]

    def _open(self, lane: Lane) -> bool:
        return self.capacity.room((lane.source_id, lane.storage_id)) > 0 and not self._blocked(lane)

    def _comes_first(self, head: Head, lanes: Sequence[Lane]) -> bool:
        ready = [lane for lane in lanes if lane.storage_id == head.storage_id]
        if head.storage_id in self.closed:
            return not ready  # a few get a source, and with it the reason
        return all(head.turn < lane.turn[:2] for lane in ready if self._open(lane))

    async def _take(self, lane: Lane) -> list[Leased]:
        """One big file, or small ones, shared out over the copies that may begin."""
        count, below = 1, lane.bytes
        if lane.bytes < SMALL:
            begin = min(self.wanted, self.capacity.room((lane.source_id, lane.storage_id)))
            small = await self.conn.fetchval(SMALL_ONES, *lane.key, lane.priority, SMALL, BATCH * begin)
            fit = min((room.bytes // max(1, lane.bytes) for room in self._rooms(lane)), default=BATCH)
            count = max(1, min(BATCH, -(-small // begin), fit))
        rows = await self.conn.fetch(TAKE, *lane.key, lane.priority, below, count, self.worker, self.now, self.time)
        return [_leased(row) for row in rows]


def _leased(row: Any) -> Leased:
    did = Did(row["scope"], row["name"])
    return Leased(
        batch=row["batch"],
        file_id=row["file_id"],
        storage_id=row["storage_id"],
        source_id=row["source_id"],
        did=did,
        bytes=row["bytes"],
        adler32=row["adler32"],
        source_url=url_of(row["source_url"], did),
        target_url=url_of(row["target_url"], did),
        attempts=row["attempts"],
        links=row["links"],
    )
