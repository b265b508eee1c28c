"""Our own catalog as a ``port.Catalog``, for the suite that it shares with Rucio."""

from collections.abc import Sequence

from prodchain.catalog import containers, datasets, files, lookup, replicas, sites
from prodchain.catalog.connection import Pool
from prodchain.catalog.files import NewFile
from prodchain.catalog.models import Dataset, DatasetKind, DatasetState
from prodchain.catalog.names import Did
from prodchain.catalog.port import Listed, Located

FILE_IDS = """
SELECT f.id FROM unnest($1::text[], $2::text[]) AS wanted (scope, name) JOIN file f USING (scope, name)
"""


class OwnCatalog:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(self, did: Did, *, container: bool = False) -> None:
        async with self._pool.acquire() as conn, conn.transaction():
            await datasets.create(conn, did, DatasetKind.CONTAINER if container else DatasetKind.PRODUCTION, "ada")

    async def register(self, storage: str, files_: Sequence[NewFile]) -> None:
        async with self._pool.acquire() as conn, conn.transaction():
            place = await sites.storage(conn, storage)
            await replicas.arrive(conn, place.id or 0, await files.register(conn, files_))

    async def add(self, did: Did, members: Sequence[Did]) -> None:
        async with self._pool.acquire() as conn, conn.transaction():
            dataset = await datasets.get(conn, did)
            if dataset.kind == DatasetKind.CONTAINER:
                children = [(await datasets.get(conn, member)).id or 0 for member in members]
                await containers.add(conn, dataset.id or 0, children)
                return
            scopes, names = zip(*members, strict=True)
            ids = [row["id"] for row in await conn.fetch(FILE_IDS, scopes, names)]
            await datasets.add_files(conn, dataset.id or 0, ids)

    async def close(self, did: Did) -> None:
        async with self._pool.acquire() as conn, conn.transaction():
            await datasets.close(conn, (await datasets.get(conn, did)).id or 0)

    async def get(self, did: Did) -> Listed:
        dataset = await self._dataset(did)
        return Listed(did, dataset.kind == DatasetKind.CONTAINER, dataset.state == DatasetState.OPEN)

    async def find(self, pattern: str) -> list[Did]:
        async with self._pool.acquire() as conn:
            found = await lookup.find(conn, lookup.Query(pattern, limit=1000))
            return [Did(row.dataset.scope, row.dataset.name) for row in found.rows]

    async def files(self, did: Did) -> list[Located]:
        dataset = await self._dataset(did)
        async with self._pool.acquire() as conn:
            views = await lookup.files(conn, dataset.id or 0, limit=10_000)
        found = [
            Located(each.did, each.bytes, each.adler32, {copy.storage: copy.url for copy in each.replicas})
            for each in views
        ]
        return sorted(found, key=lambda file: file.did.name)

    async def completeness(self, did: Did) -> dict[str, tuple[int, int]]:
        dataset = await self._dataset(did)
        async with self._pool.acquire() as conn:
            copies = await lookup.replicas(conn, dataset.id or 0)
        return {copy.storage: (copy.files, dataset.files) for copy in copies if copy.files}

    async def _dataset(self, did: Did) -> Dataset:
        async with self._pool.acquire() as conn:
            return await datasets.get(conn, did)
