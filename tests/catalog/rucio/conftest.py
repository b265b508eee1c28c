"""Catalogs to test with: ours, and a real Rucio with RSEs for the same storages."""

from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from prodchain.catalog import sites
from prodchain.catalog.connection import Pool
from prodchain.catalog.models import Storage
from prodchain.catalog.rucio import rses
from prodchain.catalog.rucio.catalog import RucioCatalog
from prodchain.catalog.rucio.client import Client

from ...storages.rucio import ACCOUNT, PASSWORD, USERNAME, RucioServer
from ..material import new_storages

URLS = (
    "root://a.example.org:1094//data/a",
    "https://b.example.org:1094/data/b",
    "file:///srv/data/c",
    "sftp://d.example.org:22/data/d",
)


@pytest.fixture
async def client(rucio_server: RucioServer) -> AsyncIterator[Client]:
    secrets = {"username": USERNAME, "password": PASSWORD}
    async with Client(rucio_server.url, ACCOUNT, lambda: secrets) as client:
        yield client


@pytest.fixture
async def rucio(client: Client) -> RucioCatalog:
    return RucioCatalog(client)


@pytest.fixture
async def places(database: Pool) -> list[Storage]:
    """Storages of each protocol, DISK-A to DISK-D, in our catalog."""
    async with database.acquire() as conn, conn.transaction():
        await new_storages(conn, *URLS)
        return await sites.storages(conn)


@pytest.fixture
async def rucio_places(client: Client, places: list[Storage]) -> list[Storage]:
    """The same, with an RSE for each in Rucio."""
    for storage in await rses.missing(client, places):
        await rses.make(client, storage)
    return places


@pytest.fixture
def tag() -> str:
    """A word that no other test has in its names: the Rucio server keeps its catalog."""
    return f"t{uuid4().hex[:10]}"
