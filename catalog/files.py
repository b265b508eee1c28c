"""Logical files: registered once, the same in every copy."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from uuid import UUID

from .connection import Connection
from .errors import BadName, FileConflict
from .names import Did, parse_file_did


@dataclass(frozen=True)
class NewFile:
    """A file as its maker describes it: size in bytes, adler32 as eight hex digits."""

    did: Did
    guid: UUID
    bytes: int
    adler32: str
    events: int = 0

    def __post_init__(self) -> None:
        parse_file_did(str(self.did))
        if self.bytes < 0 or self.events < 0 or re.fullmatch("[0-9a-f]{8}", self.adler32) is None:
            raise BadName(
                f"{self.did} cannot have {self.bytes} bytes, {self.events} events, adler32 '{self.adler32}'",
                object=str(self.did),
                hint="sizes are not negative, and an adler32 is eight lower-case hex digits",
            )


INSERT = """
INSERT INTO file (scope, name, guid, bytes, adler32, events)
SELECT * FROM unnest($1::text[], $2::text[], $3::uuid[], $4::bigint[], $5::text[], $6::bigint[])
ON CONFLICT (scope, name) DO NOTHING
"""
KNOWN = """
SELECT f.id, f.scope, f.name, f.bytes, f.adler32
FROM unnest($1::text[], $2::text[]) AS wanted (scope, name) JOIN file f USING (scope, name)
"""
LOCK = "SELECT id FROM file WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE"


async def register(conn: Connection, new: Sequence[NewFile]) -> list[int]:
    """Make the files known and return their ids in order; what is known already is found again.

    Raises FileConflict if a name is known with another size or checksum. The GUID of the first registration stays.
    """
    # Sorted, so that two callers with the same names wait for each other in one order.
    rows = sorted({f.did: f for f in new}.values(), key=lambda f: f.did)
    scopes, names = [f.did.scope for f in rows], [f.did.name for f in rows]
    await conn.execute(
        INSERT,
        scopes,
        names,
        [f.guid for f in rows],
        [f.bytes for f in rows],
        [f.adler32 for f in rows],
        [f.events for f in rows],
    )
    known = {Did(row["scope"], row["name"]): row for row in await conn.fetch(KNOWN, scopes, names)}
    for file in new:
        row = known[file.did]
        if (row["bytes"], row["adler32"]) != (file.bytes, file.adler32):
            raise FileConflict(
                f"{file.did} is known with {row['bytes']} bytes and adler32 {row['adler32']},"
                f" not with {file.bytes} bytes and adler32 {file.adler32}",
                object=str(file.did),
                hint="content never changes under a name: give the new content a new name",
            )
    return [known[file.did]["id"] for file in new]


async def lock(conn: Connection, file_ids: Iterable[int]) -> None:
    """Keep the files' copies, memberships and holds to this transaction until it ends.

    Weaker than FOR UPDATE on purpose: it excludes itself, but not the key checks of rows that point to the files.
    """
    await conn.execute(LOCK, list(file_ids))
