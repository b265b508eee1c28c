"""What is in a dataset, and where copies are."""

from prodchain.catalog import files, lookup, replicas
from prodchain.catalog.connection import Connection

from .material import new_dataset, new_file, new_files, new_storages


async def test_files_are_listed_with_the_urls_of_their_copies(conn: Connection) -> None:
    here, there = await new_storages(conn, "file:/a", "memory://b/")
    ids = await new_files(conn, 3)
    dataset = await new_dataset(conn, file_ids=ids)
    await replicas.arrive(conn, here, ids[:2])
    await replicas.arrive(conn, there, ids[:1])
    first, second = await lookup.files(conn, dataset, limit=2)
    (third,) = await lookup.files(conn, dataset, after=second.id)
    path = "mc26_13p6TeV/" + first.replicas[0].url.partition("mc26_13p6TeV/")[2]
    assert [(r.storage, r.url) for r in first.replicas] == [
        ("DISK-A", f"file:/a/{path}"),
        ("DISK-B", f"memory://b/{path}"),
    ]
    assert first.guid == new_file(1).guid
    assert (third.bytes, third.events, third.replicas) == (3, 10, [])


async def test_a_subscription_without_files_is_no_copy(conn: Connection) -> None:
    (here,) = await new_storages(conn, "file:/a")
    dataset = await new_dataset(conn, file_ids=await files.register(conn, [new_file(1)]))
    await conn.execute("INSERT INTO dataset_replica (dataset_id, storage_id, files, bytes) VALUES ($1, $2, 0, 0)",
                       dataset, here)  # fmt: skip
    assert await lookup.replicas(conn, dataset) == []


async def test_copies_of_whole_datasets_and_of_parts_are_listed_alike(conn: Connection) -> None:
    whole, part, nothing = await new_storages(conn, "file:/a", "file:/b", "file:/c")
    ids = await new_files(conn, 3)
    dataset = await new_dataset(conn, file_ids=ids)
    assert [file.replicas for file in await lookup.files(conn, dataset)] == [[], [], []]
    await replicas.arrive(conn, whole, ids)
    await replicas.arrive(conn, part, ids[1:2])
    await conn.execute("INSERT INTO dataset_replica (dataset_id, storage_id, files, bytes) VALUES ($1, $2, 0, 0)",
                       dataset, nothing)  # fmt: skip
    found = [[copy.storage for copy in file.replicas] for file in await lookup.files(conn, dataset)]
    assert found == [["DISK-A"], ["DISK-A", "DISK-B"], ["DISK-A"]]
    await replicas.arrive(conn, part, ids)
    found = [[copy.storage for copy in file.replicas] for file in await lookup.files(conn, dataset)]
    assert found == [["DISK-A", "DISK-B"]] * 3
