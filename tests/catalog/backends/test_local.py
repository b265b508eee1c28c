"""What only a file system has: locks on what is being written, links, odd modes, a full disk."""

import errno
import fcntl
import os
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from zlib_ng import zlib_ng

from prodchain.catalog.backends import local, place
from prodchain.catalog.backends.checksums import Part, joined
from prodchain.catalog.errors import BadStorage, StorageDenied, StorageFull

LARGE = random.Random(3).randbytes(2 * 32 * 1024 * 1024 + 5)
"""Enough for two lanes, and an odd number of bytes."""


def nobody(_: int) -> None:
    pass


def backend() -> local.Local:
    found = place("file:///").backend
    assert isinstance(found, local.Local)
    return found


@given(st.lists(st.binary(max_size=200)))
def test_sums_of_parts_join_to_the_sum_of_the_whole(parts: list[bytes]) -> None:
    whole = f"{zlib_ng.adler32(b''.join(parts)):08x}"
    assert joined(Part(len(part), zlib_ng.adler32(part)) for part in parts) == whole


def test_a_file_being_written_is_locked(tmp_path: Path) -> None:
    def blocks() -> Iterator[bytes]:
        yield b"x"
        with (tmp_path / "part").open("rb") as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)

    backend().write(str(tmp_path / "part"), blocks(), 1)


def test_two_lanes_make_one_file(tmp_path: Path) -> None:
    source, told = tmp_path / "source", list[int]()
    source.write_bytes(LARGE)
    assert backend().put(source, str(tmp_path / "f/copy"), told.append) == f"{zlib_ng.adler32(LARGE):08x}"
    assert (tmp_path / "f/copy").read_bytes() == LARGE
    assert sum(told) == len(LARGE)


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EOPNOTSUPP])
def test_a_kernel_that_does_not_copy_ranges_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "copy_file_range", refused)
    (tmp_path / "source").write_bytes(LARGE)
    assert backend().get(str(tmp_path / "source"), tmp_path / "copy", nobody) == f"{zlib_ng.adler32(LARGE):08x}"
    assert (tmp_path / "copy").read_bytes() == LARGE


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/file").write_bytes(b"x")
    (tmp_path / "a/loop").symlink_to(tmp_path)
    (tmp_path / "a/broken").symlink_to(tmp_path / "nothing")
    assert [entry.path for entry in backend().list(str(tmp_path))] == [str(tmp_path / "a/file")]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert backend().size(str(tmp_path)) is None
    with pytest.raises(BadStorage, match="directory"):
        backend().get(str(tmp_path), tmp_path / "copy", nobody)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_nobody_may_write_to_is_denied() -> None:
    with pytest.raises(StorageDenied) as caught:
        backend().write("/sys/kernel/nothing", [b"x"], 1)
    assert caught.value.object == "/sys/kernel/nothing"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    at = tmp_path / "disk"
    at.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", at], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting a small disk needs root")
    yield at
    subprocess.run(["umount", at], check=True)


def test_a_full_disk_is_said_and_nothing_is_left(tmp_path: Path, small_disk: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(3_000_000))
    with pytest.raises(StorageFull) as caught:
        backend().put(source, str(small_disk / "file"), nobody)
    assert caught.value.object == str(small_disk / "file")
    with pytest.raises(StorageFull):
        backend().write(str(small_disk / "file"), [bytes(3_000_000)], 3_000_000)
    assert list(small_disk.iterdir()) == []
    assert 0 < (backend().free(str(small_disk / "not/yet")) or 0) <= 1024 * 1024
