"""Subscriptions: what is queued, and when a wish is fulfilled."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from prodchain.catalog import (
    containers,
    datasets,
    history,
    holds,
    names,
    plans,
    progress,
    queueing,
    replicas,
    subscriptions,
    withdrawals,
)
from prodchain.catalog.connection import Connection, Pool
from prodchain.catalog.errors import BadExpression, DatasetDeleted, DatasetNeeded, DatasetNotFound, StorageFull
from prodchain.catalog.models import DatasetKind

from .material import holders_of, new_dataset, new_files, new_storages

PAST = datetime(2020, 1, 1, tzinfo=UTC)


async def queued(conn: Connection, storage: int) -> list[int]:
    rows = await conn.fetch(
        "SELECT file_id FROM transfer WHERE state = 'queued' AND storage_id = $1 ORDER BY 1", storage
    )
    return [row["file_id"] for row in rows]


async def test_only_what_lacks_is_queued(conn: Connection) -> None:
    here, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 3)
    dataset = await new_dataset(conn, file_ids=ids)
    await replicas.arrive(conn, here, ids)
    await replicas.arrive(conn, there, ids[:1])
    first = await subscriptions.subscribe(conn, dataset, there)
    again = await subscriptions.subscribe(conn, dataset, there)
    assert (first.id, first.state) == (again.id, "active")
    assert await queued(conn, there) == ids[1:]
    assert (await conn.fetchval("SELECT sum(bytes) FROM transfer")) == 2 + 3


async def test_what_joins_later_follows(conn: Connection) -> None:
    here, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 3)
    dataset = await new_dataset(conn)
    await subscriptions.subscribe(conn, dataset, there)
    await replicas.arrive(conn, there, ids[:1])
    await datasets.add_files(conn, dataset, ids)
    assert await queued(conn, there) == ids[1:]
    assert await queued(conn, here) == []


async def test_a_wish_is_fulfilled_by_the_last_copy_of_a_closed_dataset(conn: Connection) -> None:
    _, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 2)
    dataset = await new_dataset(conn, file_ids=ids)
    await subscriptions.subscribe(conn, dataset, there)
    await replicas.arrive(conn, there, ids[:1])
    await datasets.close(conn, dataset)
    assert (await subscriptions.subscribe(conn, dataset, there)).state == "active"
    await replicas.arrive(conn, there, ids)
    done = await subscriptions.subscribe(conn, dataset, there)
    assert done.state == "done"
    assert done.done_at is not None
    assert await queued(conn, there) == []


async def test_closing_fulfils_a_wish_whose_copy_is_complete(conn: Connection) -> None:
    (here,) = await new_storages(conn, "file:/a")
    ids = await new_files(conn, 2)
    dataset, empty = await new_dataset(conn, file_ids=ids), await new_dataset(conn, "user.ada.empty")
    await replicas.arrive(conn, here, ids)
    assert (await subscriptions.subscribe(conn, dataset, here)).state == "active"
    await datasets.close(conn, dataset)
    await datasets.close(conn, empty)
    assert (await subscriptions.subscribe(conn, dataset, here)).state == "done"
    assert (await subscriptions.subscribe(conn, empty, here)).state == "done"


async def test_a_copy_that_was_deleted_is_queued_anew(conn: Connection) -> None:
    _, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 1)
    await queueing.queue(conn, there, ids)
    await replicas.arrive(conn, there, ids)
    await conn.execute("DELETE FROM replica")
    await queueing.queue(conn, there, ids)
    row = await conn.fetchrow("SELECT state, attempts, done_at FROM transfer")
    assert row is not None
    assert tuple(row) == ("queued", 0, None)


async def new_container(conn: Connection, name: str, *children: int) -> int:
    container = await datasets.create(conn, names.parse_did(name), DatasetKind.CONTAINER, "ada")
    assert container.id is not None
    await containers.add(conn, container.id, children)
    return container.id


async def state(conn: Connection, dataset: int, storage: int) -> str:
    return (await subscriptions.get(conn, dataset, storage)).state


async def expire_all(conn: Connection) -> int:
    return sum([await withdrawals.expire(conn, wish) for wish in await withdrawals.expired(conn)])


async def test_a_wish_for_what_is_there_now_ends_with_exactly_that(conn: Connection) -> None:
    here, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 3)
    dataset = await new_dataset(conn, file_ids=ids[:2])
    await replicas.arrive(conn, here, ids)
    wish = await subscriptions.subscribe(conn, dataset, there, standing=False)
    await datasets.add_files(conn, dataset, ids[2:])
    assert await queued(conn, there) == ids[:2]
    await replicas.arrive(conn, there, ids[2:])
    await replicas.arrive(conn, there, ids[:1])
    assert await state(conn, dataset, there) == "active"
    await replicas.arrive(conn, there, ids[1:2])
    assert await state(conn, dataset, there) == "done"
    assert await holders_of(conn, dataset) == []
    more = await new_files(conn, 1, first=9)
    await datasets.add_files(conn, dataset, more)
    assert await queued(conn, there) == []
    again = await subscriptions.subscribe(conn, dataset, there, standing=False)
    assert (again.id, again.state) == (wish.id, "active")
    assert await queued(conn, there) == more


async def test_a_wish_for_what_is_there_now_is_done_at_once_if_all_is_there(conn: Connection) -> None:
    (here,) = await new_storages(conn, "file:/a")
    ids = await new_files(conn, 1)
    dataset = await new_dataset(conn, file_ids=ids)
    await replicas.arrive(conn, here, ids)
    assert (await subscriptions.subscribe(conn, dataset, here, standing=False)).state == "done"


async def test_a_wish_becomes_a_standing_one_by_a_stronger_repeat(conn: Connection) -> None:
    _, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 2)
    dataset = await new_dataset(conn, file_ids=ids[:1])
    await subscriptions.subscribe(conn, dataset, there, owner="ada", standing=False, priority=5, sources="DISK-A")
    wish = await subscriptions.subscribe(conn, dataset, there, owner="bob", priority=3, sources="site=SITE-C")
    assert (wish.owner, wish.standing, wish.priority) == ("ada", True, 5)
    assert wish.sources == "(DISK-A)|(site=SITE-C)"
    await datasets.add_files(conn, dataset, ids)
    rows = await conn.fetch("SELECT owner, priority, sources FROM transfer ORDER BY file_id")
    assert [tuple(row) for row in rows] == [("ada", 5, wish.sources)] * 2
    again = await subscriptions.subscribe(conn, dataset, there, priority=7)
    assert (again.priority, again.sources) == (7, None)
    rows = await conn.fetch("SELECT owner, priority, sources FROM transfer ORDER BY file_id")
    assert [tuple(row) for row in rows] == [("ada", 7, None)] * 2


async def test_a_cancelled_wish_takes_back_what_nobody_else_waits_for(conn: Connection) -> None:
    _, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 5)
    dataset, other = await new_dataset(conn, file_ids=ids), await new_dataset(conn, "user.ada.other", ids[1:2])
    await subscriptions.subscribe(conn, dataset, there)
    await subscriptions.subscribe(conn, other, there)
    await holds.place(conn, "job:1", there, ids[2:3])
    await conn.execute(
        "UPDATE transfer SET phase = 'active', attempts = 1, lease_until = now() + interval '1 minute'"
        " WHERE file_id = $1",
        ids[3],
    )
    await conn.execute("UPDATE transfer SET attempts = 1, error = 'no' WHERE file_id = $1", ids[4])
    assert (await withdrawals.cancel(conn, dataset, there, "ada")).state == "cancelled"
    assert await queued(conn, there) == ids[1:4]
    # What was begun may have left a file; what is in hand goes when it fails.
    assert await conn.fetchval("SELECT array_agg(name) FROM garbage") == [
        await conn.fetchval("SELECT name FROM file WHERE id = $1", ids[4])
    ]
    await conn.execute("UPDATE transfer SET phase = 'waiting', lease_until = NULL WHERE file_id = $1", ids[3])
    await queueing.sweep(conn)
    assert await queued(conn, there) == ids[1:3]
    (event,) = [event for event in await history.recent(conn) if event.kind == "cancelled"]
    assert (event.actor, event.text) == ("ada", "the subscription to DISK-B is cancelled")
    assert (await withdrawals.cancel(conn, dataset, there)).state == "cancelled"
    assert (await subscriptions.subscribe(conn, dataset, there)).state == "active"
    assert await queued(conn, there) == ids


async def test_a_wish_ends_when_its_time_is_over(conn: Connection) -> None:
    _, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 1)
    dataset = await new_dataset(conn, file_ids=ids)
    await subscriptions.subscribe(conn, dataset, there, expires_at=datetime.now(UTC) + timedelta(days=1))
    assert await expire_all(conn) == 0
    await conn.execute("UPDATE subscription SET expires_at = $1", PAST)
    assert await expire_all(conn) == 1
    assert (await state(conn, dataset, there), await queued(conn, there)) == ("expired", [])
    assert await expire_all(conn) == 0
    again = await subscriptions.subscribe(conn, dataset, there)
    assert (again.state, again.expires_at) == ("active", None)


async def test_nobody_wishes_for_what_is_deleted_or_unknown(conn: Connection) -> None:
    (here,) = await new_storages(conn, "file:/a")
    dataset = await new_dataset(conn)
    await conn.execute("UPDATE dataset SET deleted_at = now() WHERE id = $1", dataset)
    with pytest.raises(DatasetDeleted):
        await subscriptions.subscribe(conn, dataset, here)
    with pytest.raises(DatasetNotFound):
        await subscriptions.subscribe(conn, dataset + 1, here)
    with pytest.raises(DatasetNotFound, match="nobody wished"):
        await withdrawals.cancel(conn, dataset, here)


async def test_a_wish_for_a_container_is_one_for_each_dataset_below_it(conn: Connection) -> None:
    _, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 4)
    one, two, three = [await new_dataset(conn, f"user.ada.d{n}", [file]) for n, file in enumerate(ids[:3])]
    inner = await new_container(conn, "user.ada.inner", two)
    outer = await new_container(conn, "user.ada.outer", one, inner)
    await subscriptions.subscribe(conn, outer, there, owner="ada", priority=2)
    assert await queued(conn, there) == ids[:2]
    await containers.add(conn, inner, [three])
    assert await queued(conn, there) == ids[:3]
    await datasets.add_files(conn, three, ids[3:])
    assert await queued(conn, there) == ids
    assert await conn.fetchval("SELECT bool_and(owner = 'ada' AND priority = 2) FROM transfer")
    with pytest.raises(DatasetNeeded, match=r"a part of user\.ada:user\.ada\.outer"):
        await withdrawals.cancel(conn, two, there)
    await subscriptions.subscribe(conn, one, there)
    await containers.remove(conn, inner, [three])
    assert await queued(conn, there) == ids[:2]
    await withdrawals.cancel(conn, outer, there)
    assert await queued(conn, there) == ids[:1]
    assert [await state(conn, each, there) for each in (one, two, three, outer)] == [
        "active",
        "cancelled",
        "cancelled",
        "cancelled",
    ]


async def test_a_wish_that_begins_anew_stands_for_what_is_in_the_container_now(conn: Connection) -> None:
    (there,) = await new_storages(conn, "file:/a")
    ids = await new_files(conn, 1)
    child = await new_dataset(conn, file_ids=ids)
    box = await new_container(conn, "user.ada.box", child)
    await subscriptions.subscribe(conn, box, there)
    await withdrawals.cancel(conn, box, there)
    await containers.remove(conn, box, [child])
    await subscriptions.subscribe(conn, box, there)
    await subscriptions.subscribe(conn, child, there)
    assert (await withdrawals.cancel(conn, child, there)).state == "cancelled"
    assert await queued(conn, there) == []


async def test_a_wish_for_a_container_is_fulfilled_when_all_is_closed_and_there(conn: Connection) -> None:
    _, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 2)
    one, two = [await new_dataset(conn, f"user.ada.d{n}", [file]) for n, file in enumerate(ids)]
    inner = await new_container(conn, "user.ada.inner", two)
    outer = await new_container(conn, "user.ada.outer", one, inner)
    await subscriptions.subscribe(conn, outer, there)
    await replicas.arrive(conn, there, ids)
    for each in (one, two, outer):
        await datasets.close(conn, each)
    assert await state(conn, outer, there) == "active"
    await datasets.close(conn, inner)
    assert await state(conn, outer, there) == "done"
    await replicas.remove(conn, there, ids[1:], garbage=False)
    assert [await state(conn, each, there) for each in (one, two, outer)] == ["done", "active", "active"]
    assert await queued(conn, there) == ids[1:]
    await replicas.arrive(conn, there, ids)
    assert await state(conn, outer, there) == "done"


async def test_a_wish_for_a_container_once_is_for_what_is_below_it_now(conn: Connection) -> None:
    _, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 2)
    one, two = [await new_dataset(conn, f"user.ada.d{n}", [file]) for n, file in enumerate(ids)]
    outer = await new_container(conn, "user.ada.outer", one)
    await subscriptions.subscribe(conn, outer, there, standing=False)
    await containers.add(conn, outer, [two])
    assert await queued(conn, there) == ids[:1]
    await replicas.arrive(conn, there, ids[:1])
    assert await state(conn, outer, there) == "done"


async def test_a_child_that_joins_while_a_wish_is_made_is_wished_for(database: Pool) -> None:
    async with database.acquire() as conn, conn.transaction():
        (there,) = await new_storages(conn, "file:/a")
        ids = await new_files(conn, 6)
        children = [await new_dataset(conn, f"user.ada.d{n}", [file]) for n, file in enumerate(ids)]
        boxes = [await new_container(conn, f"user.ada.box{n}") for n in range(len(ids))]

    async def add(box: int, child: int) -> None:
        async with database.acquire() as conn, conn.transaction():
            await containers.add(conn, box, [child])
            await asyncio.sleep(0.01)

    async def wish(box: int) -> None:
        async with database.acquire() as conn, conn.transaction():
            await subscriptions.subscribe(conn, box, there)
            await asyncio.sleep(0.01)

    for number, (box, child) in enumerate(zip(boxes, children, strict=True)):
        both = [add(box, child), wish(box)]
        await asyncio.gather(*(both if number % 2 else reversed(both)))
    async with database.acquire() as conn:
        assert await queued(conn, there) == ids


async def test_a_dry_run_tells_what_a_wish_would_do(conn: Connection) -> None:
    here, there, far = await new_storages(conn, "file:/a", "file:/b", "file:/c")
    ids = await new_files(conn, 4)
    dataset = await new_dataset(conn, file_ids=ids)
    await replicas.arrive(conn, here, ids)
    await replicas.arrive(conn, there, ids[:1])
    await conn.execute("UPDATE storage SET capacity_bytes = 5 WHERE id = $1", far)
    await conn.execute(
        "INSERT INTO link (source_id, storage_id, hour, files, bytes, seconds)"
        " VALUES ($1, $2, now() - interval '1 day', 10, 600, 300)",
        here,
        there,
    )
    known, unknown = await plans.subscribe(conn, dataset, "!DISK-A", dry_run=True)
    assert (known.storage, known.files, known.bytes, known.files_there) == ("DISK-B", 3, 9, 1)
    assert known.seconds == 9 / (600 / 300 * 3)
    assert known.time == "3 at a time from DISK-A, each at 0.0 MB/s as in the last 7 days"
    assert (unknown.storage, unknown.seconds) == ("DISK-C", None)
    assert unknown.time == "unknown: nothing was copied from DISK-A, DISK-B in the last 7 days"
    assert unknown.refusal.startswith("DISK-C takes 5 B more, 10 B are needed")
    with pytest.raises(StorageFull):
        await plans.subscribe(conn, dataset, "!DISK-A")
    assert await conn.fetchval("SELECT count(*) FROM subscription") == 0
    await plans.subscribe(conn, dataset, "DISK-B")
    assert await queued(conn, there) == ids[1:]
    (none,) = await plans.plan(conn, dataset, [there], sources="DISK-C")
    assert none.time == "unknown: no other storage has any of it"


async def test_of_very_many_failing_copies_a_sample_stands_for_all(conn: Connection) -> None:
    _, there = await new_storages(conn, "file:/a", "file:/b")
    many, few = await new_files(conn, 600), await new_files(conn, 3, first=601)
    await subscriptions.subscribe(conn, await new_dataset(conn, file_ids=many), there)
    await subscriptions.subscribe(conn, await new_dataset(conn, "mc26.out_dis1", few, DatasetKind.DISPATCH), there)
    await conn.execute("UPDATE transfer SET error = 'no'")
    found = await progress.summary(conn)
    assert found["other"].failing + found["dispatch"].failing in (602, 603, 604)
    assert 0 < found["dispatch"].failing < 10


async def test_a_destination_must_fit_and_be_writable(conn: Connection) -> None:
    await new_storages(conn, "file:/a")
    dataset = await new_dataset(conn)
    await conn.execute("UPDATE storage SET writable = false")
    with pytest.raises(BadExpression, match="nothing may be written to DISK-A"):
        await plans.subscribe(conn, dataset, "DISK-*")
    with pytest.raises(BadExpression, match="no storage has the name 'DISK-Z'"):
        await plans.subscribe(conn, dataset, "DISK-Z")
    with pytest.raises(BadExpression, match="no storage has a 'clout'"):
        await plans.plan(conn, dataset, [], sources="clout=DE")


async def test_wishes_are_summed_up_by_what_they_are_for(conn: Connection) -> None:
    _, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 4)
    dispatch = await new_dataset(conn, "mc26.out_dis1", ids[:2], DatasetKind.DISPATCH)
    sub = await new_dataset(conn, "mc26.out_sub.DISK-A", ids[2:3], DatasetKind.SUB)
    other = await new_dataset(conn, "user.ada.one", ids, DatasetKind.USER)
    for each in (dispatch, sub):
        await subscriptions.subscribe(conn, each, there)
    await subscriptions.subscribe(conn, other, there, standing=False)
    await replicas.arrive(conn, there, ids[:1])
    await conn.execute("UPDATE transfer SET error = 'no' WHERE file_id = $1", ids[1])
    found = await progress.summary(conn)
    assert {kind: (s.active, s.files_missing, s.bytes_missing, s.failing) for kind, s in found.items()} == {
        "dispatch": (1, 1, 2, 1),
        "destination": (1, 1, 3, 0),
        "other": (1, 3, 9, 1),
    }
    box = await new_container(conn, "user.ada.box", other)
    await subscriptions.subscribe(conn, box, there)
    views = await progress.find(conn, storage_id=there)
    assert [(view.kind, view.files, view.files_there, view.bytes - view.bytes_there) for view in views] == [
        ("container", 4, 1, 9),
        ("user", 4, 1, 9),
        ("sub", 1, 0, 3),
        ("dispatch", 2, 1, 2),
    ]
    assert await progress.find(conn, state="done") == []
    (view,) = await progress.find(conn, dataset_id=sub, before=views[1].id, limit=5)
    assert (view.dataset, view.storage, view.state) == ("mc26:mc26.out_sub.DISK-A", "DISK-B", "active")
