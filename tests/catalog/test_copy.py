"""Copies between storages: complete and verified, or not there."""

import os
import random
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from prodchain.catalog import backends, storage
from prodchain.catalog.backends.local import created
from prodchain.catalog.copy import Method, Side, attempt, copy
from prodchain.catalog.errors import BadStorage, ChecksumMismatch, FileMissing, StorageFull

from .remote import Remote, Word

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
def remote(tmp_path: Path) -> Iterator[Remote]:
    """A server of its own protocol, as an object: what it does wrong is chosen by the test."""
    with Remote.serving(tmp_path / "remote") as server:
        yield server


def url(path: Path) -> str:
    return f"file:{path}"


def left_overs(target: Path) -> list[str]:
    return [path.name for path in target.parent.glob("*") if path != target] if target.parent.exists() else []


def test_a_copy_is_the_same_file_and_leaves_nothing_else(source: Path, target: Path) -> None:
    outcome = copy(url(source), url(target), SIZE, SUM)
    assert (outcome.method, outcome.bytes) == (Method.LOCAL, SIZE)
    assert target.read_bytes() == CONTENT
    assert target.stat().st_ino != source.stat().st_ino
    assert left_overs(target) == []


def test_an_empty_file_is_copied(tmp_path: Path, target: Path) -> None:
    (tmp_path / "empty").touch()
    assert copy(url(tmp_path / "empty"), url(target), 0, "00000001").bytes == 0
    assert target.read_bytes() == b""


def test_a_file_that_is_there_is_accepted_without_its_source(tmp_path: Path, source: Path) -> None:
    assert copy(url(tmp_path / "nowhere"), url(source), SIZE, SUM).method == Method.THERE


@pytest.mark.parametrize("damaged", [CONTENT[:-1], bytes([CONTENT[0] ^ 1]) + CONTENT[1:], b""])
@pytest.mark.parametrize("first", [True, False])
def test_a_wrong_file_at_the_target_is_replaced(
    source: Path, target: Path, remote: Remote, damaged: bytes, first: bool
) -> None:
    for renames in (True, False):
        remote.renames = renames
        for there, there_url in ((target, url(target)), (remote.at("file"), remote.url_of("file"))):
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(damaged)
            assert attempt(url(source), there_url, SIZE, SUM, first=first).bytes == SIZE
            assert there.read_bytes() == CONTENT


def test_a_second_name_is_made_only_where_both_storages_declare_it(source: Path, target: Path) -> None:
    assert attempt(url(source), url(target), SIZE, SUM, links=True).method == Method.LINK
    assert target.stat().st_ino == source.stat().st_ino


@pytest.mark.parametrize("digests", [True, False])
@pytest.mark.parametrize("renames", [True, False])
def test_each_pair_of_ends_has_its_way(
    tmp_path: Path, source: Path, target: Path, remote: Remote, digests: bool, renames: bool
) -> None:
    remote.digests, remote.renames = digests, renames
    with Remote.serving(tmp_path / "other") as other:
        other.renames = renames

        def method(source: str, target: str) -> Method:
            return copy(source, target, SIZE, SUM).method

        assert method(url(source), remote.url_of("a/file")) == Method.PUT
        assert method(remote.url_of("a/file"), url(target)) == Method.GET
        assert method(remote.url_of("a/file"), remote.url_of("b/file")) == Method.STREAM
        assert method(remote.url_of("a/file"), other.url_of("file")) == Method.STREAM
        remote.copies = other.pulls = True
        assert method(remote.url_of("a/file"), remote.url_of("c/file")) == Method.SERVER
        assert method(remote.url_of("a/file"), other.url_of("d/file")) == Method.THIRD_PARTY
        assert target.read_bytes() == CONTENT
        assert {path.read_bytes() for path in (*remote.files(), *other.files())} == {CONTENT}
        assert [path.name for path in other.files()] == ["file", "file"]


def test_a_third_party_copy_that_fails_is_made_by_a_stream_and_says_so(
    tmp_path: Path, source: Path, remote: Remote
) -> None:
    with Remote.serving(tmp_path / "other") as other:
        copy(url(source), remote.url_of("file"), SIZE, SUM)
        other.pulls, other.trusts = True, False
        outcome = copy(remote.url_of("file"), other.url_of("file"), SIZE, SUM)
        assert outcome.method == Method.STREAM
        assert outcome.note is not None
        assert "third-party failed" in outcome.note
        assert [path.read_bytes() for path in other.files()] == [CONTENT]


DAMAGED = [CONTENT[:-1], CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]), CONTENT + b"x"]


@pytest.mark.parametrize("damaged", DAMAGED)
def test_a_damaged_source_leaves_no_file(source: Path, target: Path, damaged: bytes) -> None:
    source.write_bytes(damaged)
    with pytest.raises(ChecksumMismatch) as error:
        copy(url(source), url(target), SIZE, SUM)
    assert error.value.object == url(source)
    assert not target.exists()
    assert left_overs(target) == []
    assert source.exists()


@pytest.mark.parametrize("damaged", DAMAGED)
@pytest.mark.parametrize("way", [Method.PUT, Method.GET, Method.STREAM, Method.SERVER, Method.THIRD_PARTY])
def test_a_damaged_source_is_the_sources_fault_on_every_way(
    tmp_path: Path, source: Path, target: Path, remote: Remote, damaged: bytes, way: Method
) -> None:
    with Remote.serving(tmp_path / "other") as other:
        remote.copies, other.pulls = way == Method.SERVER, way == Method.THIRD_PARTY
        remote.put_there("source", damaged)
        source.write_bytes(damaged)
        outcome = attempt(
            url(source) if way == Method.PUT else remote.url_of("source"),
            {Method.GET: url(target), Method.PUT: remote.url_of("new"), Method.SERVER: remote.url_of("new")}.get(
                way, other.url_of("new")
            ),
            SIZE,
            SUM,
        )
        assert (outcome.method, outcome.side) == (way, Side.SOURCE)
        assert isinstance(outcome.error, ChecksumMismatch)
        assert f"the catalog knows {SIZE} bytes" in str(outcome.error)
        assert [path.name for path in remote.files()] == ["source"]
        assert other.files() == []
        assert left_overs(target) == []


@pytest.mark.parametrize("lie", [Word.DROPS_THE_TAIL, Word.FLIPS_A_BYTE, Word.STORES_NOTHING])
@pytest.mark.parametrize("way", [Method.PUT, Method.STREAM, Method.SERVER, Method.THIRD_PARTY])
@pytest.mark.parametrize("renames", [True, False])
def test_a_target_that_lies_about_success_is_found_out(
    tmp_path: Path, source: Path, remote: Remote, lie: Word, way: Method, renames: bool
) -> None:
    with Remote.serving(tmp_path / "other") as other:
        remote.put_there("source", CONTENT)
        remote.copies, other.pulls = way == Method.SERVER, way == Method.THIRD_PARTY
        remote.lie = other.lie = lie
        remote.renames = other.renames = renames
        outcome = attempt(
            url(source) if way == Method.PUT else remote.url_of("source"),
            remote.url_of("new") if way == Method.SERVER else other.url_of("new"),
            SIZE,
            SUM,
        )
        assert (outcome.method, outcome.side) == (way, Side.TARGET)
        assert isinstance(outcome.error, FileMissing if lie == Word.STORES_NOTHING else BadStorage)
        assert "was stored with" in str(outcome.error)
        assert [path.name for path in (*remote.files(), *other.files())] == ["source"]


def test_a_missing_source_is_named(tmp_path: Path, target: Path, remote: Remote) -> None:
    for missing in (url(tmp_path / "nowhere"), remote.url_of("nowhere")):
        for to in (url(target), remote.url_of("new")):
            outcome = attempt(missing, to, SIZE, SUM)
            assert isinstance(outcome.error, FileMissing)
            assert outcome.side == Side.SOURCE
            assert "nowhere" in str(outcome.error)
    assert left_overs(target) == []
    assert remote.files() == []


def test_a_remote_left_over_of_a_killed_copy_is_swept_by_the_next(source: Path, remote: Remote) -> None:
    remote.put_there("a/file.part-0123", b"half")
    remote.put_there("a/file2.part-0123", b"another one's")
    attempt(url(source), remote.url_of("a/file"), SIZE, SUM, first=True)
    assert len(remote.files()) == 3
    remote.at("a/file").unlink()
    attempt(url(source), remote.url_of("a/file"), SIZE, SUM)
    assert sorted(path.name for path in remote.files()) == ["file", "file2.part-0123"]


def test_a_copy_that_loses_its_part_to_a_faster_one_finds_the_file_there(source: Path, remote: Remote) -> None:
    def faster(_: int) -> None:
        if not remote.at("file").exists():
            assert attempt(url(source), remote.url_of("file"), SIZE, SUM).method == Method.PUT

    outcome = attempt(url(source), remote.url_of("file"), SIZE, SUM, told=faster, first=True)
    assert outcome.method == Method.THERE
    assert [path.read_bytes() for path in remote.files()] == [CONTENT]


def test_a_copy_is_stopped_by_who_is_told(source: Path, target: Path, remote: Remote) -> None:
    class Stop(Exception):
        pass

    def stop(_: int) -> None:
        raise Stop

    for to in (url(target), remote.url_of("file")):
        with pytest.raises(Stop):
            copy(url(source), to, SIZE, SUM, told=stop)
    assert left_overs(target) == []
    assert not target.exists()
    assert remote.files() == []


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
    outcome = attempt(url(source), url(target), SIZE, SUM)
    assert isinstance(outcome.error, StorageFull)
    assert outcome.side == Side.TARGET
    assert "no space left to write" in str(outcome.error)
    assert not target.exists()
    assert left_overs(target) == []


KILLED = """
import os, signal, sys
from prodchain.catalog.copy import copy
copy(*sys.argv[1:3], int(sys.argv[3]), sys.argv[4], lambda _: os.kill(os.getpid(), signal.SIGKILL))
"""


def test_a_killed_copy_leaves_no_file_and_the_next_one_cleans_up(source: Path, target: Path) -> None:
    arguments = [url(source), url(target), str(SIZE), SUM]
    killed = subprocess.run([sys.executable, "-c", KILLED, *arguments], capture_output=True, text=True, check=False)
    assert killed.returncode == -9, killed.stderr
    assert not target.exists()
    assert len(left_overs(target)) == 1
    with created(target.with_name("file.root.part-alive")):
        copy(url(source), url(target), SIZE, SUM)
        assert left_overs(target) == ["file.root.part-alive"]
    assert target.read_bytes() == CONTENT


def test_deleting_twice_is_deleting(source: Path, remote: Remote) -> None:
    for _ in range(2):
        storage.delete(url(source))
        storage.delete(remote.url_of("nothing"))
    assert storage.size(url(source)) is None
    with pytest.raises(FileMissing):
        storage.adler32(url(source))


def test_a_listing_names_files_and_sizes(source: Path) -> None:
    assert list(storage.listing(url(source.parent.parent))) == [(str(source), SIZE)]
    assert backends.place(url(source)).path == str(source)
