"""Copies that people have on storages of their own: taken on their word, which holds for nobody else's storage."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from prodchain.catalog import files, replicas, sites
from prodchain.catalog.errors import ChecksumMismatch, FileMissing
from prodchain.catalog.names import Did, parse_file_did

from .database import Connection
from .errors import Forbidden
from .models import TokenKind
from .tokens import Caller

OWNER = "owner"
"""The attribute of a storage that names whose it is."""


class Claim(BaseModel):
    """A file, and what its copy was found to be."""

    model_config = ConfigDict(extra="forbid")

    did: str = Field(min_length=1, max_length=300)
    bytes: int = Field(ge=0)
    adler32: str = Field(pattern="^[0-9a-f]{8}$")


class Claims(BaseModel):
    """Copies at one storage."""

    model_config = ConfigDict(extra="forbid")

    storage: str
    files: list[Claim] = Field(min_length=1, max_length=1000)


_KNOWN = """
SELECT f.id, f.scope, f.name, f.bytes, f.adler32
FROM unnest($1::text[], $2::text[]) AS c (scope, name) JOIN file f USING (scope, name)
"""


async def register(conn: Connection, claims: Claims, caller: Caller) -> int:
    """Record the copies; the number of those that were new. All or none."""
    storage = await sites.storage(conn, claims.storage)
    owner = (storage.attributes or {}).get(OWNER)
    if caller.kind is not TokenKind.ADMIN and owner != caller.subject:
        raise Forbidden(
            f"{storage.name} is not a storage of {caller.subject}",
            object=f"storage {storage.name}",
            hint=f'an admin makes it yours: attributes = {{owner = "{caller.subject}"}} in the sites file',
        )
    ids = await _files(conn, claims.files)
    await files.lock(conn, ids)
    assert storage.id is not None
    return len(await replicas.arrive(conn, storage.id, ids))


async def _files(conn: Connection, claimed: Sequence[Claim]) -> list[int]:
    dids = [parse_file_did(claim.did) for claim in claimed]
    rows = await conn.fetch(_KNOWN, [did.scope for did in dids], [did.name for did in dids])
    known = {Did(row["scope"], row["name"]): row for row in rows}
    for did, claim in zip(dids, claimed, strict=True):
        row = known.get(did)
        if row is None:
            raise FileMissing(f"there is no file {did}", object=str(did), hint="put it into a dataset first")
        if (row["bytes"], row["adler32"]) != (claim.bytes, claim.adler32):
            raise ChecksumMismatch(
                f"{did} has {row['bytes']} bytes and adler32 {row['adler32']}, the copy {claim.bytes} bytes and"
                f" adler32 {claim.adler32}",
                object=str(did),
                hint="fetch it again",
            )
    return [known[did]["id"] for did in dids]
