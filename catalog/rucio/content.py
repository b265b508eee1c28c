"""The files of one dataset and their copies, told to Rucio."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from ..connection import Pool
from ..errors import ExternalCatalog, ExternalDenied, ExternalUnreachable, FileConflict
from ..names import Did
from . import reading
from .catalog import AVAILABLE, UNAVAILABLE, Attachment, RucioCatalog, did_of, file_item, refuse_other_content
from .reading import Member, Source


@dataclass
class Written:
    """Files that joined, and copies that were added, found again or taken back."""

    files: int = 0
    replicas: int = 0

    def __iadd__(self, other: "Written") -> Self:
        self.files += other.files
        self.replicas += other.replicas
        return self


class Content:
    """What ``tell`` found different is in ``differences`` afterwards, in words."""

    def __init__(
        self,
        pool: Pool,
        rucio: RucioCatalog,
        rses: Mapping[int, str],
        source: Source,
        known: dict[str, Any] | None,
        *,
        guids: bool,
        dry_run: bool,
    ) -> None:
        self._pool = pool
        self._rucio = rucio
        self._rses = rses
        self._source = source
        self._known = known
        self._guids = guids
        self._dry_run = dry_run
        self._copies: dict[str, dict[Did, Member]] = defaultdict(dict)
        self._ours: set[Did] = set()
        self.written = Written()
        self.differences: list[str] = []

    async def tell(self) -> None:
        """Let files join that Rucio lacks, then make its copies ours."""
        there: dict[Did, dict[str, Any]] = {}
        if self._known is not None:
            there = {did_of(line): line for line in await self._rucio.content(self._source.did)}
        seen, lacking, copyless = 0, 0, 0
        async for some in reading.members(self._pool, self._source.dataset.id or 0):
            seen += sum(member.file.did in there for member in some)
            agreed = [member for member in some if self._agrees(member, there.get(member.file.did))]
            joining = [member for member in agreed if member.file.did not in there]
            copyless += sum(not member.storages for member in joining)
            joining = [member for member in joining if member.storages]
            if self._known is not None and not self._known["is_open"]:
                lacking += len(joining)
                agreed = [member for member in agreed if member.file.did in there]
            elif joining:
                refused = await self._join(joining)
                agreed = [member for member in agreed if member.file.did not in refused]
            for member in agreed:
                self._ours.add(member.file.did)
                for storage_id in member.storages:
                    self._copies[self._rses[storage_id]][member.file.did] = member
        if lacking:
            self.differences.append(f"is closed in Rucio, and lacks {lacking} files there")
        if len(there) > seen:
            self.differences.append(f"has {len(there) - seen} files in Rucio that it has not here")
        if copyless and not self._source.open:
            self.differences.append(
                f"has {copyless} files without any copy, which Rucio does not take: stays open there"
            )
        await self._compare_copies()

    def _agrees(self, member: Member, known: dict[str, Any] | None) -> bool:
        if known is None:
            return True
        try:
            refuse_other_content(member.file, known)
        except FileConflict as error:
            self.differences.append(str(error))
            return False
        return True

    async def _join(self, joining: Sequence[Member]) -> set[Did]:
        """Register files with their copies and let them join; those that Rucio has otherwise."""
        refused: set[Did] = set()
        try:
            await self._attach(joining)
        except FileConflict:
            known = await self._rucio.known([member.file.did for member in joining])
            refused = {m.file.did for m in joining if not self._agrees(m, known.get(m.file.did))}
            if not refused:
                raise
            await self._attach([member for member in joining if member.file.did not in refused])
        except (ExternalDenied, ExternalUnreachable):
            raise
        except ExternalCatalog:
            # Most likely "unknown Database Exception": another dataset with the same files was told at the moment.
            await self._attach(joining)
        self.written.files += len(joining) - len(refused)
        return refused

    async def _attach(self, joining: Sequence[Member]) -> None:
        """In one call and transaction of Rucio, with the copies at each storage."""
        if self._dry_run:
            known = await self._rucio.known([member.file.did for member in joining])
            for member in joining:
                if member.file.did in known:
                    refuse_other_content(member.file, known[member.file.did])
            return
        copies: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for member in joining:
            for storage_id in member.storages:
                copies[self._rses[storage_id]].append(self._item(member))
        if copies:
            attachments = [Attachment(self._source.did, items, rse) for rse, items in copies.items()]
            await self._rucio.attach(attachments)
            self.written.replicas += sum(len(items) for items in copies.values())

    def _item(self, member: Member) -> dict[str, Any]:
        fields = file_item(member.file, meta=self._guids)
        return fields | ({"md5": member.md5} if member.md5 else {})

    async def _compare_copies(self) -> None:
        """Only where the numbers do not say that it has all, or none, Rucio is asked for each file."""
        counts = {}
        if self._known is not None or not self._dry_run:
            counts = await self._rucio.counts(self._source.did)
        for rse in sorted(set(self._rses.values())):
            here, there = len(self._copies[rse]), counts.get(rse, 0)
            if here != there or (self._known is not None and 0 < here < len(self._ours)):
                await self._make_copies_ours(rse)

    async def _make_copies_ours(self, rse: str) -> None:
        copies = self._copies[rse]
        states = {}
        if self._known is not None or not self._dry_run:
            lines = await self._rucio.replicas_at(rse, [self._source.did])
            states = {did_of(line): line["states"][rse] for line in lines}
        new = [member for did, member in copies.items() if did not in states]
        back = [did for did in copies if states.get(did, "AVAILABLE") != "AVAILABLE"]
        gone = [did for did, state in states.items() if state == "AVAILABLE" and did in self._ours - copies.keys()]
        if not self._dry_run:
            await self._rucio.add_replicas(rse, [self._item(member) for member in new])
            await self._rucio.set_state(rse, back, AVAILABLE)
            await self._rucio.set_state(rse, gone, UNAVAILABLE)
        self.written.replicas += len(new) + len(back) + len(gone)
