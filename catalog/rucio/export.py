"""Our catalog, or some datasets of it, told to Rucio: what is there is compared, what is missing is added.

Nothing is decided from what an earlier run did, so a run that was killed is simply run again. What differs in a way
that only people can settle is reported and left alone. No file moves: the paths of ours are Rucio's.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from .. import sites
from ..connection import Pool
from ..errors import CatalogError, ExternalDenied, ExternalUnreachable
from ..models import Storage
from ..names import Did
from . import reading, rses
from .catalog import RucioCatalog, did_of
from .content import Content, Written
from .reading import Source

PARALLEL = 4
"""Datasets that are told at the same time: Rucio works on several calls at once, on a core each."""
SLACK = timedelta(minutes=1)
"""Ends of life that differ less are the same."""


class Difference(NamedTuple):
    """What people have to settle: about which dataset of ours, and what it is."""

    dataset_id: int
    object: str
    words: str


@dataclass
class Report:
    """What was done, or would be."""

    seen: int = 0
    datasets: int = 0
    containers: int = 0
    closed: int = 0
    written: Written = field(default_factory=Written)
    differences: list[Difference] = field(default_factory=list)


class Export:
    """``prepare`` once, then ``run`` on as many datasets at a time as memory takes (some hundred)."""

    def __init__(self, pool: Pool, rucio: RucioCatalog, *, guids: bool = True, dry_run: bool = False) -> None:
        self._pool = pool
        self._rucio = rucio
        self._guids = guids
        self._dry_run = dry_run
        self._rses: dict[int, str] = {}
        self._busy = asyncio.Semaphore(PARALLEL)
        self.report = Report()

    async def prepare(self) -> list[Storage]:
        """Make an RSE for each storage that has none; those that were made. Raises ExternalDenied, BadStorage."""
        async with self._pool.acquire() as conn:
            storages = await sites.storages(conn)
        missing = await rses.missing(self._rucio.client, storages)
        for storage in missing:
            rses.protocol_of(storage)
            if not self._dry_run:
                await rses.make(self._rucio.client, storage)
        self._rses = {storage.id or 0: rses.name_of(storage) for storage in storages}
        return missing

    async def run(self, dataset_ids: Sequence[int]) -> None:
        """Tell Rucio of these datasets. Raises ExternalUnreachable and ExternalDenied; all else is in the report."""
        async with self._pool.acquire() as conn:
            mine = await reading.sources(conn, dataset_ids)
            below = await reading.children(conn, [each.dataset.id or 0 for each in mine if each.container])
            everything = {each.did: each for each in [*mine, *(child for some in below.values() for child in some)]}
            taken = await reading.taken(conn, list(everything.values()))
        self.report.seen += len(mine)
        known = await self._rucio.known(list(everything))
        fit = {did for did, source in everything.items() if self._fits(source, known.get(did), did in taken)}
        fit -= await self._make([everything[did] for did in everything if did in fit and did not in known])
        await self._all([(each, self._fill(each, known.get(each.did))) for each in mine if each.did in fit])
        # Only now, as what is in a container may be closed by what came before.
        for source in mine:
            if source.container and source.did in fit:
                inside = {child.did for child in below[source.dataset.id or 0] if child.did in fit}
                await self._guarded(source, self._contain(source, known.get(source.did), inside))

    def _fits(self, source: Source, known: dict[str, Any] | None, taken: bool) -> bool:
        if taken and source.dataset.version > 1:
            self._differs(source, f"{source.did} is the name of another dataset")
        elif known is not None and known["did_type"] != ("CONTAINER" if source.container else "DATASET"):
            self._differs(source, f"is a {known['did_type'].lower()} in Rucio")
        else:
            return True
        return False

    async def _make(self, new: Sequence[Source]) -> set[Did]:
        """Make them in one call; if that is refused, one by one: those that Rucio refuses."""
        if new and not self._dry_run:
            await self._rucio.make_scopes({source.did.scope for source in new})
            try:
                await self._rucio.make([source.new() for source in new])
            except (ExternalUnreachable, ExternalDenied):
                raise
            except CatalogError as error:
                if len(new) == 1:
                    self._differs(new[0], str(error))
                    return {new[0].did}
                return set().union(*[await self._make([source]) for source in new])
        self.report.datasets += sum(not source.container for source in new)
        self.report.containers += sum(source.container for source in new)
        return set()

    async def _fill(self, source: Source, known: dict[str, Any] | None) -> None:
        if known is not None:
            await self._end(source, known["expired_at"])
        if source.container or source.dataset.deleted_at is not None:
            return
        content = Content(
            self._pool, self._rucio, self._rses, source, known, guids=self._guids, dry_run=self._dry_run
        )
        await content.tell()
        self.report.written += content.written
        for words in content.differences:
            self._differs(source, words)
        if not content.differences:
            await self._close(source, known)

    async def _contain(self, source: Source, known: dict[str, Any] | None, inside: set[Did]) -> None:
        there = set() if known is None else {did_of(line) for line in await self._rucio.content(source.did)}
        if known is not None and not known["is_open"] and there != inside:
            self._differs(source, "is closed in Rucio, with other content")
            return
        if not self._dry_run:
            if joining := sorted(inside - there):
                await self._rucio.add(source.did, joining)
            if leaving := sorted(there - inside):
                await self._rucio.detach(source.did, leaving)
        await self._close(source, known)

    async def _close(self, source: Source, known: dict[str, Any] | None) -> None:
        if source.open or (known is not None and not known["is_open"]):
            return
        self.report.closed += 1
        if not self._dry_run:
            await self._rucio.close(source.did)

    async def _end(self, source: Source, expired_at: str | None) -> None:
        there = parsedate_to_datetime(expired_at) if expired_at else None
        here = source.ends_at
        if here == there or (here and there and (abs(here - there) < SLACK or max(here, there) < datetime.now(UTC))):
            return
        body = {"value": reading.lifetime(here) if here else None}
        if not self._dry_run:
            about = str(source.did)
            await self._rucio.client.call("POST", "dids", *source.did, "meta", "lifetime", about=about, body=body)

    async def _all(self, work: list[tuple[Source, Awaitable[None]]]) -> None:
        done = await asyncio.gather(*(self._guarded(*each) for each in work), return_exceptions=True)
        for error in done:
            if error is not None:
                raise error

    async def _guarded(self, source: Source, work: Awaitable[None]) -> None:
        """One dataset that Rucio refuses does not stop the others."""
        async with self._busy:
            try:
                await work
            except (ExternalUnreachable, ExternalDenied):
                raise
            except CatalogError as error:
                self._differs(source, str(error))

    def _differs(self, source: Source, words: str) -> None:
        version = f"@{source.dataset.version}" if source.dataset.version > 1 else ""
        name = f"{source.dataset.scope}:{source.dataset.name}{version}"
        self.report.differences.append(Difference(source.dataset.id or 0, name, words))


Told = Callable[[Report], None]


async def everything(pool: Pool, export: Export, pattern: str, bookkeeping: bool, told: Told) -> None:
    """All datasets that match, every version of them, in slices; ``told`` hears how far it is."""
    async for dataset_ids in reading.matching(pool, pattern, bookkeeping):
        await export.run(dataset_ids)
        told(export.report)
