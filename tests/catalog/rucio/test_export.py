"""Taking an existing catalog over into a real Rucio server."""

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from uuid import UUID

import pytest

from prodchain.catalog import containers, datasets, files, replicas, sites
from prodchain.catalog.connection import Connection, Pool
from prodchain.catalog.errors import ExternalUnreachable
from prodchain.catalog.files import NewFile
from prodchain.catalog.models import DatasetKind, Storage
from prodchain.catalog.names import Did
from prodchain.catalog.rucio import reading
from prodchain.catalog.rucio.catalog import RucioCatalog
from prodchain.catalog.rucio.export import Export, Report, everything

from .test_conformance import dataset, file


async def put(
    conn: Connection, did: Did, count: int, *storages: str, kind: DatasetKind = DatasetKind.PRODUCTION
) -> tuple[int, list[NewFile]]:
    """A dataset of ours with files at the storages."""
    made = await datasets.create(conn, did, kind, "ada")
    new = [file(did, number) for number in range(count)]
    ids = await files.register(conn, new)
    for name in storages:
        await replicas.arrive(conn, (await sites.storage(conn, name)).id or 0, ids)
    if ids:
        await datasets.add_files(conn, made.id or 0, ids)
    return made.id or 0, new


async def export(pool: Pool, rucio: RucioCatalog, *ids: int, dry_run: bool = False) -> Report:
    work = Export(pool, rucio, dry_run=dry_run)
    await work.prepare()
    await work.run(ids)
    return work.report


async def test_a_dataset_is_taken_over_with_all_that_rucio_can_know(
    database: Pool, rucio: RucioCatalog, places: list[Storage], tag: str
) -> None:
    did = dataset(tag)
    async with database.acquire() as conn, conn.transaction():
        number, new = await put(conn, did, 3, "DISK-A", "DISK-C")
        ends = datetime.now(UTC) + timedelta(days=30)
        await conn.execute("UPDATE dataset SET expires_at = $2 WHERE id = $1", number, ends)
        await datasets.close(conn, number)
    report = await export(database, rucio, number)
    assert (report.datasets, report.written.files, report.written.replicas, report.closed) == (1, 3, 6, 1)
    assert report.differences == []
    assert await rucio.completeness(did) == {"DISK-A": (3, 3), "DISK-C": (3, 3)}
    known = (await rucio.known([did]))[did]
    assert not known["is_open"]
    assert (known["project"], known["run_number"], known["datatype"]) == ("mc26", 700001, "AOD")
    assert (known["stream_name"], known["prod_step"], known["version"]) == (tag, "recon", "v1")
    assert (known["events"], known["length"]) == (30, 3)
    assert abs(parsedate_to_datetime(known["expired_at"]) - ends) < timedelta(minutes=1)
    meta = await rucio.client.call("GET", "dids", *did, "meta", about=tag, query={"plugin": "JSON"})
    assert meta.json() == {"kind": "production", "owner": "ada"}
    one = (await rucio.known([new[0].did]))[new[0].did]
    assert (one["bytes"], one["adler32"], one["events"]) == (new[0].bytes, new[0].adler32, 10)
    assert UUID(one["guid"]) == new[0].guid


async def test_a_second_run_changes_nothing(
    database: Pool, rucio: RucioCatalog, places: list[Storage], tag: str
) -> None:
    async with database.acquire() as conn, conn.transaction():
        open_one, _ = await put(conn, dataset(tag), 2, "DISK-A")
        closed_one, _ = await put(conn, dataset(tag, "RDO"), 2, "DISK-A", "DISK-B")
        await datasets.close(conn, closed_one)
    await export(database, rucio, open_one, closed_one)
    again = await export(database, rucio, open_one, closed_one)
    assert again == Report(seen=2)


async def test_a_run_that_was_killed_is_run_again(
    database: Pool, rucio: RucioCatalog, places: list[Storage], tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    did = dataset(tag)
    async with database.acquire() as conn, conn.transaction():
        number, _ = await put(conn, did, 45, "DISK-A", "DISK-B")
        await datasets.close(conn, number)
    monkeypatch.setattr(reading, "SLICE", 20)
    attach, calls = rucio.attach, 0

    async def dies(*attachments: object) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise ExternalUnreachable("killed", object="rucio", hint="")
        await attach(*attachments)  # type: ignore[arg-type]

    monkeypatch.setattr(rucio, "attach", dies)
    with pytest.raises(ExternalUnreachable):
        await export(database, rucio, number)
    assert await rucio.completeness(did) == {"DISK-A": (20, 20), "DISK-B": (20, 20)}
    monkeypatch.undo()
    report = await export(database, rucio, number)
    assert (report.datasets, report.written.files, report.closed) == (0, 25, 1)
    assert await rucio.completeness(did) == {"DISK-A": (45, 45), "DISK-B": (45, 45)}


async def test_copies_that_came_and_went_are_told(
    database: Pool, rucio: RucioCatalog, places: list[Storage], tag: str
) -> None:
    did = dataset(tag)
    async with database.acquire() as conn, conn.transaction():
        number, new = await put(conn, did, 3, "DISK-A", "DISK-B")
    await export(database, rucio, number)
    storages = {storage.name: storage.id or 0 for storage in places}
    async with database.acquire() as conn, conn.transaction():
        ids = await files.register(conn, new)
        await replicas.remove(conn, storages["DISK-A"], ids[:1])
        await replicas.arrive(conn, storages["DISK-C"], ids[:2])
    await export(database, rucio, number)
    assert await rucio.completeness(did) == {"DISK-A": (2, 3), "DISK-B": (3, 3), "DISK-C": (2, 3)}
    async with database.acquire() as conn, conn.transaction():
        await replicas.remove(conn, storages["DISK-A"], ids[1:2])
        await replicas.arrive(conn, storages["DISK-A"], ids[:1])  # as many as before, but others
    await export(database, rucio, number)
    at_a = {each.did for each in await rucio.files(did) if "DISK-A" in each.urls}
    assert at_a == {new[0].did, new[2].did}


async def test_other_content_under_a_name_is_reported_and_left_alone(
    database: Pool, rucio: RucioCatalog, rucio_places: list[Storage], tag: str
) -> None:
    did, other = dataset(tag), dataset(tag, "RDO")
    await rucio.register("DISK-A", [file(did, 1, b"what Rucio has")])
    async with database.acquire() as conn, conn.transaction():
        number, new = await put(conn, did, 3, "DISK-A")
        good, _ = await put(conn, other, 2, "DISK-A")
        await datasets.close(conn, number)
    planned = await export(database, rucio, number, good, dry_run=True)
    report = await export(database, rucio, number, good)
    for each in (planned, report):
        assert [difference.object for difference in each.differences] == [str(did)]
        assert str(new[1].did) in each.differences[0].words
    assert await rucio.completeness(did) == {"DISK-A": (2, 2)}
    assert await rucio.completeness(other) == {"DISK-A": (2, 2)}
    assert (await rucio.get(did)).open


async def test_a_dry_run_counts_and_changes_nothing(
    database: Pool, rucio: RucioCatalog, places: list[Storage], tag: str
) -> None:
    did = dataset(tag, scope=f"s{tag}")
    async with database.acquire() as conn, conn.transaction():
        number, _ = await put(conn, did, 3, "DISK-A", "DISK-B")
        await datasets.close(conn, number)
    planned = await export(database, rucio, number, dry_run=True)
    assert await rucio.find(f"*{tag}*") == []
    assert await export(database, rucio, number) == planned


async def test_containers_hold_in_rucio_what_they_hold_here(
    database: Pool, rucio: RucioCatalog, places: list[Storage], tag: str
) -> None:
    box, outer = dataset(tag, "BOX"), dataset(tag, "OUTER")
    async with database.acquire() as conn, conn.transaction():
        first, _ = await put(conn, dataset(tag), 1, "DISK-A")
        second, _ = await put(conn, dataset(tag, "RDO"), 1, "DISK-A")
        box_id = (await datasets.create(conn, box, DatasetKind.CONTAINER, "ada")).id or 0
        outer_id = (await datasets.create(conn, outer, DatasetKind.CONTAINER, "ada")).id or 0
        await containers.add(conn, box_id, [first, second])
        await containers.add(conn, outer_id, [box_id])
    report = await export(database, rucio, outer_id, box_id)  # their datasets are made with them
    assert (report.containers, report.datasets) == (2, 2)
    async with database.acquire() as conn, conn.transaction():
        await containers.remove(conn, box_id, [second])
        await datasets.close(conn, box_id)
    await export(database, rucio, box_id)
    assert [(line["scope"], line["name"]) for line in await rucio.content(box)] == [dataset(tag)]
    assert not (await rucio.get(box)).open
    assert len(await rucio.content(outer)) == 1


async def test_each_version_has_a_name_in_rucio_that_keeps_its_meaning(
    database: Pool, rucio: RucioCatalog, places: list[Storage], tag: str
) -> None:
    did = dataset(tag)
    async with database.acquire() as conn, conn.transaction():
        first, _ = await put(conn, did, 1, "DISK-A")
        await datasets.close(conn, first)
        second = (await datasets.new_version(conn, did, "ada")).id or 0
        more = file(did, 7)
        ids = await files.register(conn, [more])
        await replicas.arrive(conn, places[0].id or 0, ids)
        await datasets.add_files(conn, second, ids)
    heard = []
    work = Export(database, rucio)
    await work.prepare()
    await everything(database, work, f"*{tag}*", False, lambda report: heard.append(report.seen))
    second_did = Did(did.scope, f"{did.name}.version2")
    assert heard == [2]
    assert work.report.differences == []
    assert await rucio.find(f"*{tag}*") == [did, second_did]
    assert await rucio.completeness(did) == {"DISK-A": (1, 1)}
    assert await rucio.completeness(second_did) == {"DISK-A": (2, 2)}


async def test_a_name_that_a_later_version_needs_is_reported(
    database: Pool, rucio: RucioCatalog, places: list[Storage], tag: str
) -> None:
    did = dataset(tag)
    async with database.acquire() as conn, conn.transaction():
        first, _ = await put(conn, did, 1, "DISK-A")
        await datasets.close(conn, first)
        second = (await datasets.new_version(conn, did, "ada")).id or 0
        await put(conn, Did(did.scope, f"{did.name}.version2"), 0)
    report = await export(database, rucio, second)
    assert [difference.object for difference in report.differences] == [f"{did}@2"]


async def test_files_without_a_copy_keep_a_closed_dataset_open_in_rucio(
    database: Pool, rucio: RucioCatalog, places: list[Storage], tag: str
) -> None:
    did = dataset(tag)
    async with database.acquire() as conn, conn.transaction():
        number, new = await put(conn, did, 2)
        await replicas.arrive(conn, places[0].id or 0, (await files.register(conn, new))[:1])
        await datasets.close(conn, number)
    report = await export(database, rucio, number)
    assert "1 files without any copy" in report.differences[0].words
    assert (await rucio.get(did)).open
    async with database.acquire() as conn, conn.transaction():
        await replicas.arrive(conn, places[0].id or 0, await files.register(conn, new))
    assert (await export(database, rucio, number)).closed == 1


async def test_what_rucio_has_more_is_reported(
    database: Pool, rucio: RucioCatalog, places: list[Storage], tag: str
) -> None:
    did, foreign = dataset(tag), dataset(tag, "RDO")
    async with database.acquire() as conn, conn.transaction():
        number, _ = await put(conn, did, 1, "DISK-A")
        file_like, _ = await put(conn, foreign, 1, "DISK-A")
    await export(database, rucio, number)
    await rucio.register("DISK-A", [file(did, 9)])
    await rucio.add(did, [file(did, 9).did])
    await rucio.create(foreign, container=True)
    report = await export(database, rucio, number, file_like)
    assert sorted(difference.words for difference in report.differences) == [
        "has 1 files in Rucio that it has not here",
        "is a container in Rucio",
    ]


async def test_a_deleted_dataset_ends_in_rucio_too_and_comes_back_with_undelete(
    database: Pool, rucio: RucioCatalog, places: list[Storage], tag: str
) -> None:
    did = dataset(tag)
    async with database.acquire() as conn, conn.transaction():
        number, _ = await put(conn, did, 1, "DISK-A")
    await export(database, rucio, number)
    purge = datetime.now(UTC) + timedelta(days=7)
    await database.execute("UPDATE dataset SET deleted_at = now(), purge_at = $2 WHERE id = $1", number, purge)
    await export(database, rucio, number)
    known = (await rucio.known([did]))[did]
    assert abs(parsedate_to_datetime(known["expired_at"]) - purge) < timedelta(minutes=1)
    await database.execute("UPDATE dataset SET deleted_at = NULL, purge_at = NULL WHERE id = $1", number)
    await export(database, rucio, number)
    assert (await rucio.known([did]))[did]["expired_at"] is None


async def test_what_the_system_makes_for_itself_is_left_out_unless_asked_for(
    database: Pool, rucio: RucioCatalog, places: list[Storage], tag: str
) -> None:
    async with database.acquire() as conn, conn.transaction():
        await put(conn, Did("mc26", f"mc26.{tag}_dis7"), 1, "DISK-A", kind=DatasetKind.DISPATCH)
        await put(conn, Did("mc26", f"mc26.{tag}"), 1, "DISK-A", kind=DatasetKind.USER)
    for bookkeeping, count in ((False, 1), (True, 2)):
        work = Export(database, rucio, dry_run=True)
        await work.prepare()
        await everything(database, work, f"*{tag}*", bookkeeping, lambda _: None)
        assert work.report.datasets == count
