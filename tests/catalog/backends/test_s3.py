"""What only S3 has: buckets, keys that are wrong, parts that must not stay, servers that break off."""

import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from zlib_ng import zlib_ng

from prodchain.catalog.backends import base, s3
from prodchain.catalog.backends.ranges import Reader, Refused
from prodchain.catalog.errors import BadStorage, StorageDenied, StorageTimeout

from ...storages.farm import Farm
from ...storages.s3 import BUCKET
from .conftest import Storage, storage_at

CONTENT = bytes(range(256)) * 400_000
"""Several ranges."""


@pytest.fixture
def storage(storages: Farm, tmp_path: Path) -> Storage:
    return storage_at(storages, "s3-rclone", tmp_path)


def nobody(_: int) -> None:
    pass


def test_a_wrong_key_is_denied_with_the_remedy(storages: Farm, tmp_path: Path) -> None:
    wrong = s3.S3(storages.server("s3-rclone").server, {"key": "nobody", "secret": "wrong"})
    (tmp_path / "source").write_bytes(b"x")
    for work in (
        lambda: wrong.size(f"/{BUCKET}/file"),
        lambda: wrong.get(f"/{BUCKET}/file", tmp_path / "here", nobody),
        lambda: wrong.put(tmp_path / "source", f"/{BUCKET}/file", nobody),
        lambda: list(wrong.list(f"/{BUCKET}/folder")),
        lambda: wrong.delete(f"/{BUCKET}/file"),
    ):
        with pytest.raises(StorageDenied) as caught:
            work()
        assert "credentials" in caught.value.hint
        assert wrong.url in caught.value.object
    assert not (tmp_path / "here").exists()


def test_a_bucket_that_is_not_there_is_not_taken_for_a_missing_file(storage: Storage) -> None:
    (storage.here / "source").write_bytes(b"x")
    for work in (
        lambda: storage.backend.put(storage.here / "source", "/no-bucket/file", nobody),
        lambda: storage.backend.get("/no-bucket/file", storage.here / "back", nobody),
        lambda: list(storage.backend.list("/no-bucket/folder")),
        lambda: storage.backend.delete("/no-bucket/file"),
    ):
        with pytest.raises(BadStorage, match="no bucket"):
            work()


def test_a_stream_of_another_length_than_said_is_not_stored(storage: Storage) -> None:
    for size in (5, 20_000_000):
        with pytest.raises(BadStorage, match="came, not"):
            storage.backend.write(storage.path("file"), [bytes(size - 1)], size)
    assert storage.names() == set()


def test_what_breaks_off_leaves_no_parts(storages: Farm, tmp_path: Path) -> None:
    storage = storage_at(storages, "s3-moto", tmp_path)

    def blocks() -> Iterator[bytes]:
        for _ in range(4):
            yield bytes(8 * 1024 * 1024)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        storage.backend.write(storage.path("file"), blocks(), 64 * 1024 * 1024)
    with Listing(storages.server("s3-moto").server) as listed:
        assert b"<Upload>" not in listed


def test_large_files_are_cut_into_fewer_than_ten_thousand_parts_without_more_memory() -> None:
    for size in (100_000_000, 5 * 1024**4):
        part, at_once = s3._parts(size)
        assert size / part < 10_000
        assert part * at_once <= max(part, s3.AT_ONCE * base.BLOCK)


def test_a_server_that_is_not_there_is_named_soon() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nowhere = s3.S3(f"s3+http://127.0.0.1:{unused.getsockname()[1]}", {})
        with pytest.raises(BadStorage) as caught:
            nowhere.size(f"/{BUCKET}/file")
        assert nowhere.url in str(caught.value)


def test_a_server_that_is_silent_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        stalled = s3.S3(f"s3+http://127.0.0.1:{silent.getsockname()[1]}", {})
        with pytest.raises(StorageTimeout):
            stalled.size(f"/{BUCKET}/file")
        with pytest.raises(StorageTimeout):
            stalled.get(f"/{BUCKET}/file", tmp_path / "here", nobody)
    assert not (tmp_path / "here").exists()


@pytest.mark.parametrize("ranges", [True, False])
def test_a_download_goes_on_where_its_connection_broke(tmp_path: Path, ranges: bool) -> None:
    with Breaking(CONTENT, ranges) as server, (tmp_path / "file").open("wb+") as file:
        reader = Reader(server.url)
        if ranges:
            checksum = reader.fetch("/file", file.fileno(), "file", nobody)
            assert checksum == f"{zlib_ng.adler32(CONTENT):08x}"
            assert (tmp_path / "file").read_bytes() == CONTENT
            assert b"".join(reader.blocks("/file")) == CONTENT
        else:
            with pytest.raises(Refused, match="cannot go on"):
                reader.fetch("/file", file.fileno(), "file", nobody)


def test_people_are_told_how_to_open_it(storage: Storage) -> None:
    url, options = storage.backend.opening(f"/{BUCKET}/a/file")
    assert url == f"s3://{BUCKET}/a/file"
    assert options == {"endpoint_url": storage.backend.url.removeprefix("s3+")}


class Listing:
    """The uploads under way in the bucket, as the server says."""

    def __init__(self, server: str) -> None:
        self._url = f"{server.removeprefix('s3+')}/{BUCKET}?uploads"

    def __enter__(self) -> bytes:
        with urllib.request.urlopen(self._url, timeout=20) as answer:
            content: bytes = answer.read()
        return content

    def __exit__(self, *_: object) -> None:
        pass


class Breaking:
    """A server whose connections break after 5 MB; one may say so of a server that is restarted now and then."""

    def __init__(self, content: bytes, ranges: bool) -> None:
        self._content = content
        self._ranges = ranges
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> "Breaking":
        self._threads.append(threading.Thread(target=self._serve))
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._threads.append(threading.Thread(target=self._answer, args=(connection,)))
            self._threads[-1].start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            request = connection.recv(4096).decode()
            first, _, last = request.partition("bytes=")[2].partition("\r\n")[0].partition("-")
            start, end = int(first), min(int(last or len(self._content)) + 1, len(self._content))
            described = f"Content-Range: bytes {start}-{end - 1}/{len(self._content)}\r\n"
            if not self._ranges:
                start, end, described = 0, len(self._content), ""
            head = f"HTTP/1.1 200 OK\r\nContent-Length: {end - start}\r\n{described}\r\n"
            with suppress(ConnectionError):  # who was sent the wrong range hangs up
                connection.sendall(head.encode() + self._content[start : min(end, start + 5_000_000)])
