"""Transfers and the mover: every wish ends with a verified copy or a reason in words."""

import asyncio
import time
from datetime import timedelta
from pathlib import Path

import pytest

from prodchain.catalog import datasets, hooks, replicas, subscriptions, transfers
from prodchain.catalog import mover as moving
from prodchain.catalog.connection import Connection, Pool
from prodchain.catalog.holds import place
from prodchain.catalog.mover import Mover
from prodchain.catalog.names import url_of

from .material import new_dataset, new_file, new_files, new_storages

MINUTE = timedelta(minutes=1)


def put(storage: Path, number: int, content: bytes | None = None) -> Path:
    path = Path(url_of(str(storage), new_file(number).did))
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x" * number if content is None else content)
    return path


def at(storage: Path, number: int) -> Path:
    return Path(url_of(str(storage), new_file(number).did))


async def three_storages(conn: Connection, root: Path) -> list[int]:
    return await new_storages(conn, *(f"file:{root / letter}" for letter in "abc"))


async def drain(mover: Mover) -> None:
    while await mover.step():
        pass


async def due_now(pool: Pool) -> None:
    await pool.execute("UPDATE transfer SET not_before = now() WHERE state = 'queued'")


async def test_a_subscription_moves_files_and_releases_who_waits(
    database: Pool, tmp_path: Path, satisfied: list[str]
) -> None:
    async with database.acquire() as conn, conn.transaction():
        a, b, _ = await three_storages(conn, tmp_path)
        ids = await new_files(conn, 5)
        dataset = await new_dataset(conn, file_ids=ids)
        await replicas.arrive(conn, a, ids)
        await datasets.close(conn, dataset)
        await subscriptions.subscribe(conn, dataset, b)
        assert await place(conn, "job:1", b, ids) == 5
    for number in range(1, 6):
        put(tmp_path / "a", number)
    mover = Mover(database, "mover-1", slots=2)
    await drain(mover)
    await mover.close()
    assert satisfied == ["job:1"]
    assert [at(tmp_path / "b", n).read_bytes() for n in range(1, 6)] == [b"x" * n for n in range(1, 6)]
    async with database.acquire() as conn:
        assert await transfers.totals(conn) == transfers.Totals(0, 0, 0, 5, 15)
        assert (await subscriptions.subscribe(conn, dataset, b)).state == "done"
        first, *_ = await transfers.recent(conn)
    assert (first.source, first.destination, first.state, first.error) == ("DISK-A", "DISK-B", "done", None)
    assert first.done_at is not None


async def test_a_damaged_copy_registers_nothing_and_the_next_try_takes_another(
    database: Pool, tmp_path: Path
) -> None:
    async with database.acquire() as conn, conn.transaction():
        a, b, c = await three_storages(conn, tmp_path)
        ids = await new_files(conn, 1)
        await replicas.arrive(conn, a, ids)
        await replicas.arrive(conn, c, ids)
        await subscriptions.queue(conn, b, ids)
    put(tmp_path / "a", 1, b"y")
    put(tmp_path / "c", 1)
    mover = Mover(database, "mover-1")
    await drain(mover)
    assert not at(tmp_path / "b", 1).exists()
    async with database.acquire() as conn:
        (failing,) = await transfers.recent(conn)
        assert (await transfers.totals(conn)).failing == 1
        assert await conn.fetchval("SELECT count(*) FROM replica WHERE storage_id = $1", b) == 0
    assert (failing.source, failing.state, failing.attempts) == ("DISK-A", "queued", 1)
    assert failing.error is not None
    assert "adler32" in failing.error
    assert failing.next_try is not None
    await due_now(database)
    await drain(mover)
    async with database.acquire() as conn:
        (done,) = await transfers.recent(conn)
    assert (done.source, done.state, done.attempts, done.error) == ("DISK-C", "done", 2, None)


async def test_reasons_are_kept_in_words(database: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with database.acquire() as conn, conn.transaction():
        a, b, c = await three_storages(conn, tmp_path)
        nowhere, lost, forbidden, odd = ids = await new_files(conn, 4)
        await replicas.arrive(conn, a, [lost, forbidden, odd])
        await conn.execute("UPDATE storage SET writable = false WHERE id = $1", c)
        await subscriptions.queue(conn, b, [nowhere, lost, odd])
        await subscriptions.queue(conn, c, [forbidden])

    def odd_backend(source: str, target: str, size: int, adler32: str) -> int:
        if new_file(4).did.name in source:
            raise RuntimeError("backend fell over")
        return copy(source, target, size, adler32)

    copy = moving.copy
    monkeypatch.setattr(moving, "copy", odd_backend)
    await drain(Mover(database, "mover-1"))
    rows = await database.fetch("SELECT error FROM transfer ORDER BY file_id")
    errors = [row["error"] for row in rows]
    assert errors[0] == f"there is no copy of {new_file(1).did} at any other storage"
    assert errors[1] == f"there is no file:{at(tmp_path / 'a', 2)}"
    assert errors[2] == f"nothing may be written to file:{at(tmp_path / 'c', 3)}"
    assert errors[3] == "RuntimeError: backend fell over"
    assert len(ids) == 4


async def test_waiting_grows_from_a_second_to_an_hour(conn: Connection, tmp_path: Path) -> None:
    _, b, _ = await three_storages(conn, tmp_path)
    ids = await new_files(conn, 1)
    await subscriptions.queue(conn, b, ids)
    waits = []
    for _ in range(9):
        await conn.execute("UPDATE transfer SET not_before = now()")
        (leased,) = await transfers.lease(conn, "mover-1", 5, MINUTE)
        assert await transfers.failed(conn, "mover-1", leased.file_id, leased.storage_id, "no luck")
        waits.append(await conn.fetchval("SELECT extract(epoch FROM not_before - now())::int FROM transfer"))
    assert waits == [1, 5, 15, 60, 300, 900, 3600, 3600, 3600]


async def test_a_lease_belongs_to_one_mover_until_it_expires(database: Pool, tmp_path: Path) -> None:
    async with database.acquire() as conn, conn.transaction():
        _, b, _ = await three_storages(conn, tmp_path)
        await subscriptions.queue(conn, b, await new_files(conn, 20))

    async def take(worker: str) -> list[int]:
        async with database.acquire() as conn, conn.transaction():
            leased = await transfers.lease(conn, worker, 7, MINUTE)
            await asyncio.sleep(0.02)
            return [transfer.file_id for transfer in leased]

    taken = await asyncio.gather(*(take(f"mover-{n}") for n in range(4)))
    flat = [file for files in taken for file in files]
    assert len(flat) == len(set(flat)) == 20
    async with database.acquire() as conn:
        file = taken[0][0]
        assert await transfers.extend(conn, "mover-0", file, b, MINUTE)
        assert (await transfers.totals(conn)).active == 20
        await due_now(database)  # as if mover-0 had died and its lease had run out
        (again,) = [t for t in await transfers.lease(conn, "mover-9", 20, MINUTE) if t.file_id == file]
        assert not await transfers.extend(conn, "mover-0", file, b, MINUTE)
        assert not await transfers.failed(conn, "mover-0", file, b, "too late")
        await transfers.done(conn, b, [again.file_id])
        assert not await transfers.failed(conn, "mover-9", file, b, "after the fact")


async def test_a_long_copy_keeps_its_lease_and_short_ones_pass_it(
    database: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with database.acquire() as conn, conn.transaction():
        a, b, _ = await three_storages(conn, tmp_path)
        ids = await new_files(conn, 4)
        await replicas.arrive(conn, a, ids)
        await subscriptions.queue(conn, b, ids)
    ended: list[str] = []

    def slow(source: str, *_: object) -> int:
        if new_file(1).did.name in source:
            time.sleep(1.5)
        ended.append(source)
        return 1

    monkeypatch.setattr(moving, "copy", slow)
    one, two = Mover(database, "one", slots=2, lease_s=0.6), Mover(database, "two", slots=1, lease_s=0.6)
    await one.step()
    await asyncio.gather(drain(one), drain(two))
    assert len(ended) == 4
    assert new_file(1).did.name in ended[-1]
    assert await database.fetchval("SELECT max(attempts) FROM transfer") == 1


async def test_a_copy_whose_record_was_lost_is_recorded_without_moving(
    database: Pool, tmp_path: Path, satisfied: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with database.acquire() as conn, conn.transaction():
        a, b, _ = await three_storages(conn, tmp_path)
        ids = await new_files(conn, 1)
        await replicas.arrive(conn, a, ids)
        await subscriptions.queue(conn, b, ids)
        await place(conn, "job:1", b, ids)
    source = put(tmp_path / "a", 1)
    hook, hooks.satisfied = hooks.satisfied, None
    mover = Mover(database, "mover-1")
    with pytest.raises(Exception, match="cannot release"):
        await mover.step()
    source.unlink()
    hooks.satisfied = hook
    await due_now(database)
    await drain(mover)
    assert satisfied == ["job:1"]


async def test_garbage_is_deleted_unless_somebody_counts_on_it(database: Pool, tmp_path: Path) -> None:
    async with database.acquire() as conn, conn.transaction():
        a, *_ = await three_storages(conn, tmp_path)
        registered, _, moving_in = await new_files(conn, 3)
        await replicas.arrive(conn, a, [registered])
        await subscriptions.queue(conn, a, [moving_in])
        for number in (1, 2, 3, 4, 5):
            await conn.execute(
                "INSERT INTO garbage (storage_id, scope, name, attempts) VALUES ($1, $2, $3, 0)",
                a,
                *new_file(number).did,
            )
        await conn.execute("UPDATE garbage SET not_before = now() + interval '1 hour' WHERE name = $1",
                           new_file(5).did.name)  # fmt: skip
    paths = {number: put(tmp_path / "a", number) for number in (1, 2, 3, 5)}
    mover = Mover(database, "mover-1")
    assert await mover.clean() == 4
    assert {number: path.exists() for number, path in paths.items()} == {1: True, 2: False, 3: True, 5: True}
    rows = await database.fetch("SELECT name, error FROM garbage ORDER BY name")
    assert [row["error"] for row in rows] == ["a transfer to this path is under way", None]
    assert await mover.clean() == 0
