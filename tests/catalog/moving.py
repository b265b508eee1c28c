"""Storages with files in them, and movers over them: in this process, or as processes that can be killed."""

import asyncio
import os
import sys
from pathlib import Path

from prodchain.catalog import datasets, replicas, subscriptions
from prodchain.catalog.connection import Connection, Pool
from prodchain.catalog.mover import Mover
from prodchain.catalog.names import url_of

from .material import new_dataset, new_file, new_files, new_storages

PROCESS = Path(__file__).with_name("mover_process.py")


def at(storage: Path, number: int) -> Path:
    return Path(url_of(str(storage), new_file(number).did))


def put(storage: Path, number: int, content: bytes | None = None) -> Path:
    path = at(storage, number)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * number if content is None else content)
    return path


def partial(storage: Path) -> list[Path]:
    return list(storage.rglob("*.part-*"))


def complete(storage: Path, count: int, first: int = 1) -> bool:
    """Each file is there under its name with its content, or not at all: True if all are."""
    there = [path for path in (at(storage, number) for number in range(first, first + count)) if path.exists()]
    for path in there:
        number = int(path.name.split("._")[1].split(".")[0])
        assert path.read_bytes() == b"x" * number, path
    return len(there) == count


async def three_storages(conn: Connection, root: Path) -> list[int]:
    return await new_storages(conn, *(f"file:{root / letter}" for letter in "abc"))


async def wish(pool: Pool, root: Path, count: int) -> int:
    """A closed dataset of small files at storage a, wished for at b; its id."""
    async with pool.acquire() as conn, conn.transaction():
        a, b, _ = await three_storages(conn, root)
        ids = await new_files(conn, count)
        dataset = await new_dataset(conn, file_ids=ids)
        await datasets.close(conn, dataset)
        await replicas.arrive(conn, a, ids)
        await subscriptions.subscribe(conn, dataset, b)
    for number in range(1, count + 1):
        put(root / "a", number)
    return dataset


async def drain(mover: Mover) -> None:
    while await mover.step():
        pass


async def due_now(pool: Pool) -> None:
    """As if all waits were over."""
    await pool.execute("UPDATE transfer SET not_before = now() WHERE state = 'queued' AND phase = 'waiting'")


async def until_complete(pool: Pool, mover: Mover) -> None:
    """Let the mover work until nothing is queued, without the waits."""
    async with asyncio.timeout(60):
        while await pool.fetchval("SELECT EXISTS (SELECT FROM transfer WHERE state = 'queued')"):
            await due_now(pool)
            if not await mover.step():
                await asyncio.sleep(0.05)


async def start(url: str, *arguments: str) -> asyncio.subprocess.Process:
    """A mover as a process, which ends when nothing is queued any more, and then prints its megabytes."""
    environment = os.environ | {"PYTHONPATH": str(PROCESS.parent)}
    return await asyncio.create_subprocess_exec(
        sys.executable, str(PROCESS), url, *arguments, env=environment, stdout=asyncio.subprocess.PIPE
    )
