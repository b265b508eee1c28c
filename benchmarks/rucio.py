"""How fast Rucio is told of a catalog: ``python -m benchmarks.rucio`` (needs ``make rucio``).

A real Rucio server with two workers and a PostgreSQL are started; a catalog of closed datasets with two copies of
each file is exported, once with GUIDs and events and once without, then compared again. ``--json`` prints one object.
"""

import asyncio
import json
import sys
import tempfile
import time
import uuid
from pathlib import Path

import asyncpg

from prodchain.broker.database import Pool, connect
from prodchain.broker.migrate import migrate
from prodchain.catalog import datasets, files, replicas, sites
from prodchain.catalog.files import NewFile
from prodchain.catalog.models import DatasetKind
from prodchain.catalog.names import Did, file_name
from prodchain.catalog.rucio.catalog import RucioCatalog
from prodchain.catalog.rucio.client import Client
from prodchain.catalog.rucio.export import Export, everything
from prodchain.catalog.sites import SiteSpec, StorageSpec
from prodchain.cli.local import postgres
from tests.storages.rucio import ACCOUNT, PASSWORD, USERNAME, RucioServer

DATASETS, FILES, LARGE = 40, 25, 1000
"""Small datasets, files in each, and the files of one large dataset."""


async def fill(pool: Pool, tag: str) -> None:
    async with pool.acquire() as conn, conn.transaction():
        storages = [
            StorageSpec(f"DISK-{letter}", "SITE", f"https://{letter}.example.org/data".lower()) for letter in "AB"
        ]
        await sites.upsert(conn, [SiteSpec("SITE")], storages)
        ids = [storage.id or 0 for storage in await sites.storages(conn)]
        for count, number in [(FILES, number) for number in range(DATASETS)] + [(LARGE, DATASETS)]:
            did = Did("mc26", f"mc26.{700000 + number}.{tag}.recon.AOD.v1")
            made = await datasets.create(conn, did, DatasetKind.PRODUCTION, "ada")
            names = [Did("mc26", file_name(did.name, each, 1)) for each in range(count)]
            new = [NewFile(name, uuid.uuid4(), 1000, "00000001", 10) for name in names]
            members = await files.register(conn, new)
            for storage_id in ids:
                await replicas.arrive(conn, storage_id, members)
            await datasets.add_files(conn, made.id or 0, members)
            await datasets.close(conn, made.id or 0)


async def timed(pool: Pool, client: Client, tag: str, *, guids: bool) -> float:
    work = Export(pool, RucioCatalog(client), guids=guids)
    await work.prepare()
    begin = time.perf_counter()
    await everything(pool, work, f"*.{tag}.*", False, lambda _: None)
    assert work.report.differences == []
    return time.perf_counter() - begin


async def measure(database_url: str, rucio_url: str) -> dict[str, float]:
    await migrate(database_url)
    pool = await connect(database_url)
    total = DATASETS * FILES + LARGE
    secrets = {"username": USERNAME, "password": PASSWORD}
    async with Client(rucio_url, ACCOUNT, lambda: secrets) as client:
        await fill(pool, "whole")
        await fill(pool, "plain")
        whole = await timed(pool, client, "whole", guids=True)
        plain = await timed(pool, client, "plain", guids=False)
        again = await timed(pool, client, "whole", guids=True)
    await pool.close()
    return {
        "files_per_s": total / whole,
        "files_per_s_without_guids": total / plain,
        "datasets_per_s_without_guids": (DATASETS + 1) / plain,
        "compared_files_per_s": total / again,
        "compared_datasets_per_s": (DATASETS + 1) / again,
    }


async def create(url: str, name: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(f"CREATE DATABASE {name}")
    await connection.close()


def main() -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server = postgres.start(postgres.data_folder(Path(folder)))
        try:
            asyncio.run(create(server.url("postgres"), "rucio"))
            database = server.url("rucio").replace("postgresql:", "postgresql+psycopg:", 1)
            rucio = RucioServer(Path(folder) / "rucio", database)
            rucio.build()
            rucio.start(workers=2)
            try:
                found = asyncio.run(measure(server.create_database("ours"), rucio.url))
            finally:
                rucio.stop()
        finally:
            server.stop(remove=True)
    print(json.dumps(found) if "--json" in sys.argv else "\n".join(f"{k}: {v:.1f}" for k, v in found.items()))


if __name__ == "__main__":
    main()
