"""What every storage must do, each against a real server of its protocol."""

import os
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from zlib_ng import zlib_ng

from prodchain.catalog.errors import BadStorage, FileMissing

from ...storages.farm import STORAGES, Farm
from .conftest import Storage, storage_at

NAME = "mc11.007216.singlepart_mu18.recon.AOD.v11000303._00001.pool.root.1"
LARGE = random.Random(7).randbytes(40 * 1024 * 1024 + 7)
"""More than one part, block, range or window of any protocol, and not a round number of them."""


@pytest.fixture(params=STORAGES)
def storage(request: pytest.FixtureRequest, storages: Farm, tmp_path: Path) -> Storage:
    return storage_at(storages, request.param, tmp_path)


class Stopped(Exception):
    """What somebody raises who does not want the copy any more."""


def adler32(content: bytes) -> str:
    return f"{zlib_ng.adler32(content):08x}"


def nobody(_: int) -> None:
    pass


def stop(_: int) -> None:
    raise Stopped


def test_what_is_written_is_there(storage: Storage) -> None:
    path = storage.path(f"csc11/4e/99/{NAME}")
    storage.backend.write(path, [b"some ", b"bytes"], 10)
    assert storage.backend.size(path) == 10
    assert storage.content(path) == b"some bytes"
    assert storage.backend.digest(path) in (None, adler32(b"some bytes"))


@pytest.mark.parametrize("content", [b"", b"x", LARGE], ids=["empty", "small", "large"])
def test_a_file_goes_there_and_comes_back(storage: Storage, content: bytes) -> None:
    path, told, back = storage.path("a/b/c/file"), [], storage.here / "back"
    assert storage.backend.put(storage.source(content), path, told.append) == adler32(content)
    assert sum(told) == len(content)
    assert storage.backend.size(path) == len(content)
    assert storage.backend.digest(path) in (None, adler32(content))
    told.clear()
    assert storage.backend.get(path, back, told.append) == adler32(content)
    assert sum(told) == len(content)
    assert back.read_bytes() == content


def test_a_large_stream_goes_there_and_comes_back(storage: Storage) -> None:
    path, block = storage.path("stream"), 8 * 1024 * 1024
    storage.backend.write(path, (LARGE[at : at + block] for at in range(0, len(LARGE), block)), len(LARGE))
    blocks = list(storage.backend.read(path))
    assert max(map(len, blocks)) <= block
    assert b"".join(blocks) == LARGE


def test_a_reader_may_stop_early(storage: Storage) -> None:
    path = storage.path("large")
    storage.backend.put(storage.source(LARGE), path, nobody)
    with closing(storage.backend.read(path)) as blocks:  # type: ignore[type-var]
        assert LARGE.startswith(next(blocks))
    assert storage.backend.size(path) == len(LARGE)


def test_a_reader_may_begin_at_any_byte(storage: Storage) -> None:
    path = storage.path("resume/file")
    storage.backend.put(storage.source(LARGE), path, nobody)
    for start in (1, 9_000_001, len(LARGE) - 1, len(LARGE)):
        assert b"".join(bytes(block) for block in storage.backend.read(path, start)) == LARGE[start:]


def test_all_files_below_a_folder_are_listed(storage: Storage) -> None:
    names = {"top", "a/one", "a/b/c/deep", "a-b/other"}
    for name in names:
        storage.backend.write(storage.path(name), [name.encode()], len(name))
    assert storage.names() == names
    entries = list(storage.backend.list(storage.path("a")))
    assert {entry.path: entry.bytes for entry in entries} == {
        storage.path("a/one"): 5,
        storage.path("a/b/c/deep"): 10,
    }


def test_a_folder_that_is_not_there_is_empty(storage: Storage) -> None:
    assert list(storage.backend.list(storage.path("nothing"))) == []


def test_a_deleted_file_is_gone_and_deleting_it_again_is_no_error(storage: Storage) -> None:
    path = storage.path("folder/file")
    storage.backend.write(path, [b"x"], 1)
    storage.backend.delete(path)
    assert storage.backend.size(path) is None
    storage.backend.delete(path)
    storage.backend.delete(storage.path("no/such/folder/file"))


def test_a_name_is_given_over_what_is_there(storage: Storage) -> None:
    part, path = storage.path("d/file.part-1"), storage.path("d/file")
    if not storage.backend.renames:
        with pytest.raises(BadStorage):
            storage.backend.rename(part, path)
        return
    for content in (b"old", b"newer"):
        storage.backend.write(part, [content], len(content))
        storage.backend.rename(part, path)
        assert storage.content(path) == content
        assert storage.backend.size(part) is None
    with pytest.raises(FileMissing):
        storage.backend.rename(part, path)
    assert storage.content(path) == b"newer"


def test_what_is_not_there_is_missing_and_leaves_nothing_here(storage: Storage) -> None:
    storage.backend.write(storage.path("other"), [b"x"], 1)
    for name in ("nothing", "no/folder/nothing"):
        path, here = storage.path(name), storage.here / "here"
        assert storage.backend.size(path) is None
        with pytest.raises(FileMissing) as caught:
            storage.backend.get(path, here, nobody)
        assert name in caught.value.object
        assert not here.exists()
        with pytest.raises(FileMissing):
            storage.content(path)


def test_a_missing_source_leaves_nothing_there(storage: Storage) -> None:
    with pytest.raises(FileMissing) as caught:
        storage.backend.put(storage.here / "nothing", storage.path("file"), nobody)
    assert caught.value.object == str(storage.here / "nothing")
    assert storage.names() == set()


@pytest.mark.parametrize("size", [5, len(LARGE)], ids=["small", "large"])
def test_a_stopped_copy_leaves_nothing_on_either_side(storage: Storage, size: int) -> None:
    path, here = storage.path("file"), storage.here / "here"
    with pytest.raises(Stopped):
        storage.backend.put(storage.source(LARGE[:size]), path, stop)
    assert storage.names() == set()
    storage.backend.put(storage.source(LARGE[:size]), path, nobody)
    with pytest.raises(Stopped):
        storage.backend.get(path, here, stop)
    assert not here.exists()
    assert storage.backend.size(path) == size


def test_a_stream_that_breaks_leaves_nothing(storage: Storage) -> None:
    def blocks() -> object:
        for at in range(3):
            yield LARGE[at * 8_000_000 : (at + 1) * 8_000_000]
        raise Stopped

    with pytest.raises(Stopped):
        storage.backend.write(storage.path("file"), blocks(), len(LARGE))  # type: ignore[arg-type]
    assert storage.names() == set()
    storage.backend.write(storage.path("file"), [b"again"], 5)
    assert storage.names() == {"file"}


def test_threads_share_a_backend(storage: Storage) -> None:
    contents = [os.urandom(random.Random(number).randrange(200_000)) for number in range(24)]

    def there_and_back(number: int) -> bytes:
        path, here = storage.path(f"{number % 3}/file-{number}"), storage.here / f"back-{number}"
        storage.backend.put(storage.source(contents[number]), path, nobody)
        assert storage.backend.get(path, here, nobody) == adler32(contents[number])
        return here.read_bytes()

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(there_and_back, range(24))) == contents
    assert len(storage.names()) == 24


def test_a_copy_at_the_server_is_a_copy_or_nothing(storage: Storage) -> None:
    storage.backend.write(storage.path("one"), [b"content"], 7)
    if storage.backend.copy(storage.path("one"), storage.path("f/two")):
        assert storage.content(storage.path("f/two")) == b"content"
    else:
        assert storage.names() == {"one"}
    assert storage.content(storage.path("one")) == b"content"


def test_free_space_is_known_or_not(storage: Storage) -> None:
    storage.backend.write(storage.path("file"), [b"x"], 1)
    free = storage.backend.free(storage.folder)
    assert free is None or free > 1_000_000
