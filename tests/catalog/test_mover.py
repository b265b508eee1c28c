"""The mover: every wish ends with a verified copy or a reason in words."""

import asyncio
import os
import threading
import time
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from prodchain.catalog import (
    badreplicas,
    datasets,
    files,
    hooks,
    leasing,
    links,
    queueing,
    replicas,
    subscriptions,
    transfers,
)
from prodchain.catalog import mover as moving
from prodchain.catalog.backends.local import Local
from prodchain.catalog.connection import Pool
from prodchain.catalog.holds import place
from prodchain.catalog.mover import Mover

from .material import new_dataset, new_file, new_files
from .mover_process import POINTS
from .moving import (
    at,
    complete,
    drain,
    due_now,
    partial,
    put,
    start,
    three_storages,
    until_complete,
    wish,
)


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
        (facts,) = (await links.facts(conn, datetime.now(UTC))).values()
        assert (facts.files, facts.bytes, facts.failures) == (5, 15, 0)
        assert (await subscriptions.subscribe(conn, dataset, b)).state == "done"
        first, *_ = await transfers.recent(conn)
    assert (first.source, first.destination, first.state, first.error) == ("DISK-A", "DISK-B", "done", None)
    assert first.method == "local"
    assert first.done_at is not None


async def test_a_damaged_copy_registers_nothing_and_is_bad_when_it_is_read_twice(
    database: Pool, tmp_path: Path
) -> None:
    async with database.acquire() as conn, conn.transaction():
        a, b, c = await three_storages(conn, tmp_path)
        ids = await new_files(conn, 1)
        dataset = await new_dataset(conn, file_ids=ids)
        await replicas.arrive(conn, a, ids)
        await replicas.arrive(conn, c, ids)
        await subscriptions.subscribe(conn, dataset, b)
    put(tmp_path / "a", 1, b"y")
    put(tmp_path / "c", 1)
    mover = Mover(database, "mover-1")
    await drain(mover)
    assert not at(tmp_path / "b", 1).exists()
    async with database.acquire() as conn:
        (failing,) = await transfers.recent(conn)
        assert (await transfers.totals(conn)).failing == 1
        assert await conn.fetchval("SELECT count(*) FROM replica WHERE storage_id = $1", b) == 0
        (why,) = await transfers.why(conn, dataset, b)
    assert (failing.source, failing.state, failing.attempts) == ("DISK-A", "queued", 1)
    assert "adler32" in (failing.error or "")
    assert (why.state, why.source, why.error) == ("waiting", "DISK-A", failing.error)
    assert why.next_try is not None
    await until_complete(database, mover)
    async with database.acquire() as conn:
        bad = await badreplicas.find(conn)
        done, *_ = await transfers.recent(conn, 1)
    assert [each.storage for each in bad] == ["DISK-A"]
    assert at(tmp_path / "b", 1).read_bytes() == b"x"
    assert at(tmp_path / "a", 1).read_bytes() == b"x"  # copied again from a good one
    assert done.error is None


async def test_reasons_are_kept_in_words(database: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with database.acquire() as conn, conn.transaction():
        a, b, c = await three_storages(conn, tmp_path)
        nowhere, lost, forbidden, odd = ids = await new_files(conn, 4)
        await replicas.arrive(conn, a, [lost, forbidden, odd])
        await conn.execute("UPDATE storage SET writable = false WHERE id = $1", c)
        await queueing.queue(conn, b, [nowhere, lost, odd])
        await queueing.queue(conn, c, [forbidden])
    put(tmp_path / "a", 4)

    def odd_backend(*_: object) -> str:
        raise RuntimeError("backend fell over")

    monkeypatch.setattr(Local, "put", odd_backend)
    (tmp_path / "a").mkdir(exist_ok=True)
    await drain(Mover(database, "mover-1"))
    rows = await database.fetch("SELECT error FROM transfer ORDER BY file_id")
    errors = [row["error"] for row in rows]
    assert errors[0].startswith("there is no copy at any other storage")
    assert errors[1] == errors[3] == "RuntimeError: backend fell over"
    assert errors[2] == "nothing may be written to DISK-C now"
    assert len(ids) == 4


async def test_a_missing_source_is_named_and_lost_when_it_was_the_last(database: Pool, tmp_path: Path) -> None:
    dataset = await wish(database, tmp_path, 2)
    at(tmp_path / "a", 1).unlink()
    mover = Mover(database, "mover-1")
    await drain(mover)
    async with database.acquire() as conn:
        b = await conn.fetchval("SELECT id FROM storage WHERE name = 'DISK-B'")
        (why,) = await transfers.why(conn, dataset, b)
    assert why.error == f"there is no {at(tmp_path / 'a', 1)}"
    await due_now(database)
    await drain(mover)
    async with database.acquire() as conn:
        (bad,) = await badreplicas.find(conn)
        (why,) = await transfers.why(conn, dataset, b)
    assert (bad.state, why.state) == ("lost", "lost")


async def test_a_long_copy_keeps_its_lease_and_short_ones_pass_it(
    database: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await wish(database, tmp_path, 4)
    ended: list[str] = []
    slow = threading.Event()
    copy = moving.attempt

    def attempt(source: str, *arguments: Any, **named: Any) -> Any:
        if new_file(4).did.name in source:
            slow.wait(10)
        ended.append(source)
        return copy(source, *arguments, **named)

    monkeypatch.setattr(moving, "attempt", attempt)
    monkeypatch.setattr(leasing, "BATCH", 1)
    one, two = Mover(database, "one", slots=2, lease_s=0.6), Mover(database, "two", slots=1, lease_s=0.6)
    await one.step()

    async def let_go() -> None:
        await asyncio.sleep(1.5)
        slow.set()

    await asyncio.gather(drain(one), drain(two), let_go())
    assert len(ended) == 4
    assert new_file(4).did.name in ended[-1]
    assert await database.fetchval("SELECT max(attempts) FROM transfer") == 1


async def test_a_mover_that_lost_its_lease_stops_copying(
    database: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await wish(database, tmp_path, 3)
    begun: list[str] = []
    first = threading.Event()
    copy = moving.attempt

    def attempt(source: str, *arguments: Any, **named: Any) -> Any:
        begun.append(source)
        first.set()
        time.sleep(0.4)
        return copy(source, *arguments, **named)

    monkeypatch.setattr(moving, "attempt", attempt)
    mover = Mover(database, "one", slots=1, lease_s=0.3)
    stepping = asyncio.create_task(mover.step())
    await asyncio.to_thread(first.wait)
    await database.execute(
        "UPDATE transfer SET worker = 'two', batch = batch + 1000, lease_until = now() + interval '9 s'"
    )
    await stepping
    await mover.close()
    assert len(begun) == 1
    assert partial(tmp_path / "b") == []
    assert await database.fetchval("SELECT count(*) FROM transfer WHERE worker = 'two' AND error IS NULL") == 3


async def test_closing_gives_back_what_was_not_begun(
    database: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await wish(database, tmp_path, 20)
    copy = moving.attempt
    mover = Mover(database, "one", slots=1)

    def attempt(*arguments: Any, **named: Any) -> Any:
        mover._closing = True
        return copy(*arguments, **named)

    monkeypatch.setattr(moving, "attempt", attempt)
    await drain(mover)
    await mover.close()
    rows = await database.fetch("SELECT state, phase, attempts FROM transfer ORDER BY state")
    assert [tuple(row.values()) for row in rows] == [("done", "new", 1)] + 19 * [("queued", "ready", 0)]


async def test_a_copy_whose_record_was_lost_is_recorded_without_moving(
    database: Pool, tmp_path: Path, satisfied: list[str]
) -> None:
    async with database.acquire() as conn, conn.transaction():
        a, b, _ = await three_storages(conn, tmp_path)
        ids = await new_files(conn, 1)
        await replicas.arrive(conn, a, ids)
        await queueing.queue(conn, b, ids)
        await place(conn, "job:1", b, ids)
    source = put(tmp_path / "a", 1)
    hook, hooks.satisfied = hooks.satisfied, None
    mover = Mover(database, "mover-1", lease_s=0.5)
    with pytest.raises(Exception, match="cannot release"):
        await drain(mover)
    source.unlink()
    hooks.satisfied = hook
    await asyncio.sleep(0.6)
    await drain(mover)
    assert satisfied == ["job:1"]
    assert await database.fetchval("SELECT method FROM transfer") == "there"


async def test_many_small_files_arrive_in_batches(database: Pool, tmp_path: Path) -> None:
    """257: where one client forgets the files that it has open. Far fewer transactions than files record them."""
    dataset = await wish(database, tmp_path, 257)
    mover = Mover(database, "one", slots=2)
    await drain(mover)
    await mover.close()
    assert complete(tmp_path / "b", 257)
    moments = await database.fetchval("SELECT count(DISTINCT created_at) FROM replica WHERE storage_id = 2")
    assert moments < 60
    async with database.acquire() as conn:
        assert await transfers.why(conn, dataset, 2) == []


@pytest.mark.parametrize("point", POINTS)
async def test_a_mover_killed_at_any_step_loses_nothing(
    database: Pool, database_url: str, tmp_path: Path, point: str
) -> None:
    dataset = await wish(database, tmp_path, 5)
    killed = await start(database_url, "killed", point)
    assert await killed.wait() == -9
    complete(tmp_path / "b", 5)  # under its name each file is whole, whoever died
    async with database.acquire() as conn:
        waits = await transfers.why(conn, dataset, 2)
    assert all("killed" in wait.words or "died" in wait.words for wait in waits)
    second = await start(database_url, "second")
    assert await asyncio.wait_for(second.wait(), 60) == 0
    assert complete(tmp_path / "b", 5)
    assert partial(tmp_path / "b") == []
    assert await database.fetchval("SELECT state FROM subscription") == "done"
    assert await database.fetchval("SELECT count(*) FROM replica WHERE storage_id = 2") == 5


async def test_two_movers_on_one_queue_never_copy_the_same(database: Pool, database_url: str, tmp_path: Path) -> None:
    await wish(database, tmp_path, 300)
    both = [await start(database_url, name) for name in ("one", "two")]
    assert await asyncio.gather(*(process.wait() for process in both)) == [0, 0]
    assert complete(tmp_path / "b", 300)
    rows = await database.fetch("SELECT worker, count(*) AS n, max(attempts) AS most FROM transfer GROUP BY worker")
    assert sum(row["n"] for row in rows) == 300
    assert {row["most"] for row in rows} == {1}


async def test_memory_does_not_grow_with_the_file(database: Pool, database_url: str, tmp_path: Path) -> None:
    """Two sparse files of 1 GiB at a time; the limit is the whole process's, its imports included."""
    size, checksum = 1 << 30, 1
    for _ in range(64):
        checksum = zlib.adler32(bytes(size // 64), checksum)
    async with database.acquire() as conn, conn.transaction():
        a, b, _ = await three_storages(conn, tmp_path)
        new = [replace(new_file(n), bytes=size, adler32=f"{checksum:08x}") for n in (1, 2)]
        ids = await files.register(conn, new)
        await replicas.arrive(conn, a, ids)
        await queueing.queue(conn, b, ids)
    for number in (1, 2):
        os.truncate(put(tmp_path / "a", number), 0)
        os.truncate(at(tmp_path / "a", number), size)
    mover = await start(database_url, "mover")
    output, _ = await asyncio.wait_for(mover.communicate(), 120)
    assert await database.fetchval("SELECT count(*) FROM replica WHERE storage_id = $1", b) == 2
    assert int(output) < 200
    for number in (1, 2):
        at(tmp_path / "b", number).unlink()


async def test_garbage_is_deleted_unless_somebody_counts_on_it(database: Pool, tmp_path: Path) -> None:
    async with database.acquire() as conn, conn.transaction():
        a, *_ = await three_storages(conn, tmp_path)
        registered, _, moving_in = await new_files(conn, 3)
        await replicas.arrive(conn, a, [registered])
        await queueing.queue(conn, a, [moving_in])
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
