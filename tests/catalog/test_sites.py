"""Sites and storages as declared."""

import pytest

from prodchain.catalog import replicas, sites
from prodchain.catalog.connection import Connection
from prodchain.catalog.errors import BadStorage
from prodchain.catalog.sites import SiteSpec, StorageSpec

from .material import new_files, new_storages


async def test_sites_are_what_was_declared_last(conn: Connection) -> None:
    await new_storages(conn, "file:/a", "file:/b")
    sites_declared = [SiteSpec("SITE-A", "where results end up")]
    await sites.upsert(conn, sites_declared, [StorageSpec("DISK-A", "SITE-A", "file:/elsewhere", home=True)])
    await sites.upsert(conn, sites_declared, [StorageSpec("DISK-B", "SITE-B", "file:/b", home=True)])
    a, b = await sites.storages(conn)
    assert (a.url, a.home, b.home) == ("file:/elsewhere", False, True)
    assert (await sites.storage(conn, "DISK-B")).id == b.id
    with pytest.raises(BadStorage) as error:
        await sites.storage(conn, "TAPE")
    assert error.value.hint == "known: DISK-A, DISK-B"
    await replicas.arrive(conn, b.id or 0, await new_files(conn, 2))
    assert await sites.usage(conn) == {"DISK-A": sites.Usage(0, 0), "DISK-B": sites.Usage(2, 3)}
