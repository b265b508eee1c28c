"""Copies between two servers that do not pass the client: HTTP in both directions, root://, and how they fail."""

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import pytest
from zlib_ng import zlib_ng

from prodchain.catalog import backends
from prodchain.catalog.backends import base, markers, place
from prodchain.catalog.backends import xrootd as root_protocol
from prodchain.catalog.backends.base import Backend
from prodchain.catalog.backends.credentials import VARIABLE
from prodchain.catalog.errors import BadStorage, FileMissing, StorageDenied, StorageFull, StorageTimeout

from ...storages.certificates import make_certificates
from ...storages.farm import _table
from ...storages.servers import free_port, needs, open_folder
from ...storages.webdav import rclone_webdav
from ...storages.xrootd import XRootD, xrootd

CONTENT = random.Random(3).randbytes(3_000_001)
SUM = f"{zlib_ng.adler32(CONTENT):08x}"


class Pair(NamedTuple):
    one: XRootD
    other: XRootD


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    """Two XRootD servers that trust each other."""
    needs("openssl")
    with (
        open_folder() as at,
        xrootd(None, trusted := make_certificates(at / "tls")) as one,
        xrootd(None, trusted) as other,
        pytest.MonkeyPatch.context() as patch,
    ):
        secrets = at / "storages.toml"
        secrets.write_text("\n".join(_table(server) for server in (one.https, other.https)))
        patch.setenv(VARIABLE, str(secrets))
        yield Pair(one, other)
    backends.forget()


@pytest.fixture
def small_root_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(root_protocol, "THIRD_PARTY_BYTES", 0)


def stored(url: str, content: bytes = CONTENT) -> tuple[Backend, str]:
    """A new file at a server: its backend and URL."""
    at = place(f"{url}/{uuid4().hex}/source")
    at.backend.write(at.path, [content], len(content))
    return at.backend, at.url


def free_name(url: str) -> tuple[Backend, str]:
    at = place(f"{url}/{uuid4().hex}/a/target")
    return at.backend, at.path


@pytest.mark.parametrize("turned", [False, True])
def test_a_server_fetches_from_another_one_over_http(pair: Pair, turned: bool) -> None:
    one, other = (pair.other, pair.one) if turned else pair
    _, source = stored(one.https.url)
    backend, target = free_name(other.https.url)
    assert backend.pull(source, target, len(CONTENT))
    assert (backend.size(target), backend.digest(target)) == (len(CONTENT), SUM)


@pytest.mark.usefixtures("small_root_copies")
def test_a_server_fetches_from_another_one_over_root(pair: Pair) -> None:
    _, source = stored(pair.one.root.url)
    backend, target = free_name(pair.other.root.url)
    assert backend.pull(source, target, len(CONTENT))
    assert (backend.size(target), backend.digest(target)) == (len(CONTENT), SUM)
    assert backend.copy(target, f"{target}-2")
    assert backend.digest(f"{target}-2") == SUM


def test_small_files_are_not_worth_a_root_copy(pair: Pair) -> None:
    _, source = stored(pair.one.root.url)
    backend, target = free_name(pair.other.root.url)
    assert not backend.pull(source, target, len(CONTENT))
    assert backend.size(target) is None


def test_a_source_that_can_sends_to_a_server_that_cannot_fetch(pair: Pair) -> None:
    with rclone_webdav() as plain:
        _, source = stored(pair.one.https.url)
        backend, target = free_name(plain.url)
        assert backend.pull(source, target, len(CONTENT))
        assert b"".join(backend.read(target)) == CONTENT


def test_two_servers_that_cannot_say_so_and_leave_nothing(pair: Pair) -> None:
    with rclone_webdav() as one, rclone_webdav() as other:
        _, source = stored(one.url)
        backend, target = free_name(other.url)
        for _ in range(2):
            assert not backend.pull(source, target, len(CONTENT))
        assert backend.size(target) is None


@pytest.mark.usefixtures("small_root_copies")
@pytest.mark.parametrize("door", ["https", "root"])
def test_a_missing_source_is_named_and_the_empty_target_goes(pair: Pair, door: str) -> None:
    source = f"{getattr(pair.one, door).url}/nowhere/nothing"
    backend, target = free_name(getattr(pair.other, door).url)
    with pytest.raises(FileMissing) as caught:
        backend.pull(source, target, 10)
    assert caught.value.object == source
    assert backend.size(target) is None


@pytest.mark.usefixtures("small_root_copies")
@pytest.mark.parametrize("scheme", ["https", "root"])
def test_a_source_that_does_not_answer_leaves_nothing(pair: Pair, scheme: str) -> None:
    server = pair.other.https if scheme == "https" else pair.other.root
    backend, target = free_name(server.url)
    with pytest.raises(BadStorage):
        backend.pull(f"{scheme}://127.0.0.1:{free_port()}//store/file", target, 10)
    assert backend.size(target) is None


@contextmanager
def teller(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    """A server that answers COPY as it is told, and whatever else with success; its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_COPY(self) -> None:
            answer(self)

        def do_MKCOL(self) -> None:
            self.send_response(201)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_DELETE = do_MKCOL  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        backends.forget()
        server.shutdown()
        thread.join()


def telling(*lines: str, status: int = 201) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        body = "\n".join(lines).encode()
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


MARKER = (
    "Perf Marker",
    "Timestamp: 1",
    "Stripe Index: 0",
    "Stripe Bytes Transferred: 7",
    "Total Stripe Count: 1",
    "End",
)


@pytest.mark.parametrize(
    ("last", "error"),
    [
        ("failure: something odd", BadStorage),
        ("failure: Remote side failed with status code 404; error message: no such file", FileMissing),
        ("failure: Remote side failed with status code 403", StorageDenied),
        ("failure: write: no space left on device", StorageFull),
        ("End", BadStorage),
    ],
)
def test_only_the_last_line_says_how_a_copy_ended(last: str, error: type[Exception]) -> None:
    with teller(telling(*MARKER, "success: not yet", *MARKER, last)) as url:
        backend = place(f"{url}/x").backend
        with pytest.raises(error) as caught:
            backend.pull("https://127.0.0.1:1/source", "/f/target", 7)
        assert type(caught.value) is error
    with teller(telling(*MARKER, "success: Created")) as url:
        assert place(f"{url}/x").backend.pull("https://127.0.0.1:1/source", "/f/target", 7)


def test_created_without_a_word_is_no_copy() -> None:
    with teller(telling()) as url, pytest.raises(BadStorage, match="did not say"):
        place(f"{url}/x").backend.pull("https://127.0.0.1:1/source", "/f/target", 7)


def test_markers_that_stop_end_the_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "TIMEOUT_S", 0.5)
    over = threading.Event()

    def silent(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(201)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        handler.wfile.write("\n".join(MARKER).encode())
        handler.wfile.flush()
        over.wait(20)

    with teller(silent) as url:
        with pytest.raises(StorageTimeout):
            place(f"{url}/x").backend.pull("https://127.0.0.1:1/source", "/f/target", 7)
        over.set()


def test_markers_that_come_without_progress_end_the_copy() -> None:
    def forever() -> Iterator[bytes]:
        while True:
            yield from (f"{line}\n".encode() for line in MARKER)

    with pytest.raises(markers.Stalled):
        markers.end_of(forever(), 0.2)


def test_credentials_for_the_other_server_go_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, str | None] = {}

    def answer(handler: BaseHTTPRequestHandler) -> None:
        seen.update(own=handler.headers["Authorization"], other=handler.headers["TransferHeaderAuthorization"])
        telling("success: Created")(handler)

    with teller(answer) as url:
        secrets = tmp_path / "storages.toml"
        secrets.write_text(f'["{url}"]\ntoken = "mine"\n["https://source.example"]\nuser = "u"\npassword = "p"\n')
        monkeypatch.setenv(VARIABLE, str(secrets))
        assert place(f"{url}/x").backend.pull("https://source.example/file", "/f/target", 7)
    assert seen == {"own": "Bearer mine", "other": "Basic dTpw"}
