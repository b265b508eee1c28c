"""What agents look at again and again is what is due, however much there is."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from prodchain.catalog import deletion, holds, hooks, purging, queueing, recount, replicas
from prodchain.catalog.connection import Connection, Pool
from prodchain.catalog.models import DatasetKind

from .material import new_dataset, new_file, new_files, new_storages


async def queued(conn: Connection) -> list[int]:
    return [row["file_id"] for row in await conn.fetch("SELECT file_id FROM transfer ORDER BY file_id")]


async def test_what_nobody_wishes_for_any_more_is_looked_at_before_its_next_try(conn: Connection) -> None:
    _, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 2)
    await queueing.queue(conn, there, ids)
    wait = "UPDATE transfer SET phase = 'waiting', not_before = now() + make_interval(mins => $2) WHERE file_id = $1"
    await conn.executemany(wait, [(ids[0], 0), (ids[1], 30)])
    assert await queueing.sweep(conn, limit=1) == 1
    assert await queueing.sweep(conn) == 0
    assert await queued(conn) == ids[1:], "however many wait long, a sweep reads the next minute's alone"
    await conn.execute(wait, ids[1], 1)
    await queueing.sweep(conn)
    assert await queued(conn) == []


async def test_copies_of_files_in_no_dataset_are_found_among_any_number_of_cached_ones(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "needed", nobody)
    monkeypatch.setattr(hooks, "reads", nobody)
    (here,) = await new_storages(conn, "file:/a")
    ids = await new_files(conn, 3)
    await new_dataset(conn, file_ids=ids[:1])
    doomed = await new_dataset(conn, "user.ada.doomed", ids[:2])
    await replicas.arrive(conn, here, ids)
    await conn.execute("UPDATE replica SET tombstone_at = now() WHERE file_id = ANY($1)", ids[:2])
    await deletion.delete(conn, doomed, "ada", timedelta())
    while await purging.purge(conn):
        pass
    await conn.execute("SET LOCAL enable_seqscan = off")
    plan = "\n".join(row[0] for row in await conn.fetch(f"EXPLAIN {purging.IDLE}", here, 10))
    assert "tombstone_at = '-infinity'" in next(line for line in plan.splitlines() if "Index Cond" in line)
    await holds.place(conn, "release:1", here, ids[1:2])
    assert await purging.reap(conn, here) == 1, "a cached copy of a file that nobody has any more"
    # What nobody lets go has a week, and goes then.
    assert [each.object for each in await recount.check(conn, repair=True)] == [f"mc26_13p6TeV:{name_of(3)}"]
    assert await purging.reap(conn, here) == 0
    await conn.execute("UPDATE replica SET tombstone_at = tombstone_at - interval '8 days'")
    await recount.check(conn, repair=True)
    assert await purging.reap(conn, here) == 1


async def test_copies_that_jobs_read_do_not_keep_others_from_their_turn(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here, home) = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 3)
    await new_dataset(conn, file_ids=ids)
    for storage in (here, home):
        await replicas.arrive(conn, storage, ids)
    await conn.execute("UPDATE replica SET tombstone_at = now() WHERE storage_id = $1", here)
    await conn.execute("UPDATE storage SET capacity_bytes = 0, min_free_bytes = 100")

    async def reads(*_: object) -> dict[int, str]:
        return dict.fromkeys(ids[:2], "a job reads it")

    monkeypatch.setattr(hooks, "reads", reads)
    assert [await purging.reap(conn, here, limit=2) for _ in range(2)] == [0, 1]
    rows = await conn.fetch("SELECT file_id FROM replica WHERE storage_id = $1 ORDER BY 1", here)
    assert [row["file_id"] for row in rows] == ids[:2]


async def test_what_is_needed_beyond_its_lifetime_keeps_nothing_else_and_is_not_locked(
    database: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def needed(_: Connection, dataset_ids: Sequence[int]) -> dict[int, list[str]]:
        return {number: ["a task"] for number in dataset_ids if number <= 2}

    monkeypatch.setattr(hooks, "needed", needed)
    async with database.acquire() as conn, conn.transaction():
        subs = [await new_dataset(conn, f"sub_sub.{n}", kind=DatasetKind.SUB) for n in range(3)]
        assert subs == [1, 2, 3]
        await conn.execute("UPDATE dataset SET expires_at = now() - make_interval(hours => 9 - id::int)")
    async with database.acquire() as conn, conn.transaction():
        expiry = deletion.Expiry()
        assert [await expiry.step(conn, limit=2) for _ in range(2)] == [0, 1]
        async with database.acquire() as other:
            await other.fetch("SELECT FROM dataset WHERE id <= 2 FOR UPDATE NOWAIT")
    assert await database.fetchval("SELECT id FROM dataset WHERE deleted_at IS NOT NULL") == 3


async def nobody(*_: object) -> dict[int, str]:
    return {}


def name_of(number: int) -> str:
    return new_file(number).did.name
