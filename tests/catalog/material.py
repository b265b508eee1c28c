"""Files, storages and datasets to test with."""

import zlib
from uuid import NAMESPACE_URL, uuid5

from prodchain.catalog import datasets, files, names, sites
from prodchain.catalog.connection import Connection
from prodchain.catalog.files import NewFile
from prodchain.catalog.models import DatasetKind
from prodchain.catalog.sites import SiteSpec, StorageSpec

EVNT = "mc26_13p6TeV.700001.Zmumu.evgen.EVNT.v1"


def new_file(number: int, content: bytes | None = None, *, dataset: str = EVNT) -> NewFile:
    """File of job ``number`` of a dataset, with 10 events."""
    did = names.parse_file_did(names.file_name(dataset, number, 1))
    data = content if content is not None else b"x" * number
    return NewFile(did, uuid5(NAMESPACE_URL, str(did)), len(data), f"{zlib.adler32(data):08x}", 10)


async def new_files(conn: Connection, count: int, *, first: int = 1) -> list[int]:
    return await files.register(conn, [new_file(number) for number in range(first, first + count)])


async def new_storages(conn: Connection, *urls: str) -> list[int]:
    """One storage per URL at SITE-A, SITE-B, ...; their ids."""
    letters = "ABCDEFGH"[: len(urls)]
    await sites.upsert(
        conn,
        [SiteSpec(f"SITE-{letter}") for letter in letters],
        [StorageSpec(f"DISK-{letter}", f"SITE-{letter}", url) for letter, url in zip(letters, urls, strict=True)],
    )
    return [storage.id or 0 for storage in await sites.storages(conn)]


async def new_dataset(
    conn: Connection, name: str = EVNT, file_ids: list[int] | None = None, kind: DatasetKind = DatasetKind.PRODUCTION
) -> int:
    dataset = await datasets.create(conn, names.parse_did(name), kind, "ada")
    assert dataset.id is not None
    if file_ids:
        await datasets.add_files(conn, dataset.id, file_ids)
    return dataset.id


async def holders_of(conn: Connection, dataset_id: int) -> list[str]:
    """Who holds the dataset, satisfied or not."""
    rows = await conn.fetch("SELECT holder FROM hold WHERE dataset_id = $1 ORDER BY id", dataset_id)
    return [row["holder"] for row in rows]
