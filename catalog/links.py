"""What goes from one storage to another: how well it went lately, and how much may go at a time."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from .connection import Connection

Link = tuple[int, int]
"""The ids of the storage that is read and of the one that is written."""


@dataclass(frozen=True)
class LinkFacts:
    """Copies that arrived, their bytes and the seconds they took one after the other, and the tries in vain."""

    files: int = 0
    bytes: int = 0
    seconds: float = 0.0
    failures: int = 0

    @property
    def rate(self) -> float | None:
        """Bytes a second of one copy; None if nothing arrived."""
        return self.bytes / self.seconds if self.seconds else None

    @property
    def success(self) -> float:
        """The share of tries that may be expected to succeed; 1 for a link that was never tried."""
        return (self.files + 1) / (self.files + self.failures + 1)


def share(limit: int) -> int:
    """What one link may have of a storage's copies or of a mover's: one that is slow leaves a quarter to others."""
    return limit - limit // 4


@dataclass
class Share:
    """What one mover may begin on each link, so that a slow one does not take all that it can do."""

    slots: int
    held: Counter[Link] = field(default_factory=Counter)
    """Copies in hand."""
    silent: set[Link] = field(default_factory=set)
    """Links that did not answer in time: one copy at a time tries them."""

    def room(self, link: Link) -> int:
        return (1 if link in self.silent else share(self.slots)) - self.held[link]


@dataclass
class Capacity:
    """How many more copies may run now; a batch that one worker copies in turn is one."""

    storages: dict[int, int]
    links: dict[Link, int] = field(default_factory=dict)
    limits: dict[int, int] = field(default_factory=dict)
    running: Counter[Link] = field(default_factory=Counter)
    mine: Share | None = None

    def room(self, link: Link) -> int:
        """Copies that may still begin on the link. A storage's limit bounds reads and writes together."""
        both = min(self.storages.get(at, 0) for at in link)
        at_most = self.links.get(link, min(share(self.limits.get(at, 0)) for at in link)) - self.running[link]
        return max(0, min(both, at_most, self.mine.room(link) if self.mine else at_most))

    def take(self, link: Link, *, new: bool = True) -> None:
        """Count a copy that begins, or runs already."""
        for storage in link:
            self.storages[storage] = self.storages.get(storage, 0) - 1
        self.running[link] += 1
        if new and self.mine:
            self.mine.held[link] += 1


FACTS = """
SELECT source_id, storage_id, sum(files)::bigint AS files, sum(bytes)::bigint AS bytes, sum(seconds) AS seconds,
       sum(failures)::bigint AS failures
FROM link WHERE hour >= date_trunc('hour', $1::timestamptz) GROUP BY source_id, storage_id
"""
ADD = """
INSERT INTO link (source_id, storage_id, hour, files, bytes, seconds, failures)
VALUES ($1, $2, date_trunc('hour', clock_timestamp()), $3, $4, $5, $6)
ON CONFLICT (source_id, storage_id, hour) DO UPDATE
SET files = link.files + excluded.files, bytes = link.bytes + excluded.bytes,
    seconds = link.seconds + excluded.seconds, failures = link.failures + excluded.failures
"""
STORAGE_LIMITS = "SELECT id, max_transfers FROM storage"
LINK_LIMITS = "SELECT source_id, storage_id, max_transfers FROM link_limit"
RUNNING = """
SELECT source_id, storage_id, count(DISTINCT batch) AS batches FROM transfer
WHERE state = 'queued' AND phase = 'active' AND lease_until > $1
GROUP BY source_id, storage_id
"""


async def facts(conn: Connection, since: datetime) -> Mapping[Link, LinkFacts]:
    """What went over each link since then, whole hours."""
    return {
        (source, target): LinkFacts(*rest)
        for source, target, *rest in (row.values() for row in await conn.fetch(FACTS, since))
    }


async def add(conn: Connection, link: Link, new: LinkFacts) -> None:
    """Count outcomes into the hour. Links are locked last, and one by each transaction: no two wait crosswise."""
    await conn.execute(ADD, *link, new.files, new.bytes, new.seconds, new.failures)


async def capacity(conn: Connection, now: datetime, mine: Share | None = None) -> Capacity:
    """What may begin at a moment: the limits less what runs under leases that are not over.

    A link without a limit of its own has a share of its storages'.
    """
    limits = {row["id"]: row["max_transfers"] for row in await conn.fetch(STORAGE_LIMITS)}
    of_links = {(row["source_id"], row["storage_id"]): row["max_transfers"] for row in await conn.fetch(LINK_LIMITS)}
    free = Capacity(dict(limits), of_links, limits, mine=mine)
    for row in await conn.fetch(RUNNING, now):
        for _ in range(row["batches"]):
            free.take((row["source_id"], row["storage_id"]), new=False)
    return free
