"""Copies read again where they are, and compared with what the catalog knows of them."""

import asyncio
import time
from typing import NamedTuple

from prodchain.catalog import lookup, storage
from prodchain.catalog.errors import CatalogError

from .connections import connection
from .database import Pool
from .dataset_views import find, id_of
from .reading import in_thread
from .storage_views import named
from .task_views import View

AT_ONCE = 4
"""Copies that are read at the same time."""
ENOUGH_S = 5.0
"""Time after which an answer is given: whoever asks sees that it goes on."""


class Copy(NamedTuple):
    """A copy to read, and what it must be."""

    file: str
    storage: str
    url: str
    bytes: int
    adler32: str


async def verify(pool: Pool, did: str, *, at: str | None = None, after: int = 0) -> View:
    """Read the copies of some files; ``next`` is where to go on. No connection is held while files are read."""
    async with connection(pool) as conn:
        found = await find(conn, did)
        if at is not None:
            await named(conn, at)
        files = await lookup.files(conn, id_of(found), limit=1000, after=after)
    checked, size, bad = 0, 0, []
    until = time.monotonic() + ENOUGH_S
    following = None
    for start in range(0, len(files), AT_ONCE):
        bunch = files[start : start + AT_ONCE]
        copies = [
            Copy(str(file.did), copy.storage, copy.url, file.bytes, file.adler32)
            for file in bunch
            for copy in file.replicas
            if at in (None, copy.storage)
        ]
        reasons = await asyncio.gather(*(in_thread(wrong, copy) for copy in copies))
        checked, size = checked + len(copies), size + sum(copy.bytes for copy in copies)
        bad += [
            {"file": copy.file, "storage": copy.storage, "reason": reason}
            for copy, reason in zip(copies, reasons, strict=True)
            if reason
        ]
        following = bunch[-1].id
        if time.monotonic() > until:
            break
    ended = following is None or (following == files[-1].id and len(files) < 1000)
    return {"checked": checked, "bytes": size, "bad": bad, "next": None if ended else following}


def wrong(copy: Copy) -> str:
    """What is wrong with a copy, in words; empty if it is right. Size first: that needs no reading.

    The server's own digest would not do: XRootD keeps the one it computed when the file came.
    """
    try:
        size = storage.size(copy.url)
        if size is None:
            return "it is not there"
        if size != copy.bytes:
            return f"it has {size} bytes, not {copy.bytes}"
        adler32 = storage.read_back(copy.url)[1]
    except CatalogError as error:
        return f"it cannot be read: {error}"
    return "" if adler32 == copy.adler32 else f"its adler32 is {adler32}, not {copy.adler32}"
