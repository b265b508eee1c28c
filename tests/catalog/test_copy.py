"""Copies between storages: complete and verified, or not there."""

import os
import random
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from prodchain.catalog import copy as copying
from prodchain.catalog import storage
from prodchain.catalog.copy import copy
from prodchain.catalog.errors import BadStorage, ChecksumMismatch, FileMissing

CONTENT = random.Random(1).randbytes(3_000_001)
SIZE, SUM = len(CONTENT), f"{zlib.adler32(CONTENT):08x}"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source" / "file.root"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "target" / "ab" / "cd" / "file.root"


@pytest.fixture
def memory() -> Iterator[str]:
    """The URL of an empty storage without a local file system."""
    fs = fsspec.filesystem("memory")
    yield "memory://storage"
    fs.rm("/storage", recursive=True) if fs.exists("/storage") else None


def url(path: Path) -> str:
    return f"file:{path}"


def left_overs(target: Path) -> list[str]:
    return [path.name for path in target.parent.glob("*") if path != target] if target.parent.exists() else []


def test_a_copy_is_the_same_file_and_leaves_nothing_else(source: Path, target: Path) -> None:
    assert copy(url(source), url(target), SIZE, SUM) == SIZE
    assert target.read_bytes() == CONTENT
    assert left_overs(target) == []


def test_an_empty_file_is_copied(tmp_path: Path, target: Path) -> None:
    (tmp_path / "empty").touch()
    assert copy(url(tmp_path / "empty"), url(target), 0, "00000001") == 0
    assert target.read_bytes() == b""


def test_a_file_that_is_there_is_accepted_without_its_source(tmp_path: Path, source: Path) -> None:
    assert copy(url(tmp_path / "nowhere"), url(source), SIZE, SUM) == 0


@pytest.mark.parametrize("damaged", [CONTENT[:-1], bytes([CONTENT[0] ^ 1]) + CONTENT[1:], b""])
def test_a_wrong_file_at_the_target_is_replaced(source: Path, target: Path, memory: str, damaged: bytes) -> None:
    target.parent.mkdir(parents=True)
    target.write_bytes(damaged)
    assert copy(url(source), url(target), SIZE, SUM) == SIZE
    assert target.read_bytes() == CONTENT
    with fsspec.open(f"{memory}/file", "wb") as file:
        file.write(damaged)
    copy(url(source), f"{memory}/file", SIZE, SUM)
    assert storage.adler32(f"{memory}/file") == SUM


def test_copies_go_to_and_from_any_protocol(source: Path, target: Path, memory: str) -> None:
    there = f"{memory}/a/b/file.root"
    assert copy(url(source), there, SIZE, SUM) == SIZE
    assert (storage.size(there), storage.adler32(there)) == (SIZE, SUM)
    assert fsspec.filesystem("memory").find("/storage") == ["/storage/a/b/file.root"]
    assert copy(there, url(target), SIZE, SUM) == SIZE
    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("damaged", [CONTENT[:-1], CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]), CONTENT + b"x"])
def test_a_damaged_source_leaves_no_file(source: Path, target: Path, damaged: bytes) -> None:
    source.write_bytes(damaged)
    with pytest.raises(ChecksumMismatch) as error:
        copy(url(source), url(target), SIZE, SUM)
    assert error.value.object == url(source)
    assert not target.exists()
    assert left_overs(target) == []
    assert source.exists()


def test_a_missing_source_is_named(tmp_path: Path, target: Path, memory: str) -> None:
    for missing in (url(tmp_path / "nowhere"), f"{memory}/nowhere"):
        with pytest.raises(FileMissing) as error:
            copy(missing, url(target), SIZE, SUM)
        assert error.value.object == missing
    assert left_overs(target) == []


def test_an_unknown_protocol_is_a_bad_storage(target: Path) -> None:
    with pytest.raises(BadStorage, match="carrierpigeon"):
        copy("carrierpigeon://coop/file", url(target), SIZE, SUM)


def test_a_target_that_cannot_be_a_folder_is_a_bad_storage(source: Path) -> None:
    with pytest.raises(BadStorage) as error:
        copy(url(source), f"{url(source)}/below", SIZE, SUM)
    assert "source/file.root" in str(error.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_forbidden_target_says_so(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.parent.chmod(0o500)
    with pytest.raises(BadStorage, match="not allowed to write"):
        copy(url(source), url(target), SIZE, SUM)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    if os.geteuid() != 0:
        pytest.skip("FULL DISK NOT TESTED: only root can mount a small file system")
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"FULL DISK NOT TESTED: {mounted.stderr.decode()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_says_so_and_is_left_as_it_was(source: Path, small_disk: Path) -> None:
    target = small_disk / "ab" / "file.root"
    with pytest.raises(BadStorage, match="no space left to write") as error:
        copy(url(source), url(target), SIZE, SUM)
    assert "free space" in error.value.hint
    assert not target.exists()
    assert left_overs(target) == []


def test_a_full_device_says_so(source: Path, target: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same without a mount: the kernel's always full device in place of the part."""
    monkeypatch.setattr(copying, "_open", lambda part: Path("/dev/full").open("wb"))  # noqa: SIM115
    with pytest.raises(BadStorage, match="no space left to write"):
        copy(url(source), url(target), SIZE, SUM)
    assert not target.exists()


KILLED = """
import os, signal, sys
from prodchain.catalog import copy, storage
class Sums:
    @staticmethod
    def adler32(block, checksum):
        if checksum != 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return 2
copy.BLOCK, copy.zlib_ng = 1_000_000, Sums
copy.copy(*sys.argv[1:3], int(sys.argv[3]), sys.argv[4])
"""


def test_a_killed_copy_leaves_no_file_and_the_next_one_cleans_up(source: Path, target: Path) -> None:
    arguments = [url(source), url(target), str(SIZE), SUM]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    assert not target.exists()
    assert len(left_overs(target)) == 1
    with copying._open(storage.place(url(target)).beside("file.root.part-alive")):
        copy(url(source), url(target), SIZE, SUM)
        assert left_overs(target) == ["file.root.part-alive"]
    assert target.read_bytes() == CONTENT


def test_deleting_twice_is_deleting(source: Path, memory: str) -> None:
    for _ in range(2):
        storage.delete(url(source))
        storage.delete(f"{memory}/nothing")
    assert storage.size(url(source)) is None
    with pytest.raises(FileMissing):
        storage.adler32(url(source))
