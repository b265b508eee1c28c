"""Logical files: registered once, the same in every copy."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from . import remarks
from .connection import Connection
from .errors import BadName, FileConflict
from .names import Did, check_file_did, shown

SIZE_MOST = 2**63 - 1
_ADLER32 = re.compile("[0-9a-f]{8}")
_MD5 = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file as its maker describes it: size in bytes, checksums in lower-case hex digits, ``meta`` for people.

    adler32 has eight digits; md5, which is optional, 32. Raises BadName.
    """

    did: Did
    guid: UUID
    bytes: int
    adler32: str
    events: int = 0
    md5: str | None = None
    meta: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        check_file_did(self.did)
        if not (0 <= self.bytes <= SIZE_MOST and 0 <= self.events <= SIZE_MOST):
            raise self._refused(f"{self.bytes} bytes and {self.events} events", "sizes are from 0 to 2**63 - 1")
        if _ADLER32.fullmatch(self.adler32) is None:
            raise self._refused(f"adler32 '{shown(self.adler32)}'", "an adler32 is eight lower-case hex digits")
        if self.md5 is not None and _MD5.fullmatch(self.md5) is None:
            raise self._refused(f"md5 '{shown(self.md5)}'", "an md5 is 32 lower-case hex digits")
        if self.meta is not None:
            remarks.check(self.did, self.meta)

    def _refused(self, what: str, hint: str) -> BadName:
        return BadName(f"{self.did} cannot have {what}", object=str(self.did), hint=hint)


INSERT = """
INSERT INTO file (scope, name, guid, bytes, adler32, events, md5, meta)
SELECT scope, name, guid, bytes, adler32, events, md5, meta::jsonb
FROM unnest($1::text[], $2::text[], $3::uuid[], $4::bigint[], $5::text[], $6::bigint[], $7::text[], $8::text[])
     AS new (scope, name, guid, bytes, adler32, events, md5, meta)
ON CONFLICT (scope, name) DO NOTHING
RETURNING id, scope, name
"""
KNOWN = """
SELECT f.id, f.scope, f.name, f.bytes, f.adler32, f.md5
FROM unnest($1::text[], $2::text[]) AS wanted (scope, name) JOIN file f USING (scope, name)
"""
# What this very transaction registered, nobody else sees before it ends: a lock would only be written down.
LOCK = """
SELECT count(*) FROM (
    SELECT FROM file WHERE id = ANY($1::bigint[]) AND xmin <> pg_current_xact_id()::xid ORDER BY id FOR NO KEY UPDATE
) locked
"""


async def register(conn: Connection, new: Sequence[NewFile]) -> list[int]:
    """Make the files known and return their ids in order; what is known already is found again.

    Raises FileConflict if a name is known with another size or checksum. GUID, events and metadata of the first
    registration stay.
    """
    by_did = {file.did: file for file in new}
    if len(by_did) < len(new):
        _refuse_contradictions(new, by_did)
    # Sorted, so that two callers with the same names wait for each other in one order.
    rows = [by_did[did] for did in sorted(by_did)]
    added = await conn.fetch(
        INSERT,
        [f.did.scope for f in rows],
        [f.did.name for f in rows],
        [f.guid for f in rows],
        [f.bytes for f in rows],
        [f.adler32 for f in rows],
        [f.events for f in rows],
        [f.md5 for f in rows],
        [None if f.meta is None else json.dumps(dict(f.meta)) for f in rows],
    )
    ids = {(scope, name): key for key, scope, name in added}
    if len(ids) < len(rows):
        ids |= await _known(conn, [did for did in by_did if did not in ids], by_did)
    return [ids[file.did] for file in new]


async def _known(conn: Connection, dids: Sequence[Did], by_did: Mapping[Did, NewFile]) -> dict[tuple[str, str], int]:
    rows = await conn.fetch(KNOWN, [did.scope for did in dids], [did.name for did in dids])
    for row in rows:
        _refuse_difference(by_did[Did(row["scope"], row["name"])], row["bytes"], row["adler32"], row["md5"])
    return {(row["scope"], row["name"]): row["id"] for row in rows}


def _refuse_contradictions(new: Sequence[NewFile], by_did: Mapping[Did, NewFile]) -> None:
    """The same name twice among the new ones must be the same file."""
    for file in new:
        other = by_did[file.did]
        _refuse_difference(file, other.bytes, other.adler32, other.md5)


def _refuse_difference(file: NewFile, size: int, adler32: str, md5: str | None) -> None:
    """FileConflict if the content is another one; an md5 that only one side knows is no difference."""
    same_md5 = md5 is None or file.md5 is None or md5 == file.md5
    if (size, adler32) != (file.bytes, file.adler32) or not same_md5:
        raise FileConflict(
            f"{file.did} is known with {size} bytes and adler32 {adler32}{'' if same_md5 else f', md5 {md5}'},"
            f" not with {file.bytes} bytes and adler32 {file.adler32}{'' if same_md5 else f', md5 {file.md5}'}",
            object=str(file.did),
            hint="content never changes under a name: give the new content a new name",
        )


async def lock(conn: Connection, file_ids: Iterable[int]) -> None:
    """Keep the files' copies, memberships and holds to this transaction until it ends.

    Weaker than FOR UPDATE on purpose: it excludes itself, but not the key checks of rows that point to the files.
    """
    await conn.execute(LOCK, list(file_ids))
