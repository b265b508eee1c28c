"""What is peculiar to root://: the traps of its libraries, dead and slow servers, full disks."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest
from zlib_ng import zlib_ng

from prodchain.catalog.backends import base, place
from prodchain.catalog.errors import BadStorage, FileMissing, StorageFull, StorageTimeout

from ...storages.farm import Farm, _table
from ...storages.servers import open_folder
from ...storages.xrootd import xrootd
from .conftest import Storage, storage_at

CONTENT = random.Random(5).randbytes(24 * 1024 * 1024)


@pytest.fixture
def storage(storages: Farm, tmp_path: Path) -> Storage:
    return storage_at(storages, "root", tmp_path)


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[Storage, int]]:
    """A server that the test may kill, and its process."""
    with xrootd() as server:
        there = place(f"{server.root.url}/{uuid4().hex}")
        yield Storage(there.backend, there.url, there.path, tmp_path), server.root.process.pid


def nobody(_: int) -> None:
    pass


def test_more_than_256_files_come_over_one_connection(storage: Storage) -> None:
    """fsspec's file system closes handles that are in use, and leaves truncated files."""
    contents = {f"file-{number}": os.urandom(1000 + number) for number in range(300)}

    def bring(name: str) -> bytes:
        storage.backend.get(storage.path(name), storage.here / name, nobody)
        return (storage.here / name).read_bytes()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: storage.backend.write(storage.path(name), [contents[name]], 2000), contents))
        assert dict(zip(contents, threads.map(bring, contents), strict=True)) == contents


def test_a_missing_file_is_missing_and_no_plain_error(storage: Storage) -> None:
    path = storage.path("nothing")
    for ask in (storage.backend.digest, lambda path: list(storage.backend.read(path))):
        with pytest.raises(FileMissing) as caught:
            ask(path)
        assert caught.value.object.endswith("/nothing")


def test_a_name_that_is_taken_is_not_written_over(storage: Storage) -> None:
    path = storage.path("file")
    storage.backend.write(path, [b"first"], 5)
    with pytest.raises(BadStorage, match="exists"):
        storage.backend.put(storage.source(b"other"), path, nobody)
    assert storage.content(path) == b"first"


def test_a_folder_is_no_file(storage: Storage) -> None:
    storage.backend.write(storage.path("folder/file"), [b"x"], 1)
    assert storage.backend.size(storage.path("folder")) is None


def test_the_digest_is_what_the_server_reads_in_the_file(storage: Storage, storages: Farm) -> None:
    path = storage.path("file")
    storage.backend.put(storage.source(CONTENT), path, nobody)
    [file] = storages.server("root").folder.rglob(f"{storage.folder.rpartition('/')[2]}/file")
    with file.open("r+b") as damaged:
        damaged.seek(100)
        damaged.write(bytes([CONTENT[100] ^ 1]))
    assert storage.backend.digest(path) != f"{zlib_ng.adler32(CONTENT):08x}"


def test_xrdcp_reads_what_we_write(storage: Storage) -> None:
    storage.backend.put(storage.source(CONTENT), storage.path("file"), nobody)
    url, _ = storage.backend.opening(storage.path("file"))
    subprocess.run(["xrdcp", "--nopbar", url, str(storage.here / "back")], check=True, capture_output=True)
    assert (storage.here / "back").read_bytes() == CONTENT


def test_a_server_that_dies_in_an_upload_ends_it_in_time(own: tuple[Storage, int]) -> None:
    storage, pid = own

    def kill(_: int) -> None:
        os.kill(pid, signal.SIGKILL)

    started = time.monotonic()
    with pytest.raises(StorageTimeout):
        storage.backend.put(storage.source(CONTENT), storage.path("file"), kill)
    assert time.monotonic() - started < base.TIMEOUT_S


def test_a_server_that_dies_in_a_download_leaves_nothing_here(own: tuple[Storage, int]) -> None:
    storage, pid = own
    storage.backend.put(storage.source(CONTENT), storage.path("file"), nobody)

    def kill(_: int) -> None:
        os.kill(pid, signal.SIGKILL)

    with pytest.raises(StorageTimeout):
        storage.backend.get(storage.path("file"), storage.here / "back", kill)
    assert not (storage.here / "back").exists()


@pytest.mark.usefixtures("impatient")
def test_a_server_that_falls_silent_is_given_up(own: tuple[Storage, int], impatient: None) -> None:
    storage, pid = own
    storage.backend.put(storage.source(CONTENT), storage.path("file"), nobody)

    def stop(_: int) -> None:
        os.kill(pid, signal.SIGSTOP)

    with pytest.raises(StorageTimeout):
        storage.backend.get(storage.path("file"), storage.here / "back", stop)
    with pytest.raises(StorageTimeout):
        storage.backend.size(storage.path("file"))
    os.kill(pid, signal.SIGCONT)
    assert soon(lambda: storage.backend.size(storage.path("file"))) == len(CONTENT)


def soon(ask: Callable[[], int | None]) -> int | None:
    """What it answers when it is awake; on a busy machine that takes longer than somebody impatient waits."""
    for _ in range(20):
        with suppress(StorageTimeout):
            return ask()
    return ask()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "TIMEOUT_S", 2.0)


@contextmanager
def small_disk(bytes_: int) -> Iterator[Path]:
    """A file system in memory of a few bytes."""
    with open_folder() as at:
        if subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={bytes_}", "tmpfs", at], check=False, capture_output=True
        ).returncode:
            pytest.skip("only root may mount a small file system")
        try:
            at.chmod(0o755)
            yield at
        finally:
            subprocess.run(["umount", "--lazy", at], check=True)


@pytest.mark.parametrize("door", ["root", "https"])
def test_a_full_disk_says_so_and_keeps_nothing(tmp_path: Path, door: str) -> None:
    with small_disk(8 * 1024 * 1024) as disk, xrootd(disk) as server, pytest.MonkeyPatch.context() as patch:
        secrets = tmp_path / "storages.toml"
        secrets.write_text(_table(server.https))
        patch.setenv("PRODCHAIN_STORAGE_CREDENTIALS", str(secrets))
        there = place(f"{getattr(server, door).url}/f")
        storage = Storage(there.backend, there.url, there.path, tmp_path)
        with pytest.raises(StorageFull if door == "root" else StorageTimeout) as caught:  # over https it says nothing
            storage.backend.put(storage.source(CONTENT), storage.path("file"), nobody)
        assert "space" in caught.value.hint
        assert storage.names() == set()
        storage.backend.put(storage.source(b"small"), storage.path("file"), nobody)


def test_free_space_is_that_of_the_disk(storage: Storage, storages: Farm) -> None:
    disk = os.statvfs(storages.server("root").folder)
    free = storage.backend.free(storage.folder)
    assert free is not None
    assert abs(free - disk.f_bavail * disk.f_frsize) < disk.f_blocks * disk.f_frsize / 10
