"""The first jobs of a queue's lanes as this server knows them: read once, kept up by what it gives and is told."""

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from ..database import Connection
from . import statements
from .match import Lane, Lanes
from .statements import LaneKey

ROWS = 4096
"""Heads that one reading may bring, over all lanes."""
DEPTH = 256
"""Heads of a lane that is given from."""
LOW = 16
"""With fewer heads left, the lane is read again before it runs out."""
SPREAD = 40503
"""Makes the parts of several servers independent of any order in jobs' numbers (those of a lane may all be even)."""
AGE_S = 60.0
"""After that time all lanes are read again, whatever was told."""


class Heads:
    """Where nobody tells what changes (``trusted``), all lanes are read each time."""

    def __init__(self) -> None:
        self.lanes = Lanes()
        self._stale: set[LaneKey] = set()
        self._given: set[LaneKey] = set()
        """Of these heads were given since they were looked at last."""
        self._used: set[LaneKey] = set()
        """The same since they were read last."""
        self._lost: set[int] = set()
        """Jobs that another server takes at this moment, as the batch that is served has met them."""
        self.doubtful: set[LaneKey] = set()
        """Where such jobs were left out: nobody tells if they were not taken after all."""
        self._read_at: float | None = None
        self._part, self._parts = 0, 1

    def changed(self, lane: LaneKey | None) -> None:
        """Something became ready in the lane, or in any of them."""
        if lane is None:
            self._read_at = None
        else:
            self._stale.add(lane)

    def gave(self, lanes: Iterable[Lane]) -> None:
        self._given.update((lane.share, lane.requirement) for lane in lanes)

    def missed(self, lane: Lane, job: int) -> None:
        """The job could not be taken."""
        self._lost.add(job)
        self._stale.add((lane.share, lane.requirement))

    def kept(self, lane: Lane) -> None:
        """The job was not taken after all."""
        self._stale.add((lane.share, lane.requirement))

    def batch(self) -> None:
        """Another batch begins: what the last one met is over."""
        self._lost.clear()

    def divide(self, part: int, parts: int) -> None:
        """Among jobs of one priority those come first that are this server's of several: others take the others."""
        self._part, self._parts = part, parts

    def trust_no_more(self) -> None:
        """Read the doubtful lanes again."""
        self._stale |= self.doubtful
        self.doubtful.clear()

    async def refresh(self, conn: Connection, queue: int, *, trusted: bool, wanted: int) -> None:
        """Read what is not known, or not any more; ``wanted``: how many jobs are asked for."""
        now = asyncio.get_running_loop().time()
        if self._read_at is None or not trusted or self._read_at + AGE_S < now:
            self._read_at = now  # before it is read: what changes meanwhile is not known then
            await self._read_all(conn, queue, wanted)
        else:
            await self._read_some(conn, queue)

    async def _read_all(self, conn: Connection, queue: int, wanted: int) -> None:
        depth = max(1, min(max(wanted, LOW), ROWS // max(len(self.lanes.known), 16))) + len(self._lost)
        self._stale, self._given, self._used = set(), set(), set()
        found = await statements.heads(conn, queue, depth)
        self.lanes = Lanes(map(self._sorted, found))

    async def _read_some(self, conn: Connection, queue: int) -> None:
        low = LOW + DEPTH - DEPTH // self._parts  # when all of one's own part is given
        out = self.lanes.run_out | {key for key in self._given if self.lanes.low(key, low)}
        self._used |= self._given
        self._given.clear()
        if not out and not self._stale:
            return
        # Where one runs low, those that soon will are read with it.
        wanted = self._stale | out | {key for key in self._used if self.lanes.low(key, max(low, DEPTH // 4))}
        self._stale, self._used = set(), self._used - wanted
        self.lanes.run_out.clear()
        found = await statements.heads_of(conn, queue, DEPTH + len(self._lost), wanted)
        for lane in found:
            self.lanes.put(self._sorted(lane))
        for key in wanted - {(lane.share, lane.requirement) for lane in found}:
            self.lanes.drop(key)

    def _sorted(self, lane: Lane) -> Lane:
        """As this server gives them: without those that another one takes, its own part first."""
        heads = [head for head in lane.heads if head[1] not in self._lost]
        if len(heads) < len(lane.heads):
            self.doubtful.add((lane.share, lane.requirement))
        elif self._parts == 1:
            return lane
        heads.sort(key=lambda head: (-head[0], (head[1] * SPREAD >> 16) % self._parts != self._part))
        return replace(lane, heads=tuple(heads))
