"""Datasets with files, as somebody would have put them."""

import uuid
from collections.abc import Sequence
from typing import Any

from prodchain.broker.database import Connection
from prodchain.catalog import containers, datasets, files, replicas
from prodchain.catalog.models import DatasetKind
from prodchain.catalog.names import parse_did

from .world import World, inside


async def fill(world: World, name: str, events: Sequence[int], *, size: int = 100, close: bool = True) -> list[int]:
    """Let files with these events join the dataset, made if there is none, with copies at A-DISK; their ids."""

    async def work(conn: Connection) -> list[int]:
        did = parse_did(name)
        dataset = await datasets.create(conn, did, DatasetKind.PRODUCTION, "ann")
        assert dataset.id is not None
        new = [
            files.NewFile(
                did._replace(name=f"{did.name}.{dataset.files + n:04d}"), uuid.uuid4(), size, "00000001", count
            )
            for n, count in enumerate(events)
        ]
        ids = await files.register(conn, new)
        await datasets.add_files(conn, dataset.id, ids)
        storage = await conn.fetchval("SELECT id FROM storage WHERE name = 'A-DISK'")
        await replicas.arrive(conn, storage, ids)
        if close:
            await datasets.close(conn, dataset.id)
        return ids

    return list(await inside(world.pool, work))


async def reopen(world: World, name: str) -> None:
    await inside(world.pool, datasets.new_version, parse_did(name), "ann")


async def contain(world: World, name: str, *parts: str) -> None:
    async def work(conn: Connection) -> None:
        container = await datasets.create(conn, parse_did(name), DatasetKind.CONTAINER, "ann")
        ids = [(await datasets.get(conn, parse_did(part))).id for part in parts]
        await containers.add(conn, container.id or 0, [number for number in ids if number is not None])

    await inside(world.pool, work)


async def pieces(world: World, task_id: int | None) -> list[dict[str, Any]]:
    """What each piece of a task is, in the order of their numbers."""
    rows = await world.fetch("SELECT work FROM job WHERE task_id = $1 AND attempt = 1 ORDER BY number", task_id)
    return [row["work"] for row in rows]
