"""An audit finds each file that is not what the catalog says, and nothing that is merely on its way."""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import IO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodchain.broker.database import connect
from prodchain.catalog import audit, datasets, hooks, names, replicas, sites, subscriptions
from prodchain.catalog.audit import Audit, did_at
from prodchain.catalog.connection import Connection, Pool
from prodchain.catalog.errors import BadStorage
from prodchain.catalog.models import Storage
from prodchain.catalog.names import Did, path_of

from . import material

CONTENT = b"a file of a test"


@pytest.fixture(autouse=True)
def no_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "satisfied", None)


async def stored(pool: Pool, folder: Path, count: int = 4) -> list[int]:
    """That many registered files at DISK-A, which are there."""
    async with pool.acquire() as conn, conn.transaction():
        disk, _ = await material.new_storages(conn, f"file://{folder}/a", f"file://{folder}/b")
        new = [material.new_file(number, CONTENT) for number in range(1, count + 1)]
        ids = await material.files.register(conn, new)
        await material.new_dataset(conn, file_ids=ids)
        await replicas.arrive(conn, disk, ids)
    for file in new:
        path = folder / "a" / path_of(file.did)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(CONTENT)
    return ids


def at(folder: Path, number: int) -> Path:
    return folder / "a" / path_of(material.new_file(number, CONTENT).did)


def paths(found: Audit, sort: str) -> list[str]:
    return [odd.path for odd in found.files[sort]]


async def test_a_storage_that_holds_what_is_registered_is_clean(database: Pool, tmp_path: Path) -> None:
    await stored(database, tmp_path)
    found = await audit.compare(database, "DISK-A")
    assert found.clean
    assert (found.listed, found.registered) == (4, 4)


async def test_dark_lost_wrong_and_partial_files_are_told_apart(database: Pool, tmp_path: Path) -> None:
    await stored(database, tmp_path)
    at(tmp_path, 1).unlink()
    at(tmp_path, 2).write_bytes(CONTENT[:-1])
    stranger = at(tmp_path, 9)
    stranger.parent.mkdir(parents=True, exist_ok=True)
    stranger.write_bytes(b"who?")
    (tmp_path / "a" / "notes.txt").write_text("mine")
    left = at(tmp_path, 3).with_name(f"{at(tmp_path, 3).name}.part-0123456789abcdef0123456789abcdef")
    left.write_bytes(b"half")

    found = await audit.compare(database, "DISK-A")

    assert found.counts == {"dark": 2, "lost": 1, "wrong_size": 1, "partial": 1}
    assert paths(found, "lost") == [str(at(tmp_path, 1).relative_to(tmp_path / "a"))]
    assert paths(found, "dark") == sorted(["notes.txt", str(stranger.relative_to(tmp_path / "a"))])
    (wrong,) = found.files["wrong_size"]
    assert (wrong.there, wrong.known) == (len(CONTENT) - 1, len(CONTENT))
    assert (found.listed, found.registered) == (6, 4)


async def test_what_is_on_its_way_there_or_away_is_not_dark(database: Pool, tmp_path: Path) -> None:
    await stored(database, tmp_path)
    async with database.acquire() as conn, conn.transaction():
        other = await sites.storage(conn, "DISK-B")
        dataset = await datasets.get(conn, names.parse_did(material.EVNT))
        await subscriptions.subscribe(conn, dataset.id or 0, other.id or 0)
        gone = Did("mc26_13p6TeV", "gone.root.1")
        await conn.execute(
            "INSERT INTO garbage (storage_id, scope, name) VALUES ($1, $2, $3)", other.id, gone.scope, gone.name
        )
    for path in (path_of(material.new_file(1).did), path_of(gone)):
        (tmp_path / "b" / path).parent.mkdir(parents=True)
        (tmp_path / "b" / path).write_bytes(CONTENT)
    assert (await audit.compare(database, "DISK-B")).clean


async def test_lost_copies_are_made_again_from_good_ones_when_declared(database: Pool, tmp_path: Path) -> None:
    ids = await stored(database, tmp_path)
    async with database.acquire() as conn, conn.transaction():
        other = await sites.storage(conn, "DISK-B")
        await replicas.arrive(conn, other.id or 0, ids)
    at(tmp_path, 1).unlink()
    at(tmp_path, 2).write_bytes(b"short")

    found = await audit.compare(database, "DISK-A", actor="ops", declare=True)

    assert found.declared_bad == 2
    async with database.acquire() as conn:
        queued = await conn.fetch("SELECT file_id FROM transfer WHERE state = 'queued' ORDER BY file_id")
        here = await conn.fetchval(
            "SELECT count(*) FROM replica r JOIN storage s ON s.id = r.storage_id WHERE s.name = 'DISK-A'"
        )
    assert [row["file_id"] for row in queued] == ids[:2]
    assert here == 2


async def test_a_storage_that_lists_nothing_is_not_declared_lost(database: Pool, tmp_path: Path) -> None:
    await stored(database, tmp_path)
    (tmp_path / "a").rename(tmp_path / "away")
    assert (await audit.compare(database, "DISK-A")).counts["lost"] == 4
    with pytest.raises(BadStorage, match="lists nothing, where 4 copies are registered"):
        await audit.compare(database, "DISK-A", actor="ops", declare=True)
    assert await database.fetchval("SELECT count(*) FROM replica") == 4


async def test_dark_files_of_ours_are_given_up_and_others_are_left_to_their_owner(
    database: Pool, tmp_path: Path
) -> None:
    await stored(database, tmp_path)
    stranger = at(tmp_path, 9)
    stranger.parent.mkdir(parents=True, exist_ok=True)
    stranger.write_bytes(b"who?")
    (tmp_path / "a" / "notes.txt").write_text("mine")

    found = await audit.compare(database, "DISK-A", actor="ops", give_up=True)

    assert found.given_up == 1
    async with database.acquire() as conn:
        row = await conn.fetchrow("SELECT name, not_before > now() + interval '23 hours' AS waits FROM garbage")
    assert row is not None
    assert (row["name"], row["waits"]) == (stranger.name, True)


async def test_audits_leave_no_tables_behind(database: Pool, tmp_path: Path) -> None:
    await stored(database, tmp_path)
    for _ in range(3):
        await audit.compare(database, "DISK-A")
    async with database.acquire() as conn:
        assert await conn.fetchval("SELECT count(*) FROM pg_class WHERE relname IN ('listing', 'odd')") == 0


@given(
    scope=st.from_regex(r"(user|group|users|mc\d|data)(\.[a-z0-9]{1,5}){0,2}", fullmatch=True),
    name=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}", fullmatch=True),
)
def test_a_path_leads_back_to_its_file(scope: str, name: str) -> None:
    did = Did(scope, name)
    assert did_at(path_of(did)) in (did, None)
    if "." not in scope or scope.startswith(("user", "group")):
        assert did_at(path_of(did)) == did


async def test_the_database_makes_the_same_paths_as_the_names(conn: Connection, tmp_path: Path) -> None:
    dids = [Did("mc26_13p6TeV", "a.root.1"), Did("user.ada", "x_y.root"), Did("group.phys-higgs", "z")]
    made = audit.COMPARE.split("placed AS (")[1].split("AS path")[0].split("SELECT known.*,")[1]
    for did in dids:
        path = await conn.fetchval(
            f"SELECT {made} FROM (SELECT $1::text AS scope, $2::text AS name, md5($1 || ':' || $2) AS hash) f", *did
        )
        assert path == path_of(did)


async def test_what_came_or_went_while_the_listing_was_compared_is_not_declared_bad(
    database: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await stored(database, tmp_path, 5)
    for number in range(1, 5):
        at(tmp_path, number).unlink()
    declare = audit._declare

    async def meanwhile(conn: Connection, storage: Storage, began: datetime, actor: str) -> int:
        at(tmp_path, 1).write_bytes(CONTENT)  # it was moved back by an operator
        async with database.acquire() as other, other.transaction():
            await replicas.remove(other, storage.id or 0, ids[1:3])
            await replicas.arrive(other, storage.id or 0, ids[1:2])  # another copy came after the first was deleted
        return await declare(conn, storage, began, actor)

    monkeypatch.setattr(audit, "_declare", meanwhile)
    found = await audit.compare(database, "DISK-A", actor="ops", declare=True)
    assert (found.counts["lost"], found.declared_bad) == (4, 1)
    rows = await database.fetch("SELECT file_id FROM bad_replica")
    assert [row["file_id"] for row in rows] == ids[3:4]


async def test_the_pool_serves_others_while_a_storage_lists_what_it_has(
    database: Pool, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stored(database, tmp_path)
    loop, spool, served = asyncio.get_running_loop(), audit._spool, []

    def slow(url: str, listing: IO[str]) -> None:
        served.append(asyncio.run_coroutine_threadsafe(pool.fetchval("SELECT 1"), loop).result(30))
        spool(url, listing)

    monkeypatch.setattr(audit, "_spool", slow)
    pool = await connect(database_url, size=1)
    assert (await audit.compare(pool, "DISK-A")).clean
    await pool.close()
    assert served == [1]
