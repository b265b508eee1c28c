"""Staging of files, on a real file system and on fsspec's memory."""

import builtins
import errno
import os
import threading
import zlib
from pathlib import Path
from typing import Any

import fsspec
import pytest

from prodchain.pilot_agent import storage, stores
from prodchain.pilot_agent.errors import DiskFull, Stopped, StorageError
from prodchain.pilot_agent.messages import Input, Output

from .conftest import put

GO = threading.Event()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    path = tmp_path / "work"
    path.mkdir()
    return path


@pytest.fixture
def output(work: Path, tmp_path: Path) -> Output:
    (work / "out").write_bytes(b"new content")
    return Output("out", f"file://{tmp_path}/site/a b%20c/out")


def stored(output: Output) -> Path:
    return Path(output.url[len("file://") :])


def test_inputs_are_copied_hard_and_verified(work: Path, tmp_path: Path) -> None:
    given = put(tmp_path, "in.root", b"x" * 3_000_000)
    assert storage.stage_in([given], work, GO) == 3_000_000
    assert (work / "in.root").read_bytes() == b"x" * 3_000_000
    assert (work / "in.root").stat().st_ino != (tmp_path / "in.root").stat().st_ino
    assert not (work / "in.root").is_symlink()


@pytest.mark.parametrize("url", ["file:{}", "file://{}", "file://localhost{}"])
def test_every_form_of_a_file_url_is_understood(url: str, work: Path, tmp_path: Path) -> None:
    given = put(tmp_path, "in", b"1")
    given.url = url.format(tmp_path / "in")
    assert storage.stage_in([given], work, GO) == 1


def test_a_file_url_that_is_not_absolute_is_refused() -> None:
    with pytest.raises(StorageError, match="no absolute path"):
        stores.locate("file:storage/a")
    with pytest.raises(StorageError, match="no absolute path"):
        stores.locate("file://elsewhere/a")


def test_an_input_that_is_gone_is_named(work: Path) -> None:
    with pytest.raises(StorageError, match=r"input in: No such file or directory \(file:///nowhere/in\)"):
        storage.stage_in([Input("in", "file:///nowhere/in", 1, "00000001")], work, GO)


def test_inputs_that_cannot_fit_are_not_begun(work: Path) -> None:
    with pytest.raises(DiskFull, match="work directory disk full: the inputs need 1000000000000000000 bytes"):
        storage.stage_in([Input("in", "file:///nowhere/in", 10**18, "00000001")], work, GO)


@pytest.mark.parametrize("lfn", ["../in", "a/b", "..", ""])
def test_a_name_that_leads_out_of_the_work_directory_is_refused(lfn: str, work: Path) -> None:
    with pytest.raises(StorageError, match="is no file name"):
        storage.stage_in([Input(lfn, "file:///etc/hostname", 1, "00000001")], work, GO)


def test_an_output_is_stored_under_its_name_with_size_and_checksum(work: Path, output: Output) -> None:
    ((size, checksum),) = storage.stage_out([output], work, 7, GO)
    assert stored(output).read_bytes() == b"new content"
    assert (size, checksum) == (11, f"{zlib.adler32(b'new content'):08x}")
    assert [path.name for path in stored(output).parent.iterdir()] == ["out"]


def test_an_output_that_is_stored_already_is_accepted_if_it_is_the_same(work: Path, output: Output) -> None:
    first = storage.stage_out([output], work, 7, GO)
    assert storage.stage_out([output], work, 7, GO) == first


def test_an_output_that_is_stored_with_other_content_is_left_alone(work: Path, output: Output) -> None:
    stored(output).parent.mkdir(parents=True)
    stored(output).write_bytes(b"old")
    with pytest.raises(StorageError, match="is stored already, with other content"):
        storage.stage_out([output], work, 7, GO)
    assert stored(output).read_bytes() == b"old"


def test_a_full_storage_is_said_in_words_and_no_part_is_left(
    work: Path, output: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(file: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(DiskFull, match="storage is full: no room for output out"):
        storage.stage_out([output], work, 7, GO)
    assert list(stored(output).parent.iterdir()) == []


def test_copying_stops_when_asked_and_leaves_no_part(work: Path, output: Output) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        storage.stage_out([output], work, 7, stop)
    assert list(stored(output).parent.iterdir()) == []


def test_deleting_tells_what_went_wrong_and_forgives_what_is_gone(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    errors = storage.delete([Output("gone", f"file://{tmp_path}/gone"), Output("d", f"file://{tmp_path}/folder")])
    assert len(errors) == 1
    assert "output d: " in errors[0]


def test_other_urls_go_through_fsspec(work: Path) -> None:
    (work / "out").write_bytes(b"new content")
    output = Output("out", "memory://site/ab/out")
    (content,) = storage.stage_out([output], work, 7, GO)
    assert storage.stage_out([output], work, 7, GO) == [content]
    memory = fsspec.filesystem("memory")
    assert memory.cat_file("/site/ab/out") == b"new content"
    assert memory.find("/site") == ["/site/ab/out"]
    storage.stage_in([Input("in", output.url, *content)], work, GO)
    assert (work / "in").read_bytes() == b"new content"
    assert storage.delete([output, output]) == []
    assert memory.find("/site") == []


def test_without_fsspec_another_url_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    importing = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("fsspec"):
            raise ImportError(name)
        return importing(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(StorageError, match="the pilot's Python has no fsspec") as caught:
        stores.locate("s3://bucket/key")
    assert "install fsspec" in caught.value.hint


def test_an_unknown_kind_of_url_is_a_clear_error() -> None:
    with pytest.raises(StorageError, match="gopher://x cannot be reached"):
        stores.locate("gopher://x")
