"""Requests to an HTTP storage, with the standard library: redirects, early refusals, words for what goes wrong."""

from __future__ import annotations

import http.client
import re
import select
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from .errors import DiskFull, PilotError, StorageError
from .store import SILENCE_S, Sink, Source
from .stores_credentials import renewal

CONNECT_S = 20.0
WORKING_S = 600.0
"""Silence that is borne while a server sums up a file."""
CONTINUE_S = 1.0
"""How long a server may take to say that it wants the file; then it is sent unasked."""
REDIRECTS = 5
PIECE = 1 << 18
RUNS = "check that the storage runs and can be reached from this node"

_MOVED = (301, 302, 303, 307, 308)
_FULL = re.compile("no space left|not enough space|quota ?exceeded|disk full|StorageFull", re.IGNORECASE)


class Request(NamedTuple):
    method: str
    url: str
    headers: Mapping[str, str] = {}
    source: Source | None = None


class Http:
    """One server, ``scheme://host:port``; a connection for each request. ``name``: of its table of credentials."""

    def __init__(self, server: str, credentials: Mapping[str, str], name: str = "") -> None:
        self._server = server
        self._name = name or server
        self._context = _context(server, credentials) if server.startswith("https:") else None
        self._connection: http.client.HTTPConnection | None = None
        self._response: http.client.HTTPResponse | None = None

    @contextmanager
    def ask(self, request: Request, *good: int) -> Iterator[http.client.HTTPResponse]:
        """The answer, whose body is read inside; StorageError if its status is not one of ``good``."""
        with _in_words(request, self._name):
            try:
                answer = self._answer(request)
                if answer.status not in good:
                    raise _refusal(request, self._name, answer)
                yield answer
            finally:
                self._close()

    def status(self, request: Request, *good: int) -> int:
        with self.ask(request, *good) as answer:
            return answer.status

    def get(self, request: Request, sink: Sink) -> None:
        with self.ask(request, 200) as answer:
            left = answer.length
            while block := answer.read(PIECE):
                left = None if left is None else left - len(block)
                sink(block)
            if left:
                raise OSError(f"the connection broke off {left} bytes before the end")

    def cut(self) -> None:
        connection = self._connection
        sock = connection.sock if connection else None
        if sock is not None:
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # of an SSLSocket too: its own would forget its TLS

    def _answer(self, request: Request) -> http.client.HTTPResponse:
        """From where the server sends us, if it does: dCache and XRootD's redirectors do so with each file."""
        for _ in range(REDIRECTS):
            answer = self._exchange(request)
            to = answer.getheader("Location") if answer.status in _MOVED else None
            if to is None:
                return answer
            self._close()
            url = urljoin(request.url, to)
            headers = request.headers
            if urlsplit(url)[:2] != urlsplit(self._server)[:2]:  # secrets are for the server that was named
                headers = {name: value for name, value in headers.items() if name != "Authorization"}
            request = request._replace(url=url, headers=headers)
        raise OSError(f"sent elsewhere {REDIRECTS} times")

    def _exchange(self, request: Request) -> http.client.HTTPResponse:
        parts = urlsplit(request.url)
        connection = self._connect(parts.scheme, parts.hostname or "", parts.port)
        connection.sock.settimeout(WORKING_S if request.source or "Want-Digest" in request.headers else SILENCE_S)
        target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        connection.putrequest(request.method, target, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", parts.netloc)
        for name, value in request.headers.items():
            connection.putheader(name, value)
        if request.source:
            connection.putheader("Content-Length", str(request.source.size))
            if request.source.size:  # XRootD invites to send nothing, and waits for it
                connection.putheader("Expect", "100-continue")
        connection.endheaders()
        answer = self._response = http.client.HTTPResponse(connection.sock, method=request.method)
        if request.source and request.source.size:
            _upload(connection.sock, answer, request.source)
        answer.begin()
        return answer

    def _connect(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        """An HTTPSConnection would hide its socket during the handshake, where nobody could cut it."""
        secure = scheme == "https"
        connection = http.client.HTTPConnection(host, port or (443 if secure else 80), timeout=CONNECT_S)
        self._connection = connection
        connection.connect()
        if secure:
            context = self._context or ssl.create_default_context()
            sock = context.wrap_socket(connection.sock, server_hostname=host, do_handshake_on_connect=False)
            connection.sock = sock
            sock.do_handshake()
        return connection

    def _close(self) -> None:
        for each in (self._response, self._connection):
            if each:
                each.close()
        self._response = self._connection = None


def _upload(sock: socket.socket, answer: http.client.HTTPResponse, source: Source) -> None:
    """Send the file, unless the server answers before it has all of it: a redirect, a refusal."""
    if _answered(sock, answer, CONTINUE_S):
        return
    sock.settimeout(SILENCE_S)
    try:
        for block in source.blocks():
            if _answered(sock, answer, 0):
                return
            sock.sendall(block)
    except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):  # closed on us: it may have said why
        if not _answered(sock, answer, 1):
            raise
    sock.settimeout(WORKING_S)


def _answered(sock: socket.socket, answer: http.client.HTTPResponse, wait_s: float) -> bool:
    """Whether the answer begins to come within a time; an invitation to go on is none, and ends the waiting.

    Over TLS there may be something to read that is no answer.
    """
    until, patience_s = time.monotonic() + wait_s, sock.gettimeout()
    stream: Any = answer.fp
    while select.select([sock], [], [], max(0.0, until - time.monotonic()))[0]:
        sock.settimeout(0)
        try:
            begun = stream.peek(1)
        except (ssl.SSLWantReadError, BlockingIOError):
            continue
        finally:
            sock.settimeout(patience_s)
        if not re.match(rb"HTTP/1\.. 100", begun):
            return bool(begun)
        while stream.readline() not in (b"\r\n", b"\n", b""):
            pass
        return False
    return False


def _context(server: str, credentials: Mapping[str, str]) -> ssl.SSLContext:
    """Trusts the authorities in ``ca`` (a file, or a folder: /etc/grid-security/certificates), else the system's."""
    ca, own = credentials.get("ca"), credentials.get("cert") or credentials.get("proxy")
    try:
        folder = bool(ca) and Path(str(ca)).is_dir()
        context = ssl.create_default_context(cafile=None if folder else ca, capath=ca if folder else None)
        if own:
            context.load_cert_chain(own, credentials.get("key"))
    except OSError as error:  # an SSLError is one
        raise StorageError(
            f"cannot use the certificates for {server}: {error}", object=server, hint=renewal(server)
        ) from None
    return context


@contextmanager
def _in_words(request: Request, server: str) -> Iterator[None]:
    try:
        yield
    except PilotError:
        raise
    except ssl.SSLCertVerificationError as error:
        raise StorageError(
            f"cannot trust {server}: {error.verify_message}",
            object=request.url,
            hint=f'check its certificate, or name who signed it: ca = "FILE" in the credentials of {server}',
        ) from None
    except (OSError, http.client.HTTPException) as error:
        words, hint = str(error) or type(error).__name__, RUNS
        if isinstance(error, ssl.SSLError) and "CERTIFICATE" in (error.reason or ""):
            hint = renewal(server)
        elif request.source:
            hint += ", and its space: some close the connection without a word when their disk is full"
        raise StorageError(
            f"no answer to {request.method} {public(request)}: {words}", object=server, hint=hint
        ) from None


def public(request: Request) -> str:
    """The URL without what a redirect may have written into it."""
    return request.url.partition("?")[0]


def _refusal(request: Request, server: str, answer: http.client.HTTPResponse) -> StorageError:
    page = answer.read(PIECE).decode(errors="replace") if request.method != "HEAD" else ""
    plain = " ".join(re.sub(r"<style.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL).split())
    said = f"{answer.status} {answer.reason} {plain[:300]}".strip()
    did = f"{request.method} {public(request)}: {said}"
    if answer.status in (404, 410):
        return StorageError(f"not there: {did}", object=request.url, hint="was it deleted at the storage?")
    if answer.status in (413, 507) or _FULL.search(page):
        return DiskFull(f"storage is full: {did}", object=request.url, hint="free some space there")
    if answer.status in (401, 403):
        return StorageError(f"not allowed: {did}", object=request.url, hint=renewal(server))
    return StorageError(f"refused: {did}", object=request.url, hint="check the storage, its space and its log")
