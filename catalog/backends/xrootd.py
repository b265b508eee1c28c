"""XRootD's own protocol (``root://``), by pyxrootd with several requests in flight.

Not by fsspec-xrootd: it has no put_file, breaks ``get`` of more than 256 files, leaves what breaks off under its
final name, and waits for ever. Nor by pyxrootd's CopyProcess, which is xrdcp: blocks of 2 MB that are summed up while
the next ones are under way took half its time for 1 GiB.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from pathlib import Path, PurePosixPath
from threading import BoundedSemaphore
from typing import IO, Any, TypeAlias, cast
from urllib.parse import parse_qs, quote

from XRootD import client
from XRootD.client.flags import DirListFlags, OpenFlags, QueryCode, StatInfoFlags
from XRootD.client.responses import XRootDStatus
from zlib_ng import zlib_ng

from ..errors import BadStorage, CatalogError, FileMissing, StorageDenied, StorageFull, StorageTimeout
from . import base, place
from .base import SUMS_AT_ONCE, Entry, Told
from .credentials import renewal
from .local import explained, received

Answer: TypeAlias = tuple[XRootDStatus, Any]

REQUEST = 2 * 1024 * 1024
"""Bytes asked for at a time: they fit a core's cache, so that summing up and writing cost little."""
IN_FLIGHT = 4
"""Requests before the first answer is waited for; with REQUEST the memory of a transfer."""
THIRD_PARTY_BYTES = 512 * 1024 * 1024
"""Smaller files are streamed: a third-party copy costs 2.5 s however small the file is."""
SLOWEST = 10_000_000
"""Bytes per second that a server reads, sums up or copies at least: long jobs get time by it."""
SUMMING_S = 600
"""How long a server may sum up a file before it is given up."""
MODE = 0o644

for _name, _value in (
    ("ConnectionWindow", 10),  # a dead server is noticed in 10 s, not in half an hour; XRD_... of the shell wins
    ("ConnectionRetry", 1),
    ("StreamErrorWindow", 0),
    ("TimeoutResolution", 1),
):
    client.EnvPutInt(_name, _value)

# Codes of XProtocol.hh (errno) and XrdClStatus.hh (code).
_MISSING = (3011,)
_DENIED = (3010, 3025, 3028, 3030)
_FULL = (3009, 3021)
_SILENT = (*range(101, 110), 206, 207)
_UNAUTHENTICATED = (203, 204)
_NO_THIRD_PARTY = (13,)


class XRootD:
    """One XRootD server or redirector."""

    renames = True
    third_party: str | None = "root"

    def __init__(self, url: str, credentials: dict[str, Any]) -> None:
        self.url = url
        self._opaque = _opaque(credentials)
        self._fs = client.FileSystem(url)
        self._summing = BoundedSemaphore(SUMS_AT_ONCE)

    def size(self, path: str) -> int | None:
        try:
            info = self._ask("look at", path, self._fs.stat(self._at(path), timeout=_patience()))
        except FileMissing:
            return None
        return None if info.flags & StatInfoFlags.IS_DIR else int(info.size)

    def digest(self, path: str, bytes: int | None = None) -> str | None:  # noqa: A002
        """From the server, which keeps it beside the file: right for a new one, no proof that an old one is whole."""
        asked = "&".join(filter(None, [f"{_plain(path)}?cks.type=adler32", self._opaque]))
        with self._summing:
            status, answer = self._fs.query(QueryCode.CHECKSUM, asked, timeout=max(SUMMING_S, _patience()))
        if "not supported" in status.message:
            return None
        kind, _, checksum = _text(self._ask("sum up", path, (status, answer))).partition(" ")
        return checksum.strip().lower().zfill(8) if kind == "adler32" else None

    def read(self, path: str, start: int = 0) -> Iterator[bytes]:
        return self._arrivals(path, start)

    def write(self, path: str, blocks: Iterable[bytes], bytes: int) -> None:  # noqa: A002
        self._store(
            path, (block[at : at + REQUEST] for block in blocks for at in range(0, len(block), REQUEST)), _deaf
        )

    def get(self, path: str, target: Path, told: Told) -> str:
        return received(self._arrivals(path), target, told)

    def put(self, source: Path, path: str, told: Told) -> str:
        with explained(str(source), "read"):
            file = source.open("rb", buffering=0)
        with file:
            return self._store(path, _blocks(file, source), told)

    def copy(self, source: str, target: str) -> bool:
        """The server fetches from itself: it knows no other copy."""
        there = self.size(source)
        if there is None:
            raise _missing(f"{self.url}/{_plain(source)}")
        return self.pull(f"{self.url}/{quote(_plain(source))}", target, there)

    def pull(self, source_url: str, path: str, bytes: int) -> bool:  # noqa: A002
        if bytes < THIRD_PARTY_BYTES:
            return False
        copy = client.CopyProcess()
        source = place(source_url)
        copy.add_job(
            cast("XRootD", source.backend)._link(source.path),
            self._link(path),
            thirdparty="only",
            mkdir=True,
            inittimeout=_patience(),
            tpctimeout=_patience() + bytes // SLOWEST,
        )
        try:
            self._ask("copy to", path, (copy.prepare(), None))
            status, _ = copy.run()
            if status.code in _NO_THIRD_PARTY:
                self.delete(path)
                return False
            self._ask("copy to", path, (status, None), missing=source_url)
        except BaseException:  # a failed one leaves an empty file
            with suppress(CatalogError):
                self.delete(path)
            raise
        return True

    def rename(self, source: str, target: str) -> None:
        answer = self._fs.mv(self._at(source), self._at(target), timeout=_patience())
        self._ask("rename", source, answer)

    def delete(self, path: str) -> None:
        with suppress(FileMissing):
            self._ask("delete", path, self._fs.rm(self._at(path), timeout=_patience()))

    def list(self, folder: str) -> Iterator[Entry]:
        try:
            answer = self._fs.dirlist(self._at(folder), DirListFlags.STAT, timeout=_patience())
            entries = self._ask("list", folder, answer)
        except FileMissing:
            return
        for entry in entries or ():
            path = f"{folder.rstrip('/')}/{entry.name}"
            if entry.statinfo is None:  # deleted meanwhile
                continue
            if entry.statinfo.flags & StatInfoFlags.IS_DIR:
                yield from self.list(path)
            else:
                yield Entry(path, int(entry.statinfo.size))

    def free(self, folder: str) -> int | None:
        """Asked of the next folder above that exists: of one that does not, the server says 0."""
        at, free = PurePosixPath(_plain(folder)), None
        for above in (at, *at.parents):
            status, answer = self._fs.query(QueryCode.SPACE, self._at(str(above)), timeout=_patience())
            if status.code in _SILENT:
                self._ask("look at", folder, (status, answer))
            if status.ok and "oss.free" in (space := parse_qs(_text(answer))):
                free = int(space["oss.free"][0])
            if free:
                break
        return free

    def opening(self, path: str) -> tuple[str, dict[str, Any]]:
        return f"{self.url}/{_plain(path)}", {}

    def _at(self, path: str) -> str:
        return f"{_plain(path)}?{self._opaque}" if self._opaque else _plain(path)

    def _link(self, path: str) -> str:
        return f"{self.url}/{self._at(path)}"

    def _arrivals(self, path: str, start: int = 0) -> Generator[bytes, None, None]:
        """The blocks of a file from a byte on, in their order, the next ones under way."""
        file = client.File()
        self._ask("open", path, file.open(self._link(path), OpenFlags.READ, timeout=_patience()))
        under_way: deque[Future[Answer]] = deque()
        try:
            end = int(self._ask("look at", path, file.stat(timeout=_patience())).size)
            for at in range(start, end, REQUEST):
                under_way.append(self._begun(path, file.read, at, min(REQUEST, end - at)))
                if len(under_way) == IN_FLIGHT:
                    yield self._ask("read", path, under_way.popleft().result())
            while under_way:
                yield self._ask("read", path, under_way.popleft().result())
        finally:
            wait(under_way)
            file.close(timeout=_patience())

    def _store(self, path: str, blocks: Iterable[bytes], told: Told) -> str:
        """Write a new file; the adler32 of the blocks. Nothing stays of what breaks off."""
        file = client.File()
        flags = OpenFlags.NEW | OpenFlags.UPDATE | OpenFlags.MAKEPATH
        self._ask("create", path, file.open(self._link(path), flags, MODE, timeout=_patience()))
        checksum, at = 1, 0
        under_way: deque[tuple[Future[Answer], bytes]] = deque()  # XrdCl reads the blocks where they are: keep them
        try:
            for block in blocks:
                under_way.append((self._begun(path, file.write, block, at), block))
                checksum, at = zlib_ng.adler32(block, checksum), at + len(block)
                if len(under_way) == IN_FLIGHT:
                    told(self._written(path, *under_way.popleft()))
            while under_way:
                told(self._written(path, *under_way.popleft()))
            self._ask("close", path, file.close(timeout=_patience()))
        except BaseException:
            wait([answer for answer, _ in under_way])
            file.close(timeout=_patience())
            with suppress(CatalogError):  # the reason of the failure is worth more than the left-over's
                self.delete(path)
            raise
        return f"{checksum:08x}"

    def _begun(self, path: str, request: Callable[..., XRootDStatus], *arguments: Any) -> "Future[Answer]":
        """Send a request; its answer will be in the future."""
        future: Future[Answer] = Future()

        def answered(status: XRootDStatus, answer: Any, _: object) -> None:
            future.set_result((status, answer))

        try:
            self._ask("reach", path, (request(*arguments, timeout=_patience(), callback=answered), None))
        except ValueError as error:  # pyxrootd's word for a file whose connection broke
            raise _silence("reach", f"{self.url}/{_plain(path)}", "the connection broke") from error
        return future

    def _written(self, path: str, answer: "Future[Answer]", block: bytes) -> int:
        self._ask("write", path, answer.result())
        return len(block)

    def _ask(self, doing: str, path: str, answer: Answer, missing: str = "") -> Any:
        """What the server answered, or the catalog's error for its refusal."""
        status, said = answer
        if not status.ok:
            raise _refusal(doing, self.url, _plain(path), status, missing)
        return said


def _opaque(credentials: dict[str, Any]) -> str:
    """What XRootD wants to read behind a path: a bearer token, or the files of a grid certificate."""
    words = {"proxy": "xrd.gsiusrpxy", "cert": "xrd.gsiusrcrt", "key": "xrd.gsiusrkey"}
    given = [f"{word}={credentials[key]}" for key, word in words.items() if key in credentials]
    if "token" in credentials:
        given.append(f"authz=Bearer%20{credentials['token']}")
    return "&".join(given)


def _patience() -> int:
    """XrdCl counts in seconds, and 0 is for ever."""
    return max(1, round(base.TIMEOUT_S))


def _plain(path: str) -> str:
    """One slash in front, as many as the URL had."""
    return f"/{path.lstrip('/')}"


def _text(answer: bytes | None) -> str:
    return (answer or b"").rstrip(b"\0").decode(errors="replace")


def _deaf(_: int) -> None:
    """Nobody follows."""


def _blocks(file: IO[bytes], source: Path) -> Iterator[bytes]:
    while True:
        with explained(str(source), "read"):
            block = file.read(REQUEST)
        if not block:
            return
        yield block


def _missing(url: str) -> FileMissing:
    return FileMissing(f"there is no {url}", object=url, hint="was it deleted at the storage?")


def _refusal(doing: str, server: str, path: str, status: XRootDStatus, source: str) -> CatalogError:
    """The error for what a server answered, in its words; ``source``: what a third-party copy may have missed."""
    url = f"{server}/{path}"
    words = status.message.strip().removeprefix("[ERROR] ").removeprefix("Server responded with an error: ")
    if status.errno in _MISSING:
        return _missing(source or url)
    if status.errno in _FULL or "no space" in words:
        return StorageFull(
            f"no space left to {doing} {url}: {words}", object=url, hint="free space there, or raise the quota"
        )
    if status.errno in _DENIED or status.code in _UNAUTHENTICATED:
        return StorageDenied(f"not allowed to {doing} {url}: {words}", object=url, hint=renewal(server))
    if status.code in _SILENT:
        return _silence(doing, url, words)
    return BadStorage(f"cannot {doing} {url}: {words}", object=url, hint="check the storage and its log")


def _silence(doing: str, url: str, words: str) -> StorageTimeout:
    return StorageTimeout(
        f"no answer to {doing} {url}: {words}", object=url, hint="check that the storage runs and can be reached"
    )
