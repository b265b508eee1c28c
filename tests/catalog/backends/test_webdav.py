"""What is peculiar to WebDAV: redirects, ranges of servers' habits, credentials, trust, connections that break."""

import os
import random
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import pytest
from zlib_ng import zlib_ng

from prodchain.catalog import backends
from prodchain.catalog.backends import base, place, webdav
from prodchain.catalog.backends.credentials import VARIABLE
from prodchain.catalog.backends.webdav import HOPEFUL, WebDav, _adler32
from prodchain.catalog.errors import BadStorage, FileMissing, StorageDenied, StorageTimeout

from ...storages.certificates import make_certificates
from ...storages.farm import Farm
from ...storages.servers import needs
from ...storages.webdav import rclone_webdav
from .conftest import Storage, storage_at

CONTENT = random.Random(6).randbytes(24 * 1024 * 1024 + 5)
SUM = f"{zlib_ng.adler32(CONTENT):08x}"


def nobody(_: int) -> None:
    pass


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[Storage, int]]:
    """A server that the test may kill, and its process."""
    with rclone_webdav() as server:
        there = place(f"{server.url}/{uuid4().hex}")
        yield Storage(there.backend, there.url, there.path, tmp_path), server.process.pid
        backends.forget()


@contextmanager
def redirector(to: str) -> Iterator[tuple[str, list[str]]]:
    """A server that sends everybody elsewhere before it reads anything; its URL, and what it was asked."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def send_on(self) -> None:
            asked.append(self.command)
            self.send_response(307)
            self.send_header("Location", to + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()
            self.close_connection = self.command == "PUT"  # as the body was not read

        do_GET = do_PUT = do_HEAD = do_MKCOL = do_DELETE = do_MOVE = send_on  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        backends.forget()
        server.shutdown()
        thread.join()


def test_an_upload_goes_where_the_server_sends_it(own: tuple[Storage, int]) -> None:
    storage, _ = own
    storage.backend.write(storage.path("first"), [b"x"], 1)  # makes the folder
    with redirector(storage.url) as (url, asked):
        backend = place(f"{url}/x").backend
        told: list[int] = []
        assert backend.put(storage.source(CONTENT), "/put", told.append) == SUM
        assert sum(told) == len(CONTENT)
        backend.write("/written", [CONTENT[:5], CONTENT[5:]], len(CONTENT))
        assert backend.get("/put", storage.here / "back", nobody) == SUM
        assert asked.count("PUT") >= 2
    assert storage.content(storage.path("put")) == storage.content(storage.path("written")) == CONTENT


def test_the_password_is_not_shown_to_whom_we_are_sent(tmp_path: Path) -> None:
    with rclone_webdav(None, "user", "secret") as server, redirector(server.url) as (url, _):
        backend = WebDav(url, {"user": "user", "password": "secret"})
        with pytest.raises(StorageDenied):
            b"".join(backend.read("/file"))
        with pytest.raises(StorageDenied, match="not allowed to read"):
            backend.get("/file", tmp_path / "back", nobody)
    assert not (tmp_path / "back").exists()


def test_who_is_told_of_a_download_may_stop_it(own: tuple[Storage, int]) -> None:
    storage, _ = own
    storage.backend.put(storage.source(CONTENT), storage.path("file"), nobody)
    told: list[int] = []

    def stop(bytes_: int) -> None:
        told.append(bytes_)
        if sum(told) > len(CONTENT) // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        storage.backend.get(storage.path("file"), storage.here / "back", stop)
    assert len(CONTENT) // 2 < sum(told) < len(CONTENT)
    assert not (storage.here / "back").exists()
    assert storage.backend.get(storage.path("file"), storage.here / "back", told.append) == SUM


@pytest.mark.parametrize("bytes_", [10, HOPEFUL + 1])
def test_folders_are_made_when_a_server_wants_them_first(own: tuple[Storage, int], bytes_: int) -> None:
    storage, _ = own
    content = os.urandom(bytes_)
    for name in ("a/b/one", "a/b/two", "c/three"):
        storage.backend.put(storage.source(content), storage.path(name), nobody)
        assert storage.backend.size(storage.path(name)) == bytes_


def test_a_folder_that_somebody_removed_is_made_again(storages: Farm, tmp_path: Path) -> None:
    storage = storage_at(storages, "webdav-wsgidav", tmp_path)
    storage.backend.put(storage.source(b"one"), storage.path("folder/one"), nobody)
    storage.backend.delete(storage.path("folder"))
    with pytest.raises((BadStorage, FileMissing)):
        storage.backend.put(storage.source(b"two"), storage.path("folder/two"), nobody)
    storage.backend.put(storage.source(b"two"), storage.path("folder/two"), nobody)
    assert storage.names() == {"folder/two"}


@pytest.mark.parametrize("name", ["https", "webdav-rclone", "webdav-wsgidav"])
def test_a_rename_of_nothing_does_not_cost_the_target(storages: Farm, tmp_path: Path, name: str) -> None:
    """rclone removes the target of MOVE before it looks for the source."""
    storage = storage_at(storages, name, tmp_path)
    storage.backend.write(storage.path("d/file"), [b"precious"], 8)
    with pytest.raises(FileMissing):
        storage.backend.rename(storage.path("d/nothing"), storage.path("d/file"))
    assert storage.content(storage.path("d/file")) == b"precious"


@pytest.mark.parametrize("name", ["file with spaces", "per%cent", "a#b?c", "plus+and&", "ünï.root"])
def test_names_are_quoted_in_urls(storages: Farm, tmp_path: Path, name: str) -> None:
    storage = storage_at(storages, "webdav-rclone", tmp_path)
    storage.backend.write(storage.path(f"f/{name}"), [b"x"], 1)
    assert storage.names() == {f"f/{name}"}
    storage.backend.rename(storage.path(f"f/{name}"), storage.path(f"f/{name}2"))
    assert storage.names() == {f"f/{name}2"}


def test_xrootd_sums_up_and_others_say_that_they_do_not(storages: Farm, tmp_path: Path) -> None:
    for name, digest in (("https", SUM), ("webdav-rclone", None), ("webdav-wsgidav", None)):
        storage = storage_at(storages, name, tmp_path)
        storage.backend.put(storage.source(CONTENT), storage.path("file"), nobody)
        assert storage.backend.digest(storage.path("file")) == digest


@pytest.mark.parametrize(
    ("digest", "repr_digest", "read"),
    [
        ("adler32=3da0195", None, "03da0195"),
        ("MD5=HUXZLQLMuI/KZ5KDcJPcOA==,ADLER32=03DA0195", None, "03da0195"),
        (None, "sha-256=:aaaa:, adler=:A9oBlQ==:", "03da0195"),
        ("MD5=HUXZLQLMuI/KZ5KDcJPcOA==", None, None),
        (None, None, None),
    ],
)
def test_digests_are_read_as_both_standards_write_them(
    digest: str | None, repr_digest: str | None, read: str | None
) -> None:
    assert _adler32(digest, repr_digest) == read


def test_a_wrong_password_says_which_file_to_renew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with rclone_webdav(None, "user", "right") as server:
        password = tmp_path / "password"
        password.write_text("expired\n")
        secrets = tmp_path / "storages.toml"
        secrets.write_text(f'["{server.url}"]\nuser = "user"\npassword_file = "{password}"\n')
        monkeypatch.setenv(VARIABLE, str(secrets))
        with pytest.raises(StorageDenied) as caught:
            place(f"{server.url}/file").backend.size("/file")
        assert str(password) in caught.value.hint
        password.write_text("right\n")
        assert place(f"{server.url}/file").backend.size("/file") is None
        backends.forget()


def test_without_credentials_the_hint_says_where_they_belong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "none.toml"))
    with rclone_webdav(None, "user", "right") as server:
        with pytest.raises(StorageDenied) as caught:
            place(f"{server.url}/file").backend.write("/file", [b"x"], 1)
        assert str(tmp_path / "none.toml") in caught.value.hint
        backends.forget()


def test_a_server_whose_certificate_nobody_signed_is_not_trusted(storages: Farm) -> None:
    backend = WebDav(storages.server("https").server, {})
    with pytest.raises(BadStorage, match="cannot trust") as caught:
        backend.size("/store/file")
    assert "ca =" in caught.value.hint


def test_a_client_certificate_is_shown(tmp_path: Path) -> None:
    needs("openssl")
    certificates = make_certificates(tmp_path / "tls")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates.ca))
    context.load_cert_chain(certificates.certificate, certificates.key)
    context.verify_mode = ssl.CERT_REQUIRED

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "7")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        url, trust = f"https://127.0.0.1:{server.server_port}", {"ca": str(certificates.ca)}
        own = {"cert": str(certificates.certificate), "key": str(certificates.key)}
        assert WebDav(url, trust | own).size("/file") == 7
        with pytest.raises(BadStorage):
            WebDav(url, trust).size("/file")
        server.shutdown()
        thread.join()


def test_a_server_that_dies_in_an_upload_ends_it_in_time(own: tuple[Storage, int]) -> None:
    storage, pid = own
    started = time.monotonic()
    with pytest.raises(StorageTimeout):
        storage.backend.put(storage.source(CONTENT), storage.path("file"), lambda _: os.kill(pid, signal.SIGKILL))
    assert time.monotonic() - started < base.TIMEOUT_S


def test_a_server_that_dies_in_a_download_leaves_nothing_here(own: tuple[Storage, int]) -> None:
    storage, pid = own
    storage.backend.put(storage.source(CONTENT), storage.path("file"), nobody)
    with pytest.raises(StorageTimeout):
        storage.backend.get(storage.path("file"), storage.here / "back", lambda _: os.kill(pid, signal.SIGKILL))
    assert not (storage.here / "back").exists()
    with pytest.raises(StorageTimeout):
        storage.backend.size(storage.path("file"))


def test_a_server_that_falls_silent_is_given_up(own: tuple[Storage, int], monkeypatch: pytest.MonkeyPatch) -> None:
    storage, pid = own
    storage.backend.put(storage.source(CONTENT), storage.path("file"), nobody)
    monkeypatch.setattr(base, "TIMEOUT_S", 0.7)
    with pytest.raises(StorageTimeout):
        storage.backend.get(storage.path("file"), storage.here / "back", lambda _: os.kill(pid, signal.SIGSTOP))
    os.kill(pid, signal.SIGCONT)
    assert storage.backend.size(storage.path("file")) == len(CONTENT)


def test_an_answer_that_ends_early_is_no_file(tmp_path: Path) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b"x" * 999)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        backend = WebDav(f"http://127.0.0.1:{server.server_port}", {})
        with pytest.raises(StorageTimeout):
            backend.get("/file", tmp_path / "back", nobody)
        with pytest.raises(StorageTimeout):
            list(backend.read("/file"))
        server.shutdown()
        thread.join()
    assert not (tmp_path / "back").exists()


def test_a_connection_that_the_server_closed_is_replaced() -> None:
    """cheroot closes what is idle after 10 s; this one at once."""
    accepted: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            for _ in range(3):
                connection, _address = server.accept()
                accepted.append(1)
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        backend = WebDav(f"http://127.0.0.1:{server.getsockname()[1]}", {})
        assert [backend.size("/file") for _ in range(3)] == [7, 7, 7]
        thread.join()
    assert len(accepted) == 3


def test_a_space_that_the_server_tells_is_known(storages: Farm, tmp_path: Path) -> None:
    storage = storage_at(storages, "webdav-wsgidav", tmp_path)
    disk = os.statvfs(storages.server("webdav-wsgidav").folder)
    free = storage.backend.free("/")
    assert free is not None
    assert abs(free - disk.f_bavail * disk.f_frsize) < disk.f_blocks * disk.f_frsize / 10


@contextmanager
def forgetful() -> Iterator[tuple[str, list[str]]]:
    """A server that answers one question over each connection; its URL, and how it was asked."""
    asked: list[str] = []
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        answered = False

        def do_HEAD(self) -> None:
            asked.append(self.headers.get("Connection", "kept"))
            if self.answered:
                over.wait(20)
                self.close_connection = True
                return
            self.answered = True
            self.send_response(200)
            self.send_header("Digest", f"adler32={SUM}")
            self.send_header("Content-Length", "5")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            over.set()
            server.shutdown()
            thread.join()


def test_a_digest_that_is_forgotten_on_a_kept_connection_is_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webdav, "SOON_S", 0.2)
    monkeypatch.setattr(webdav, "REST_S", 0.0)
    with forgetful() as (url, asked):
        backend = WebDav(url, {})
        assert [backend.digest("/file", 5) for _ in range(2)] == [SUM, SUM]
    assert asked == ["kept", "kept", "close"]


def test_a_connection_rests_after_a_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webdav, "REST_S", 60.0)
    with forgetful() as (url, asked):
        backend = WebDav(url, {})
        assert [backend.digest("/file", 5) for _ in range(3)] == [SUM, SUM, SUM]
    assert asked == ["kept"] * 3


def test_the_digest_of_a_large_file_is_waited_for_on_a_connection_of_its_own() -> None:
    with forgetful() as (url, asked):
        assert WebDav(url, {}).digest("/file", webdav.SUMMED_SOON + 1) == SUM
    assert asked == ["close"]
