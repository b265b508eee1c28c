"""Files on tape come to disk because a transfer wants them, and become replicas there like any other."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prodchain.catalog import backends, files, hooks, replicas, sites, stager, subscriptions, withdrawals
from prodchain.catalog.connection import Pool
from prodchain.catalog.models import StorageKind
from prodchain.catalog.mover import Mover
from prodchain.catalog.names import path_of
from prodchain.catalog.sites import SiteSpec, StorageSpec
from prodchain.catalog.stager import Stager

from ..storages.tape import Library, tape_library
from . import material


@pytest.fixture
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Library]:
    monkeypatch.setattr(hooks, "satisfied", None)
    stager._tape.cache_clear()
    with tape_library(tmp_path / "tape") as library:
        yield library
    backends.forget()


async def wished(pool: Pool, library: Library, folder: Path, count: int = 2, **storage: Any) -> list[str]:
    """A closed dataset on tape that somebody wants at DISK; the paths of its files."""
    new = [material.new_file(number, f"file {number}".encode()) for number in range(1, count + 1)]
    for number, file in enumerate(new, 1):
        library.put(f"/{path_of(file.did)}", f"file {number}".encode())
    async with pool.acquire() as conn, conn.transaction():
        await sites.upsert(
            conn,
            [SiteSpec("S")],
            [
                StorageSpec("DISK", "S", f"file://{folder}/disk"),
                StorageSpec("TAPE", "S", library.url, StorageKind.TAPE, **storage),
            ],
        )
        ids = await files.register(conn, new)
        tape = await sites.storage(conn, "TAPE")
        disk = await sites.storage(conn, "DISK")
        dataset = await material.new_dataset(conn, file_ids=ids)
        await replicas.arrive(conn, tape.id or 0, ids)
        await subscriptions.subscribe(conn, dataset, disk.id or 0)
    return [f"/{path_of(file.did)}" for file in new]


async def turn(pool: Pool, mover: Mover, steps: int = 3) -> None:
    """Everybody does what there is to do; nobody waits."""
    for _ in range(steps):
        await mover.step()
        await Stager(pool, poll_s=0).step()
        await pool.execute("UPDATE transfer SET not_before = now() WHERE phase = 'waiting'")
    while await mover.step():
        pass


async def at_disk(pool: Pool) -> int:
    here: int = await pool.fetchval(
        "SELECT count(*) FROM replica r JOIN storage s ON s.id = r.storage_id WHERE s.name = 'DISK'"
    )
    return here


@pytest.mark.parametrize("states", [False, True])
async def test_a_wish_for_files_on_tape_is_fulfilled(
    database: Pool, library: Library, tmp_path: Path, states: bool
) -> None:
    library.states = states
    paths = await wished(database, library, tmp_path)
    mover = Mover(database, "m")
    await turn(database, mover)
    assert await at_disk(database) == 2
    (stored,) = (tmp_path / "disk").rglob(Path(paths[0]).name)
    assert stored.read_bytes() == b"file 1"
    await turn(database, mover)
    assert library.requests == {}, "the request is released and forgotten"
    assert await database.fetchval("SELECT count(*) FROM stage_request WHERE done_at IS NULL") == 0
    assert sum("POST" in call and "/stage" in call for call in library.calls) == 1, "one request for both"
    await mover.close()


async def test_the_tape_is_asked_once_and_waited_for(database: Pool, library: Library, tmp_path: Path) -> None:
    library.recall_s = 3600
    await wished(database, library, tmp_path)
    mover = Mover(database, "m")
    await turn(database, mover, 5)
    assert len(library.requests) == 1
    assert await at_disk(database) == 0
    row = await database.fetchrow("SELECT phase, error, attempts FROM transfer LIMIT 1")
    assert row is not None
    assert (row["phase"], row["error"], row["attempts"]) == ("stage", None, 0)
    await mover.close()


async def test_an_api_that_was_declared_is_taken_and_what_is_on_disk_is_kept_there(
    database: Pool, library: Library, tmp_path: Path
) -> None:
    paths = await wished(database, library, tmp_path, tape_api=library.api)
    _, answer = library.stage({"files": [{"path": path} for path in paths]})
    mover, staging = Mover(database, "m"), Stager(database, poll_s=0)
    await mover.step()
    await staging.step()
    library.requests.pop(answer["requestId"])  # whoever wanted them before lets them go
    await turn(database, mover)
    assert await at_disk(database) == 2
    assert not any("well-known" in call for call in library.calls)
    await mover.close()


async def test_a_file_that_left_the_disk_before_it_was_copied_is_asked_for_again(
    database: Pool, library: Library, tmp_path: Path
) -> None:
    await wished(database, library, tmp_path)
    mover, staging = Mover(database, "m"), Stager(database, poll_s=0)
    await mover.step()
    await staging.step()
    await staging.step()
    assert await database.fetchval("SELECT count(*) FROM transfer WHERE staged_at IS NOT NULL") == 2
    library.requests.clear()
    await turn(database, mover, 6)
    assert await at_disk(database) == 2
    await mover.close()


async def test_a_file_that_the_tape_cannot_read_says_so_and_the_other_arrives(
    database: Pool, library: Library, tmp_path: Path
) -> None:
    torn, _ = await wished(database, library, tmp_path)
    library.failing[torn] = "the tape is torn"
    mover = Mover(database, "m")
    await turn(database, mover)
    assert await at_disk(database) == 1
    assert "the tape is torn" in await database.fetchval("SELECT error FROM transfer WHERE state = 'queued'")
    library.failing.clear()
    await turn(database, mover, 4)
    assert await at_disk(database) == 2, "it heals by itself when the tape does"
    await mover.close()


async def test_what_the_tape_has_lost_is_reported_lost(database: Pool, library: Library, tmp_path: Path) -> None:
    lost, _ = await wished(database, library, tmp_path)
    library.gone.add(lost)
    mover = Mover(database, "m")
    await turn(database, mover)
    assert await at_disk(database) == 1
    name = await database.fetchval("SELECT name FROM file WHERE lost_at IS NOT NULL")
    assert lost.endswith(name)
    await mover.close()


async def test_a_tape_that_does_not_answer_is_asked_again(database: Pool, library: Library, tmp_path: Path) -> None:
    library.down = True
    await wished(database, library, tmp_path)
    mover = Mover(database, "m")
    await turn(database, mover)
    assert "the library is closed" in await database.fetchval("SELECT error FROM transfer LIMIT 1")
    library.down = False
    await turn(database, mover, 5)
    assert await at_disk(database) == 2
    await mover.close()


async def test_a_request_that_the_tape_forgot_is_made_again(database: Pool, library: Library, tmp_path: Path) -> None:
    library.recall_s = 3600
    await wished(database, library, tmp_path)
    mover = Mover(database, "m")
    await turn(database, mover)
    library.requests.clear()
    library.recall_s = 0
    await turn(database, mover, 5)
    assert await at_disk(database) == 2
    await mover.close()


async def test_a_stager_that_died_before_it_asked_loses_nothing(
    database: Pool, library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await wished(database, library, tmp_path)
    mover = Mover(database, "m")
    await mover.step()

    class Died(BaseException):
        pass

    async def dies(_: object) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(stager._Asking, "run", dies)
        with pytest.raises(Died):
            await Stager(database).step()
    monkeypatch.setattr(stager, "ASKING_S", 0)
    await turn(database, mover, 5)
    assert await at_disk(database) == 2
    await mover.close()


async def test_what_is_no_longer_wanted_is_cancelled_at_the_tape(
    database: Pool, library: Library, tmp_path: Path
) -> None:
    library.recall_s = 3600
    await wished(database, library, tmp_path)
    mover = Mover(database, "m")
    await turn(database, mover)
    async with database.acquire() as conn, conn.transaction():
        dataset_id = await conn.fetchval("SELECT id FROM dataset WHERE name = $1", material.EVNT)
        disk = await sites.storage(conn, "DISK")
        await withdrawals.cancel(conn, dataset_id, disk.id or 0, "ada")
    await turn(database, mover)
    assert library.requests == {}
    await mover.close()
