"""Bad copies: replaced from good ones, or their files are lost, which is said once and ends when they turn up."""

import pytest

from prodchain.catalog import badreplicas, datasets, history, holds, replicas, subscriptions, withdrawals
from prodchain.catalog.connection import Connection

from .material import new_dataset, new_files, new_storages


async def bad_states(conn: Connection) -> list[str]:
    return [view.state for view in await badreplicas.find(conn)]


async def test_a_bad_copy_is_ordered_anew_before_all_others(conn: Connection, satisfied: list[str]) -> None:
    here, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 2)
    dataset = await new_dataset(conn, file_ids=ids)
    await datasets.close(conn, dataset)
    await replicas.arrive(conn, here, ids)
    await subscriptions.subscribe(conn, dataset, there)
    await replicas.arrive(conn, there, ids)
    assert (await subscriptions.get(conn, dataset, there)).state == "done"
    (bad,) = await badreplicas.bad(conn, there, ids[:1], "ada", "it does not open")
    assert (bad.state, bad.actor, bad.reason) == ("recovering", "ada", "it does not open")
    assert (await subscriptions.get(conn, dataset, there)).state == "active"
    row = await conn.fetchrow("SELECT file_id, priority FROM transfer WHERE state = 'queued'")
    assert row is not None
    assert tuple(row) == (ids[0], 1000)
    assert await conn.fetchval("SELECT count(*) FROM garbage WHERE storage_id = $1", there) == 1
    assert await conn.fetchval("SELECT files FROM dataset_replica WHERE storage_id = $1", there) == 1
    assert await badreplicas.bad(conn, there, ids[:1], "bob", "again") == []
    await holds.place(conn, "job:1", there, ids)
    await replicas.arrive(conn, there, ids[:1])
    assert satisfied == ["job:1"]
    assert (await subscriptions.get(conn, dataset, there)).state == "done"
    assert await bad_states(conn) == ["recovered"]


async def test_a_recovery_is_not_withdrawn_with_a_wish(conn: Connection) -> None:
    here, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 1)
    dataset = await new_dataset(conn, file_ids=ids)
    await replicas.arrive(conn, here, ids)
    await subscriptions.subscribe(conn, dataset, there)
    await replicas.arrive(conn, there, ids)
    await badreplicas.bad(conn, there, ids, "ada", "no")
    await withdrawals.cancel(conn, dataset, there)
    assert await conn.fetchval("SELECT count(*) FROM transfer WHERE state = 'queued'") == 1


async def test_a_file_without_a_good_copy_is_lost_once_with_its_datasets(
    conn: Connection, satisfied: list[str]
) -> None:
    here, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 5)
    await new_dataset(conn, file_ids=ids)
    await new_dataset(conn, "user.ada.other", ids[:1])
    await replicas.arrive(conn, here, ids)
    await holds.place(conn, "job:1", there, ids[:1])
    states = [bad.state for bad in await badreplicas.bad(conn, here, ids[:4], "audit", "it is gone")]
    assert states == ["lost"] * 4
    lost = await conn.fetch("SELECT id FROM file WHERE lost_at IS NOT NULL ORDER BY id")
    assert [row["id"] for row in lost] == ids[:4]
    events = {event.object: event.text for event in await history.recent(conn) if event.kind == "lost"}
    name = "mc26_13p6TeV:mc26_13p6TeV.700001.Zmumu.evgen.EVNT.v1"
    files = [f"{name}._00000{n}.root.1" for n in (1, 2, 3, 4)]
    why = "the last copy, at DISK-A, was bad: it is gone"
    assert events == {
        name: f"lost {', '.join(files[:3])} and 1 more: {why}",
        "user.ada:user.ada.other": f"lost {files[0]}: {why}",
        **dict.fromkeys(files, f"the file is lost: {why}"),
    }
    # A copy turns up elsewhere: found, ordered for where it was, and whoever waits goes on waiting until it arrives.
    await replicas.arrive(conn, there, ids[1:2])
    assert await conn.fetchval("SELECT lost_at FROM file WHERE id = $1", ids[1]) is None
    assert await conn.fetchval("SELECT array_agg(file_id) FROM transfer WHERE state = 'queued'") == [ids[1]]
    assert sorted(await bad_states(conn)) == ["lost", "lost", "lost", "recovering"]
    assert satisfied == []
    await replicas.arrive(conn, here, ids[:2])
    assert sorted(await bad_states(conn)) == ["lost", "lost", "recovered", "recovered"]
    assert [event.kind for event in await history.of(conn, files[0])] == ["found", "lost"]
    await replicas.arrive(conn, there, ids[:1])
    assert satisfied == ["job:1"]


async def test_two_wrong_copies_make_the_source_bad(conn: Connection) -> None:
    here, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 1)
    await new_dataset(conn, file_ids=ids)
    await replicas.arrive(conn, here, ids)
    await replicas.arrive(conn, there, ids)
    assert not await badreplicas.suspect(conn, here, ids[0], "adler32 differs")
    assert await bad_states(conn) == []
    assert await badreplicas.suspect(conn, here, ids[0], "adler32 differs")
    (view,) = await badreplicas.find(conn, state="recovering", storage_id=here)
    assert (view.storage, view.actor, view.reason) == ("DISK-A", "mover", "adler32 differs")
    assert not await badreplicas.suspect(conn, here, ids[0], "adler32 differs")
    assert len(await badreplicas.find(conn, dataset_id=0)) == 0


async def test_a_storage_that_shows_none_of_its_files_does_not_lose_them_all(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(badreplicas, "FLOOD", 3)
    here, there = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 6)
    await replicas.arrive(conn, here, ids)
    await replicas.arrive(conn, there, ids)
    for _ in range(badreplicas.MISMATCHES):
        told = [await badreplicas.suspect(conn, here, file, "there is no such file") for file in ids]
    assert told == [True] * 3 + [False] * 3
    assert await badreplicas.suspect(conn, there, ids[0], "differs") is False
    assert await badreplicas.suspect(conn, there, ids[0], "differs"), "other storages are not in doubt"
    (event,) = await history.of(conn, "DISK-A")
    assert (event.kind, event.text[:28]) == ("doubt", "3 copies were bad within an ")
    await conn.execute("UPDATE bad_replica SET at = at - interval '2 hours'")
    assert await badreplicas.suspect(conn, here, ids[5], "there is no such file")
