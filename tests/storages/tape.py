"""A tape library behind WebDAV that speaks the WLCG Tape REST API v1, as gfal2 and the document want it.

A file below its folder is on tape until a stage request has brought it to disk, which takes ``recall_s``; reading one
that is not on disk is refused. It stands in for dCache, EOS+CTA and StoRM, none of which can run here.
"""

import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from .servers import free_port

API = "/api/v1"


@dataclass
class Library:
    """What the server does; tests set it as they like. Paths are those of URLs."""

    folder: Path
    url: str
    recall_s: float = 0.0
    states: bool = False
    """Whether polls tell a ``state`` instead of ``onDisk``."""
    slash: bool = False
    """Whether only addresses with a slash at their end are known."""
    few: int = 10_000
    """For how many paths of one call archiveinfo answers."""
    failing: dict[str, str] = field(default_factory=dict)
    """Paths that cannot be read from tape, with the reason."""
    gone: set[str] = field(default_factory=set)
    """Paths that the tape has lost."""
    down: bool = False
    requests: dict[str, dict[str, float]] = field(default_factory=dict)
    cancelled: dict[str, set[str]] = field(default_factory=dict)
    released: dict[str, set[str]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def api(self) -> str:
        return f"{self.url}{API}"

    def put(self, path: str, content: bytes) -> None:
        at = self.folder / path.lstrip("/")
        at.parent.mkdir(parents=True, exist_ok=True)
        at.write_bytes(content)

    def on_disk(self, path: str) -> bool:
        """A staged file stays until its request is released or forgotten."""
        return any(
            path in files
            and path not in self.cancelled[request]
            and path not in self.failing
            and time.monotonic() >= files[path]
            for request, files in self.requests.items()
            if path not in self.released[request]
        )

    def file(self, path: str) -> Path | None:
        at = self.folder / path.lstrip("/")
        return at if at.is_file() else None

    # The interface

    def stage(self, body: Any) -> tuple[int, Any]:
        request = uuid.uuid4().hex
        due = time.monotonic() + self.recall_s
        self.requests[request] = {entry["path"]: due for entry in body["files"]}
        self.cancelled[request], self.released[request] = set(), set()
        return 201, {"requestId": request}

    def poll(self, request: str) -> tuple[int, Any]:
        files = [self.progress(request, path) for path in reversed(self.requests[request])]
        return 200, {"id": request, "createdAt": 1, "startedAt": 1, "files": files}

    def progress(self, request: str, path: str) -> Any:
        error = self.failing.get(path) or (None if self.file(path) else "no such file")
        cancelled = path in self.cancelled[request]
        here = not error and not cancelled and time.monotonic() >= self.requests[request][path]
        if self.states:
            state = "CANCELLED" if cancelled else "FAILED" if error else "COMPLETED" if here else "STARTED"
            return {"path": path, "state": state} | ({"error": error} if error else {})
        return {"path": path, "onDisk": here} | ({"error": error} if error else {})

    def cancel(self, request: str, body: Any) -> tuple[int, Any]:
        if not set(body["paths"]) <= self.requests[request].keys():
            return 400, {"status": 400, "title": "a path is not of this request"}
        self.cancelled[request] |= set(body["paths"])
        return 200, {}

    def release(self, request: str, body: Any) -> tuple[int, Any]:
        self.released[request] |= set(body["paths"])
        return 200, {}

    def archiveinfo(self, body: Any) -> tuple[int, Any]:
        return 200, [self.locality(path) for path in body["paths"][: self.few]]

    def locality(self, path: str) -> Any:
        if path in self.gone:
            return {"path": path, "locality": "LOST"}
        if self.file(path) is None:
            return {"path": path, "error": "no such file"}
        return {"path": path, "locality": "DISK_AND_TAPE" if self.on_disk(path) else "TAPE"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    library: Library

    def do_GET(self) -> None:
        path = self.path_
        if path.rstrip("/") == "/.well-known/wlcg-tape-rest-api":
            endpoint = {"uri": self.library.api, "version": "v1"}
            self.answer(200, {"sitename": "mock", "endpoints": [{"uri": "x", "version": "v0"}, endpoint]})
        elif path.startswith(f"{API}/"):
            self.call(path, None)
        else:
            self.send_file(path)

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        self.call(self.path_, json.loads(self.body() or b"{}"))

    def do_DELETE(self) -> None:
        self.call(self.path_, None)

    def do_PROPFIND(self) -> None:
        """As much of WebDAV as a client wants that looks at one file."""
        self.body()
        at = self.library.folder / self.path_.lstrip("/")
        if not at.exists():
            self.answer(404, {})
            return
        kind = "<D:collection/>" if at.is_dir() else ""
        size = 0 if at.is_dir() else at.stat().st_size
        text = (
            f'<?xml version="1.0"?><D:multistatus xmlns:D="DAV:"><D:response><D:href>{self.path_}</D:href>'
            f"<D:propstat><D:prop><D:resourcetype>{kind}</D:resourcetype><D:getcontentlength>{size}</D:getcontentlength></D:prop>"
            "<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>"
        )
        self.send(207, text.encode(), "application/xml")

    @property
    def path_(self) -> str:
        return unquote(urlsplit(self.path).path)

    def call(self, path: str, body: Any) -> None:
        library = self.library
        with library.lock:
            library.calls.append(f"{self.command} {path}")
            if library.down:
                self.answer(503, {"status": 503, "title": "the library is closed"})
                return
            if library.slash and not path.endswith("/"):
                self.answer(404, {"status": 404, "title": "no such address"})
                return
            self.answer(*self.dispatch(path.removeprefix(f"{API}/").rstrip("/").split("/"), body))

    def dispatch(self, parts: list[str], body: Any) -> tuple[int, Any]:
        library = self.library
        if self.command == "POST" and parts in (["stage"], ["archiveinfo"]):
            return getattr(library, parts[0])(body)  # type: ignore[no-any-return]
        if len(parts) < 2 or parts[1] not in library.requests:
            return 404, {"status": 404, "title": "no such request"}
        if self.command == "GET" and parts[0] == "stage":
            return library.poll(parts[1])
        if self.command == "DELETE" and parts[0] == "stage":
            for known in (library.requests, library.cancelled, library.released):
                known.pop(parts[1])
            return 200, {}
        if self.command == "POST" and parts[0] == "release":
            return library.release(parts[1], body)
        if self.command == "POST" and parts[2:] == ["cancel"]:
            return library.cancel(parts[1], body)
        return 405, {"status": 405, "title": "not like this"}

    def send_file(self, path: str) -> None:
        at = self.library.file(path)
        if at is None:
            self.answer(404, {})
        elif not self.library.on_disk(path):
            self.answer(409, {"title": "the file is on tape"})
        else:
            self.send(200, at.read_bytes(), "application/octet-stream")

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status: int, document: Any) -> None:
        self.send(status, json.dumps(document).encode(), "application/json")

    def send(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status, HTTPStatus(status).phrase)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def tape_library(folder: Path) -> Iterator[Library]:
    """A started library with nothing in it."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    library = Library(folder, f"http://127.0.0.1:{port}")
    handler = type("TapeHandler", (Handler,), {"library": library})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield library
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
