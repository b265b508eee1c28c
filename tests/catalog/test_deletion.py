"""Deleted is hidden at once, brought back in time, let go in the end; what somebody needs stays."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from prodchain.catalog import (
    containers,
    datasets,
    deletion,
    history,
    holds,
    hooks,
    purging,
    recount,
    replicas,
    subscriptions,
)
from prodchain.catalog.connection import Connection
from prodchain.catalog.errors import DatasetDeleted, DatasetNeeded, HookMissing
from prodchain.catalog.models import Dataset, DatasetKind
from prodchain.catalog.names import parse_did

from .material import EVNT, new_dataset, new_files, new_storages

NO_GRACE = timedelta()


@pytest.fixture
def needs(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[str]]:
    """Who needs which dataset, as the broker would say; nobody to begin with."""
    words: dict[int, list[str]] = {}

    async def needed(_: Connection, dataset_ids: Sequence[int]) -> dict[int, list[str]]:
        return {number: words[number] for number in dataset_ids if number in words}

    monkeypatch.setattr(hooks, "needed", needed)
    return words


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> dict[int, str]:
    """Who reads which file, at any storage."""
    words: dict[int, str] = {}

    async def hook(_: Connection, __: int, file_ids: Sequence[int]) -> dict[int, str]:
        return {number: words[number] for number in file_ids if number in words}

    monkeypatch.setattr(hooks, "reads", hook)
    return words


async def copies(conn: Connection) -> list[tuple[int, int, bool]]:
    """(file, storage, may be deleted) of every copy."""
    rows = await conn.fetch("SELECT file_id, storage_id, tombstone_at <= now() AS t FROM replica ORDER BY 1, 2")
    return [(row["file_id"], row["storage_id"], bool(row["t"])) for row in rows]


async def get(conn: Connection, dataset_id: int) -> Dataset:
    return await datasets.by_id(conn, dataset_id)


async def test_a_deleted_dataset_can_be_brought_back_until_its_files_are_let_go(
    conn: Connection, needs: dict[int, list[str]]
) -> None:
    (here,) = await new_storages(conn, "file:/a")
    ids = await new_files(conn, 3)
    dataset = await new_dataset(conn, file_ids=ids)
    await replicas.arrive(conn, here, ids)
    await datasets.close(conn, dataset)
    await datasets.set_lifetime(conn, dataset, datetime.now(UTC) - timedelta(days=1), "ada")
    hidden = await deletion.delete(conn, dataset, "ada")
    assert hidden.deleted_at and hidden.purge_at == hidden.deleted_at + deletion.GRACE
    assert await deletion.delete(conn, dataset, "bob") == hidden
    with pytest.raises(DatasetDeleted, match="is deleted"):
        await datasets.create(conn, parse_did(EVNT), DatasetKind.PRODUCTION, "ada")
    with pytest.raises(DatasetDeleted):
        await datasets.add_files(conn, dataset, ids)
    assert await purging.purge(conn) == 0
    back = await deletion.undelete(conn, dataset, "ada")
    assert (back.deleted_at, back.purge_at, back.expires_at, back.files) == (None, None, None, 3)
    assert await deletion.undelete(conn, dataset, "ada") == back

    await deletion.delete(conn, dataset, "ada", NO_GRACE)
    assert await purging.purge(conn) == 3 + 1
    assert await purging.purge(conn) == 0
    gone = await get(conn, dataset)
    assert (gone.state, gone.files, gone.bytes, gone.purge_at) == ("deleted", 0, 0, None)
    assert await copies(conn) == [(number, here, True) for number in ids]
    assert await recount.check(conn) == []
    with pytest.raises(DatasetDeleted, match="let go"):
        await deletion.undelete(conn, dataset, "ada")
    with pytest.raises(DatasetDeleted):
        await datasets.create(conn, parse_did(EVNT), DatasetKind.PRODUCTION, "ada")
    told = [event.kind for event in await history.of(conn, f"mc26_13p6TeV:{EVNT}")]
    assert told == ["purged", "deleted", "undeleted", "deleted", "lifetime", "closed", "created"]


async def test_what_somebody_needs_is_refused_with_who_needs_it(
    conn: Connection, needs: dict[int, list[str]]
) -> None:
    (here,) = await new_storages(conn, "file:/a")
    ids = await new_files(conn, 1)
    dataset = await new_dataset(conn, file_ids=ids)
    box = await new_dataset(conn, "user.ada.box", kind=DatasetKind.CONTAINER)
    await containers.add(conn, box, [dataset])
    await subscriptions.subscribe(conn, dataset, here)
    await holds.place(conn, "release:1", here, ids, dataset)
    await holds.place(conn, "release:2", here, ids, dataset)
    needs[dataset] = ["task 7 (running), which reads it"]
    with pytest.raises(DatasetNeeded) as error:
        await deletion.delete(conn, dataset, "ada")
    assert str(error.value) == (
        f"mc26_13p6TeV:{EVNT} is needed by the container user.ada:user.ada.box, the subscription at DISK-A,"
        " the hold release:1 and 1 more, task 7 (running), which reads it"
    )
    await datasets.set_lifetime(conn, dataset, datetime.now(UTC) - timedelta(days=1), "ada")
    assert await deletion.Expiry().step(conn) == 0
    needs.clear()
    await containers.remove(conn, box, [dataset])
    await holds.drop(conn, ["release:1", "release:2"])
    await conn.execute("UPDATE subscription SET state = 'cancelled'")
    assert await deletion.Expiry().step(conn) == 1
    assert (await get(conn, dataset)).deleted_at is not None


async def test_needed_ones_do_not_keep_others_from_expiring_and_are_looked_at_once_in_a_round(
    conn: Connection, needs: dict[int, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    needed = hooks.needed
    assert needed is not None

    async def counted(conn: Connection, dataset_ids: Sequence[int]) -> dict[int, list[str]]:
        asked.extend(dataset_ids)
        return await needed(conn, dataset_ids)

    monkeypatch.setattr(hooks, "needed", counted)
    made = [await new_dataset(conn, f"user.ada.d{n}") for n in range(7)]
    for n, dataset in enumerate(made):
        await datasets.set_lifetime(conn, dataset, datetime.now(UTC) - timedelta(days=9 - n), "ada")
    needs.update({dataset: ["somebody"] for dataset in made[:5]})
    expiry = deletion.Expiry()
    assert [await expiry.step(conn, limit=2) for _ in range(6)] == [0, 0, 1, 1, 0, 0]
    assert [(await get(conn, dataset)).deleted_at is not None for dataset in made] == [False] * 5 + [True] * 2
    assert [asked.count(dataset) for dataset in made[:5]] == [1] * 5
    needs.clear()
    monkeypatch.setattr(deletion, "ROUND", timedelta())
    assert [await expiry.step(conn, limit=9) for _ in range(2)] == [0, 5], "a new round has begun"


async def test_a_process_that_knows_no_tasks_deletes_nothing(
    conn: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "needed", None)
    dataset = await new_dataset(conn)
    with pytest.raises(HookMissing, match="cannot know who needs"):
        await deletion.delete(conn, dataset, "ada")


async def test_kinds_have_lifetimes_of_their_own(conn: Connection) -> None:
    plain = await get(conn, await new_dataset(conn))
    dispatch = await get(conn, await new_dataset(conn, f"{EVNT}_dis1", kind=DatasetKind.DISPATCH))
    assert plain.expires_at is None
    assert dispatch.expires_at == dispatch.created_at + timedelta(days=14)


async def test_dispatch_datasets_that_are_over_go_with_their_rows_and_their_copies_become_a_cache(
    conn: Connection, needs: dict[int, list[str]], reads: dict[int, str]
) -> None:
    home, away = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 4)
    source = await new_dataset(conn, file_ids=ids)
    await replicas.arrive(conn, home, ids)
    wished = await new_dataset(conn, "user.ada.wished", [ids[3]])
    await subscriptions.subscribe(conn, wished, away)
    dispatch = await new_dataset(conn, f"{EVNT}_dis1", ids, DatasetKind.DISPATCH)
    await datasets.close(conn, dispatch)
    await subscriptions.subscribe(conn, dispatch, away)
    await replicas.arrive(conn, away, ids[:2] + ids[3:])
    await holds.place(conn, "release:1", away, ids[:2], dispatch)
    await conn.execute("UPDATE dataset SET closed_at = closed_at - interval '2 days' WHERE id = $1", dispatch)
    assert await deletion.Expiry().step(conn) == 0
    await holds.drop(conn, ["release:1"])
    assert await deletion.Expiry().step(conn) == 1
    assert await purging.purge(conn, limit=3) == 3
    assert (await get(conn, dispatch)).files == 1
    assert await recount.check(conn) == []
    assert await purging.purge(conn, limit=3) == 2
    assert await conn.fetchval("SELECT count(*) FROM dataset WHERE kind = 'dispatch'") == 0
    assert await conn.fetchval("SELECT count(*) FROM transfer WHERE state = 'queued'") == 0, (
        "nobody wants it any more"
    )
    assert await copies(conn) == sorted(
        [(number, home, False) for number in ids]
        + [(number, away, True) for number in ids[:2]]
        + [(ids[3], away, False)]
    )
    assert (await get(conn, source)).files == 4
    assert await recount.check(conn) == []

    assert await purging.reap(conn, away) == 0, "space is not wanted there"
    await conn.execute("UPDATE storage SET capacity_bytes = 10, min_free_bytes = 4 WHERE id = $1", away)
    reads[ids[0]] = "job 1 reads it"
    assert await purging.reap(conn, away) == 0, "the oldest is being read"
    reads.clear()
    assert await purging.reap(conn, away) == 1
    assert ids[1] not in [number for number, storage, _ in await copies(conn) if storage == away]
    assert await conn.fetchval("SELECT count(*) FROM garbage WHERE storage_id = $1", away) == 1
    assert await recount.check(conn) == []


async def test_a_wish_keeps_a_cached_copy_and_a_use_moves_it_on(
    conn: Connection, needs: dict[int, list[str]], reads: dict[int, str]
) -> None:
    (here,) = await new_storages(conn, "file:/a")
    one, two, three = await new_files(conn, 3)
    dataset = await new_dataset(conn, file_ids=[one, two, three])
    await replicas.arrive(conn, here, [one, two, three])
    await conn.execute("UPDATE replica SET tombstone_at = now() - interval '1 day'")
    await holds.place(conn, "release:1", here, [one])
    wished = await new_dataset(conn, "user.ada.wished", [two])
    await subscriptions.subscribe(conn, wished, here)
    rows = await conn.fetch("SELECT file_id, tombstone_at, tombstone_at > now() AS later FROM replica ORDER BY 1")
    assert [(row["tombstone_at"] is None, row["later"]) for row in rows] == [
        (False, True),
        (True, None),
        (False, False),
    ]
    assert (await get(conn, dataset)).files == 3


async def test_the_last_copy_of_a_file_of_a_living_dataset_is_never_deleted(
    conn: Connection, needs: dict[int, list[str]], reads: dict[int, str]
) -> None:
    storages = await new_storages(conn, "file:/a", "file:/b")
    living, doomed = await new_files(conn, 2)
    await new_dataset(conn, file_ids=[living])
    for storage in storages:
        await replicas.arrive(conn, storage, [living, doomed])
    await conn.execute(
        "UPDATE replica SET tombstone_at = CASE WHEN file_id = $1 THEN '-infinity' ELSE now() END", doomed
    )
    await conn.execute("UPDATE storage SET capacity_bytes = 0, min_free_bytes = 1000")
    assert [await purging.reap(conn, storage) for storage in storages] == [2, 1]
    assert [(number, storage) for number, storage, _ in await copies(conn)] == [(living, storages[1])]
    assert await purging.reap(conn, storages[1]) == 0


async def test_a_storage_that_forbids_it_loses_nothing(
    conn: Connection, needs: dict[int, list[str]], reads: dict[int, str]
) -> None:
    (here,) = await new_storages(conn, "file:/a")
    await replicas.arrive(conn, here, await new_files(conn, 1))
    await conn.execute("UPDATE replica SET tombstone_at = '-infinity'")
    await conn.execute("UPDATE storage SET deletable = false")
    assert await purging.reapable(conn) == []
    assert await purging.reap(conn, here) == 0
    await conn.execute("UPDATE storage SET deletable = true")
    assert await purging.reapable(conn) == [here]
    assert await purging.reap(conn, here) == 1


async def test_a_copy_that_is_removed_is_wished_and_waited_for_again(
    conn: Connection, satisfied: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, away = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 3)
    dataset = await new_dataset(conn, file_ids=ids[:2])
    await datasets.close(conn, dataset)
    await new_dataset(conn, "user.ada.other", ids[2:])
    await replicas.arrive(conn, home, ids)
    wish = await subscriptions.subscribe(conn, dataset, away)
    await holds.place(conn, "job", away, [ids[0], ids[2]])
    await replicas.arrive(conn, away, ids[:2])
    assert await conn.fetchval("SELECT state FROM subscription WHERE id = $1", wish.id) == "done"

    async def removed(_: Connection, storage: int, file_ids: Sequence[int]) -> list[tuple[str, int]]:
        return [("job", ids[0])] if storage == away and ids[0] in file_ids else []

    monkeypatch.setattr(hooks, "removed", removed)
    assert await replicas.remove(conn, away, ids) == ids[:2]
    assert await replicas.remove(conn, away, ids) == []
    assert await conn.fetchval("SELECT state FROM subscription WHERE id = $1", wish.id) == "active"
    assert await conn.fetchval("SELECT missing FROM hold") == 2
    queued = await conn.fetch("SELECT file_id, storage_id FROM transfer WHERE state = 'queued' ORDER BY 1")
    assert [tuple(row) for row in queued] == [(number, away) for number in ids[:2]]
    assert await recount.check(conn) == []
    await replicas.arrive(conn, away, ids)
    assert satisfied == ["job"]
    assert await conn.fetchval("SELECT state FROM subscription WHERE id = $1", wish.id) == "done"


async def test_a_deleted_container_lets_its_children_go_unharmed(
    conn: Connection, needs: dict[int, list[str]]
) -> None:
    box, inner = [await new_dataset(conn, f"user.ada.{n}", kind=DatasetKind.CONTAINER) for n in ("box", "inner")]
    dataset = await new_dataset(conn)
    await containers.add(conn, inner, [dataset])
    await containers.add(conn, box, [inner])
    await datasets.close(conn, box)
    with pytest.raises(DatasetNeeded, match="the container user"):
        await deletion.delete(conn, inner, "ada")
    await deletion.delete(conn, box, "ada", NO_GRACE)
    assert await purging.purge(conn) == 1
    assert (await get(conn, box)).state == "deleted"
    assert await containers.below(conn, inner) == [dataset]
    await deletion.delete(conn, inner, "ada")


async def test_one_bookkeeping_dataset_that_is_referred_to_does_not_keep_the_others(
    conn: Connection, needs: dict[int, list[str]]
) -> None:
    made = [await new_dataset(conn, f"{EVNT}_dis{n}", kind=DatasetKind.DISPATCH) for n in range(3)]
    await conn.execute("CREATE TABLE other (id bigint REFERENCES dataset)")
    await conn.execute("INSERT INTO other VALUES ($1)", made[1])
    await conn.execute("UPDATE dataset SET expires_at = now() - interval '1 day'")
    assert await deletion.Expiry().step(conn) == 3
    assert await purging.purge(conn) == 3
    assert await purging.purge(conn) == 0
    rows = await conn.fetch("SELECT id, state FROM dataset")
    assert [tuple(row) for row in rows] == [(made[1], "deleted")]


async def test_a_copy_on_somebodys_laptop_is_no_reason_to_delete_another(
    conn: Connection, needs: dict[int, list[str]], reads: dict[int, str]
) -> None:
    here, laptop = await new_storages(conn, "file:/a", "file:/b")
    ids = await new_files(conn, 2)
    await new_dataset(conn, file_ids=ids)
    for storage in (here, laptop):
        await replicas.arrive(conn, storage, ids)
    await conn.execute("UPDATE replica SET tombstone_at = now() WHERE storage_id = $1", here)
    await conn.execute("UPDATE storage SET capacity_bytes = 0, min_free_bytes = 1000")
    owned = "UPDATE storage SET attributes = $2::text::jsonb WHERE id = $1"
    await conn.execute(owned, laptop, '{"owner": "ada"}')
    assert await purging.reap(conn, here) == 0
    await conn.execute(owned, laptop, '{"cloud": "DE"}')
    assert await purging.reap(conn, here) == 2
