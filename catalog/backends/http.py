"""Requests to one HTTP server over connections that are kept, for storages.

On ``http.client``, not httpx: the body goes between socket and buffer past Python's parsers. From XRootD over TLS
1 GiB took 1.4 to 1.8 s of CPU against 2.8 to 3.0 s, and as long on the clock (curl: 1.5 to 2.1 s).
"""

import re
import select
import ssl
import threading
import time
import weakref
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import urljoin, urlsplit

from ..errors import BadStorage, CatalogError, FileMissing, StorageDenied, StorageFull, StorageTimeout
from . import base
from .credentials import renewal

Headers: TypeAlias = dict[str, str] | MappingProxyType[str, str]
Body: TypeAlias = Callable[[], Iterable[bytes | memoryview]]
"""Called for each try; raises Spent if it can be had only once."""

KEPT = 32
"""Idle connections that are kept to a server."""
SMALL = 64 * 1024
"""Bytes of an answer that are read so that its connection can be used again."""
REDIRECTS = 5
FIRST_LOOK_S = 0.3
"""How long the first upload waits for a server that sends it elsewhere, as dCache and XRootD's redirectors do."""

DEFAULT_PORTS = {"http": 80, "https": 443}

_MOVED = (301, 302, 303, 307, 308)
_FULL = re.compile("no space left|not enough space|quota exceeded|disk quota|disk full", re.IGNORECASE)


class Spent(Exception):
    """A body that can be sent only once would have to be sent again."""


class Request(NamedTuple):
    method: str
    url: str
    doing: str
    """Words for what goes wrong: cannot ``doing`` the URL."""
    headers: Headers = MappingProxyType({})
    body: Body | None = None
    length: int = 0
    patience_s: float | None = None
    """Silence that is borne, where the server has work to do before it answers."""


class _Idle(NamedTuple):
    connection: HTTPConnection
    rested: float


class Http:
    """One server, or the cluster behind it; threads share it.

    A connection rests for ``rest_s`` after an answer before it is used again; its turn comes after the others'.
    """

    def __init__(self, url: str, credentials: dict[str, Any], rest_s: float = 0.0) -> None:
        self.url = url
        self._rest_s = rest_s
        self._authorization = authorization(credentials)
        self._context = _context(credentials)
        self._idle: dict[tuple[str, int], deque[_Idle]] = {}
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._idle)
        self._redirects: bool | None = None

    @contextmanager
    def ask(self, request: Request, *good: int) -> Iterator[HTTPResponse]:
        """The answer, whose body is read inside; the catalog's error if its status is not one of ``good``."""
        with reached(request.doing, request.url, self.url):
            connection, answer = self._answer(request)
            try:
                if answer.status not in good:
                    words = words_of(answer.reason, answer.read(SMALL))
                    raise refusal(request, self.url, answer.status, words)
                yield answer
            except BaseException:
                if not answer.isclosed():
                    connection.close()
                answer.close()
                raise
            finally:
                self._put_back(connection, answer)

    def status(self, request: Request, *good: int) -> int:
        """Ask, and look at the answer's status only."""
        with self.ask(request, *good) as answer:
            return answer.status

    def _answer(self, request: Request) -> tuple[HTTPConnection, HTTPResponse]:
        """From where the server sends us, if it does."""
        for _ in range(REDIRECTS):
            connection, answer = self._exchange(request)
            to = answer.getheader("Location") if answer.status in _MOVED else None
            if to is None:
                return connection, answer
            if request.body is not None:
                self._redirects = True
            answer.read()
            self._put_back(connection, answer)
            request = request._replace(url=urljoin(request.url, to))
        raise HTTPException(f"sent elsewhere {REDIRECTS} times")

    def _exchange(self, request: Request) -> tuple[HTTPConnection, HTTPResponse]:
        connection = self._kept(request.url)
        if connection is not None and request.body is None:
            try:
                return connection, self._sent(connection, request)
            except ConnectionError:  # closed by the server just now: that says nothing about the request
                connection = None
        connection = connection or self._new(request.url)
        return connection, self._sent(connection, request)

    def _sent(self, connection: HTTPConnection, request: Request) -> HTTPResponse:
        parts = urlsplit(request.url)
        try:
            connection.putrequest(request.method, f"{parts.path or '/'}{parts.query and '?'}{parts.query}")
            if self._authorization and request.url.startswith(f"{self.url}/"):  # not for those we are sent to
                connection.putheader("Authorization", self._authorization)
            for name, value in request.headers.items():
                connection.putheader(name, value)
            if request.body is not None:
                connection.putheader("Content-Length", str(request.length))
            connection.endheaders()
            connection.sock.settimeout(base.TIMEOUT_S)
            whole = request.body is None or self._upload(connection, request, request.body)
            connection.sock.settimeout(request.patience_s or base.TIMEOUT_S)
            answer = connection.getresponse()
        except BaseException:
            connection.close()
            raise
        connection.response_class = HTTPResponse
        answer.will_close |= not whole
        return answer

    def _upload(self, connection: HTTPConnection, request: Request, body: Body) -> bool:
        """Send the body; False if the server answered before it had all of it: a redirect, a refusal."""
        answer: Any = HTTPResponse(connection.sock, method=request.method)
        connection.response_class = lambda *_, **__: answer  # type: ignore[assignment]
        asked_here = request.url.startswith(f"{self.url}/")
        look_s = {None: FIRST_LOOK_S, True: base.TIMEOUT_S, False: 0.0}[self._redirects] if asked_here else 0.0
        if look_s and _arrived(connection, answer, look_s):
            return False
        self._redirects = bool(self._redirects)
        try:
            for block in body():
                if _arrived(connection, answer, 0):
                    return False
                connection.send(block)
        except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):  # closed on us: it may have said why
            try:
                if _arrived(connection, answer, 1):
                    return False
            except OSError:
                pass
            answer.close()
            raise
        except BaseException:
            answer.close()
            raise
        return True

    def _kept(self, url: str) -> HTTPConnection | None:
        parts = urlsplit(url)
        with self._lock:
            idle = self._idle.get((parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]), deque())
            while idle and time.monotonic() >= idle[0].rested:
                connection = idle.popleft().connection
                if not _readable(connection, 0):
                    return connection
                connection.close()  # what an idle connection has to say is that it ends
        return None

    def _new(self, url: str) -> HTTPConnection:
        parts = urlsplit(url)
        if parts.scheme == "https":
            return HTTPSConnection(parts.netloc, timeout=base.TIMEOUT_S, context=self._context)
        return HTTPConnection(parts.netloc, timeout=base.TIMEOUT_S)

    def _put_back(self, connection: HTTPConnection, answer: HTTPResponse) -> None:
        if not answer.isclosed() and not answer.chunked and (answer.length or 0) <= SMALL:
            answer.read()
        with self._lock:
            idle = self._idle.setdefault((connection.host, connection.port), deque())  # not where we asked first
            if connection.sock is not None and answer.isclosed() and not answer.will_close and len(idle) < KEPT:
                idle.append(_Idle(connection, time.monotonic() + self._rest_s))
                return
        answer.close()
        connection.close()


def authorization(credentials: dict[str, Any]) -> str | None:
    """The value of the header, for a token or a user with a password."""
    if "token" in credentials:
        return f"Bearer {credentials['token']}"
    if "user" in credentials:
        pair = f"{credentials['user']}:{credentials.get('password', '')}"
        return f"Basic {b64encode(pair.encode()).decode()}"
    return None


def _context(credentials: dict[str, Any]) -> ssl.SSLContext:
    """Trusts the authorities in ``ca`` (a file, or a folder: /etc/grid-security/certificates), else the system's."""
    own = own_certificate(credentials)
    try:
        file, folder = authorities(credentials)
        context = ssl.create_default_context(cafile=file, capath=folder)
        if own:
            context.load_cert_chain(own, credentials.get("key"))
    except OSError as error:
        named = f"{credentials.get('ca', '')} {own or ''}".strip()
        raise StorageDenied(f"cannot use a certificate: {error}", object=named, hint="correct the file") from error
    return context


def authorities(credentials: dict[str, Any]) -> tuple[str | None, str | None]:
    """The file and the folder of those who are trusted to sign; neither: the system's."""
    if "ca" not in credentials:
        return None, None
    ca = str(credentials["ca"])
    return (None, ca) if Path(ca).is_dir() else (ca, None)


def own_certificate(credentials: dict[str, Any]) -> str | None:
    return credentials.get("cert") or credentials.get("proxy")


@contextmanager
def reached(doing: str, url: str, server: str) -> Iterator[None]:
    """Turn what a connection raises into the catalog's errors."""
    try:
        yield
    except CatalogError:
        raise
    except ssl.SSLCertVerificationError as error:
        raise untrusted(url, server, error.verify_message) from error
    except ssl.SSLError as error:
        if "CERTIFICATE" in (error.reason or ""):
            raise refused(url, server, error.reason) from error
        raise silence(doing, url, _words(error)) from error
    except (OSError, HTTPException, Spent) as error:
        raise silence(doing, url, _words(error)) from error


def untrusted(url: str, server: str, words: str) -> BadStorage:
    hint = f'check its certificate, or name who signed it: ca = "FILE" in the credentials of {server}'
    return BadStorage(f"cannot trust {server}: {words}", object=url, hint=hint)


def refused(url: str, server: str, words: str) -> StorageDenied:
    """The server does not like our certificate."""
    return StorageDenied(f"{server} refuses: {words}", object=url, hint=renewal(server))


def refusal(request: Request, server: str, status: int, words: str) -> CatalogError:
    """The error for a server's answer."""
    doing, url = request.doing, request.url
    said = f"{status} {words}".strip()
    if status in (404, 410):
        return FileMissing(f"there is no {url}", object=url, hint="was it deleted at the storage?")
    if status in (413, 507) or _FULL.search(words):
        return StorageFull(
            f"no space left to {doing} {url}: {said}", object=url, hint="free space there, or raise the quota"
        )
    if status in (401, 403):
        return StorageDenied(f"not allowed to {doing} {url}: {said}", object=url, hint=renewal(server))
    return BadStorage(f"cannot {doing} {url}: {said}", object=url, hint="check the storage and its log")


def _close(idle: dict[tuple[str, int], deque[_Idle]]) -> None:
    for kept in idle.values():
        for each in kept:
            each.connection.close()


def silence(doing: str, url: str, words: str) -> StorageTimeout:
    hint = "check that the storage runs and can be reached"
    if doing == "write":
        hint += ", and its space: XRootD closes the connection without a word when its disk is full"
    return StorageTimeout(f"no answer to {doing} {url}: {words}", object=url, hint=hint)


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


def words_of(reason: str, page: bytes) -> str:
    """What a page of error says, without its mark-up."""
    text = page.decode(errors="replace")
    plain = " ".join(re.sub(r"<style.*?</style>|<[^>]*>", " ", text, flags=re.DOTALL).split())
    return f"{reason} {plain[:300]}".strip()


def _readable(connection: HTTPConnection, seconds: float) -> bool:
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def _arrived(connection: HTTPConnection, answer: Any, seconds: float) -> bool:
    """Whether the answer begins to come within a time. Over TLS there may be something to read that is no answer."""
    until = time.monotonic() + seconds
    while _readable(connection, max(0.0, until - time.monotonic())):
        connection.sock.settimeout(0)
        try:
            return bool(answer.fp.peek(1))
        except ssl.SSLWantReadError:
            continue
        finally:
            connection.sock.settimeout(base.TIMEOUT_S)
    return False
