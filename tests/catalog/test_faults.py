"""What goes wrong at storages: nothing false is recorded, nothing is left, `why` says it, and it heals by itself."""

import os
import random
import signal
import socket
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from prodchain.catalog import (
    backends,
    badreplicas,
    datasets,
    files,
    names,
    replicas,
    sites,
    storage,
    subscriptions,
    transfers,
)
from prodchain.catalog import mover as moving
from prodchain.catalog.backends import base
from prodchain.catalog.connection import Pool
from prodchain.catalog.copy import Side, attempt
from prodchain.catalog.errors import StorageTimeout
from prodchain.catalog.files import NewFile
from prodchain.catalog.mover import Mover
from prodchain.catalog.sites import SiteSpec, StorageSpec

from ..storages.farm import STARTERS, Farm, farm
from ..storages.servers import Server, open_folder
from ..storages.xrootd import xrootd
from .material import new_dataset, new_file
from .moving import drain, partial, until_complete
from .remote import Remote, Word

PROTOCOLS = ("root", "https", "webdav-wsgidav", "s3-rclone", "sftp")


@pytest.fixture(scope="module")
def storages() -> Iterator[Farm]:
    with farm() as started:
        yield started


class World:
    """Storages by name, a dataset of files of known content, and who is to have it."""

    def __init__(self, pool: Pool, **urls: str) -> None:
        self.pool = pool
        self.urls = urls
        self.ids: dict[str, int] = {}
        self.dataset = 0
        self.contents: list[bytes] = []

    async def prepare(self, contents: list[bytes], at: list[str], to: str) -> None:
        """Files whose copies are registered ``at`` storages, wished for at another one; no byte is anywhere yet."""
        self.contents = contents
        async with self.pool.acquire() as conn, conn.transaction():
            await sites.upsert(conn, [SiteSpec("S")], [StorageSpec(n, "S", url) for n, url in self.urls.items()])
            self.ids = {each.name: each.id or 0 for each in await sites.storages(conn)}
            registered = await files.register(conn, [new_file(n, c) for n, c in enumerate(contents, start=1)])
            self.dataset = await new_dataset(conn, file_ids=registered)
            await datasets.close(conn, self.dataset)
            for name in at:
                await replicas.arrive(conn, self.ids[name], registered)
            await subscriptions.subscribe(conn, self.dataset, self.ids[to])

    def url(self, at: str, number: int) -> str:
        return names.url_of(self.urls[at], new_file(number).did)

    async def set(self, name: str, **columns: Any) -> None:
        for column, value in columns.items():
            await self.pool.execute(f"UPDATE storage SET {column} = $2 WHERE name = $1", name, value)

    async def why(self, at: str) -> list[transfers.FileWait]:
        async with self.pool.acquire() as conn:
            return await transfers.why(conn, self.dataset, self.ids[at])

    async def check(self) -> None:
        """Each registered copy is what the catalog says, each file that is there is registered: 0 dark, 0 lost."""
        rows = await self.pool.fetch("""
            SELECT s.name, f.scope, f.name AS file, f.adler32 FROM replica r
            JOIN file f ON f.id = r.file_id JOIN storage s ON s.id = r.storage_id""")
        known: dict[str, set[str]] = {name: set() for name in self.urls}
        for row in rows:
            url = names.url_of(self.urls[row["name"]], names.Did(row["scope"], row["file"]))
            assert storage.read_back(url)[1] == row["adler32"], url
            known[row["name"]].add(url.rpartition("/")[2])
        for name, url in self.urls.items():
            assert {entry.path.rpartition("/")[2] for entry in storage.listing(url)} == known[name], name


def store(url: str, content: bytes) -> None:
    """Put bytes at a storage, right or wrong, as its own client would."""
    at = backends.place(url)
    at.backend.write(at.path, [content] if content else [], len(content))


def below(server: Server | str) -> str:
    """A folder of a storage that only one test uses."""
    return f"{server if isinstance(server, str) else server.url}/{uuid4().hex}"


@pytest.mark.parametrize("name", PROTOCOLS)
async def test_damaged_short_and_missing_sources_are_left_and_mended(
    database: Pool, storages: Farm, tmp_path: Path, name: str
) -> None:
    world = World(database, far=below(storages.url(name)), near=f"file:{tmp_path}/near", good=f"file:{tmp_path}/good")
    contents = [random.Random(n).randbytes(300_000) for n in range(4)]
    await world.prepare(contents, at=["far", "good"], to="near")
    for number, content in enumerate(contents, start=1):
        store(world.url("good", number), content)
    flipped = bytearray(contents[0])
    flipped[150_000] ^= 1
    store(world.url("far", 1), bytes(flipped))
    store(world.url("far", 2), contents[1][:-1])
    store(world.url("far", 4), contents[3])
    await world.set("good", readable=False)
    mover = Mover(database, "mover")
    await drain(mover)
    words = {wait.file_id: wait.words for wait in await world.why("near")}
    assert len(words) == 3
    for number, said in zip((1, 2, 3), words.values(), strict=True):
        assert new_file(number).did.name in said
    assert ["adler32" in said or "bytes" in said for said in words.values()] == [True, True, False]
    assert partial(tmp_path) == []
    await world.set("good", readable=True)
    await until_complete(database, mover)
    async with database.acquire() as conn:
        assert {(each.storage, each.state) for each in await badreplicas.find(conn)} <= {("far", "recovered")}
    await mover.close()
    assert await database.fetchval("SELECT state FROM subscription") == "done"
    await world.check()


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A file system in memory, with a way to make it bigger: ``mount -o remount``."""
    if os.geteuid() != 0:
        pytest.skip("FULL DISK NOT TESTED: only root can mount a small file system")
    with open_folder() as at:
        disk = at / "disk"
        disk.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "tmpfs", str(disk)],
            capture_output=True,
            check=False,
        )
        if mounted.returncode:
            pytest.skip(f"FULL DISK NOT TESTED: {mounted.stderr.decode()}")
        try:
            yield disk
        finally:
            subprocess.run(["umount", "-l", str(disk)], check=True)


def grow(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)


def start(name: str, where: Path | None) -> Any:
    """A server of its own, as a context manager of one door."""

    @contextmanager
    def door() -> Iterator[Server]:
        with xrootd(where) as both:
            yield both.root if name == "root" else both.https

    return door() if name in ("root", "https") else STARTERS[name](where)


def end_all(process: int) -> None:
    """Kill what a server started for its connections (sshd: a process for each)."""
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process)], capture_output=True, text=True, check=False
    )
    for child in map(int, children.stdout.split()):
        end_all(child)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def trust(server: Server, patch: pytest.MonkeyPatch, at: Path) -> None:
    """Let the mover know the credentials of a server."""
    secrets = at / f"{uuid4().hex}.toml"
    lines = [f'["{server.server}"]', *(f'{key} = "{value}"' for key, value in server.credentials.items())]
    secrets.write_text("\n".join(lines) + "\n")
    patch.setenv("PRODCHAIN_STORAGE_CREDENTIALS", str(secrets))
    backends.forget()


BIG = random.Random(1).randbytes(24_000_000)


@pytest.mark.parametrize("name", PROTOCOLS)
async def test_a_full_disk_keeps_nothing_and_fills_when_it_grows(
    database: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with small_disk(12) as disk, start(name, disk) as server:
        trust(server, monkeypatch, tmp_path)
        world = World(database, near=f"file:{tmp_path}/near", far=below(server))
        await world.prepare([BIG], at=["near"], to="far")
        store(world.url("near", 1), BIG)
        mover = Mover(database, "mover")
        await drain(mover)
        (wait,) = await world.why("far")
        assert (wait.state, wait.attempts) == ("waiting", 1)
        assert wait.error
        assert list(storage.listing(world.urls["far"])) == []
        grow(disk)
        await until_complete(database, mover)
        await mover.close()
        await world.check()


@pytest.mark.parametrize("name", PROTOCOLS)
async def test_a_server_that_dies_in_a_copy_is_said_and_the_next_try_ends_it(
    database: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(base, "TIMEOUT_S", 3.0)
    world = World(database, near=f"file:{tmp_path}/near", far="file:/nowhere")
    await world.prepare([BIG], at=["near"], to="far")
    store(world.url("near", 1), BIG)
    copy = moving.attempt
    mover = Mover(database, "mover")
    with start(name, None) as server:
        trust(server, monkeypatch, tmp_path)
        world.urls["far"] = below(server)
        await world.set("far", url=world.urls["far"])

        def dying(*arguments: Any, told: Any, **named: Any) -> Any:
            def kill(count: int) -> None:
                end_all(server.process.pid)
                server.stop()
                told(count)

            return copy(*arguments, told=kill, **named)

        monkeypatch.setattr(moving, "attempt", dying)
        await drain(mover)
        (wait,) = await world.why("far")
        assert (wait.state, wait.attempts) == ("waiting", 1)
        assert wait.error
        assert await database.fetchval("SELECT count(*) FROM replica WHERE storage_id = $1", world.ids["far"]) == 0
    monkeypatch.setattr(moving, "attempt", copy)
    with start(name, None) as server:
        trust(server, monkeypatch, tmp_path)
        world.urls["far"] = below(server)
        await world.set("far", url=world.urls["far"])
        await until_complete(database, mover)
        await mover.close()
        await world.check()


@pytest.mark.parametrize("scheme", ["http", "s3+http", "sftp"])
def test_a_storage_that_stalls_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    """A server that takes connections and never says a word."""
    monkeypatch.setattr(base, "TIMEOUT_S", 1.0)
    (tmp_path / "file").write_bytes(BIG)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/bucket/file"
        monkeypatch.setenv("PRODCHAIN_STORAGE_CREDENTIALS", str(tmp_path / "none.toml"))
        backends.forget()
        checksum = f"{zlib.adler32(BIG):08x}"
        outcome = attempt(url, f"file:{tmp_path}/got", len(BIG), checksum, first=True)
        assert isinstance(outcome.error, StorageTimeout), outcome
        assert outcome.side == Side.SOURCE
        outcome = attempt(f"file:{tmp_path}/file", url, len(BIG), checksum, first=True)
        assert isinstance(outcome.error, StorageTimeout), outcome
        assert outcome.side == Side.TARGET
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("lie", [Word.DROPS_THE_TAIL, Word.FLIPS_A_BYTE, Word.STORES_NOTHING])
async def test_a_storage_that_lies_is_not_believed(database: Pool, tmp_path: Path, lie: Word) -> None:
    with Remote.serving(tmp_path / "liar") as liar:
        world = World(database, near=f"file:{tmp_path}/near", far=liar.url_of("store"))
        contents = [random.Random(n).randbytes(10_000) for n in range(3)]
        await world.prepare(contents, at=["near"], to="far")
        for number, content in enumerate(contents, start=1):
            store(world.url("near", number), content)
        liar.lie = lie
        mover = Mover(database, "mover")
        await drain(mover)
        assert all("was stored with" in wait.words for wait in await world.why("far"))
        assert len(await world.why("far")) == 3
        assert liar.files() == []
        assert await database.fetchval("SELECT count(*) FROM bad_replica") == 0  # the sources are not to blame
        liar.lie = Word.KEEPS
        await until_complete(database, mover)
        await mover.close()
        await world.check()


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory: what is tested is the mover, not the disk."""
    with open_folder(Path("/dev/shm") if Path("/dev/shm").is_dir() else None) as at:
        yield at


async def test_ten_thousand_small_files_arrive_in_batches(database: Pool, memory: Path) -> None:
    count = 10_000
    dataset = await wish_many(database, memory, count)
    mover = Mover(database, "mover")
    await drain(mover)
    await mover.close()
    assert sum(1 for path in (memory / "b").rglob("*") if path.is_file()) == count
    assert partial(memory) == []
    async with database.acquire() as conn:
        assert await transfers.why(conn, dataset, 2) == []
        assert (await transfers.totals(conn)).queued == 0
    assert await database.fetchval("SELECT state FROM subscription") == "done"
    assert await database.fetchval("SELECT count(DISTINCT created_at) FROM replica WHERE storage_id = 2") < count / 20


async def wish_many(pool: Pool, root: Path, count: int) -> int:
    """A dataset of one-byte files at a, wished for at b."""
    checksum = f"{zlib.adler32(b'x'):08x}"
    new = [NewFile(names.Did("mc11", f"f{n:06}"), uuid4(), 1, checksum) for n in range(count)]
    async with pool.acquire() as conn, conn.transaction():
        await sites.upsert(conn, [SiteSpec("S")], [StorageSpec(n, "S", f"file:{root}/{n}") for n in "ab"])
        ids = await files.register(conn, new)
        dataset = await new_dataset(conn, file_ids=ids)
        await datasets.close(conn, dataset)
        await replicas.arrive(conn, 1, ids)
        await subscriptions.subscribe(conn, dataset, 2)
    fill([Path(names.url_of(f"{root}/a", each.did)) for each in new])
    return dataset


def fill(paths: list[Path]) -> None:
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
