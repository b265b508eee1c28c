"""Reading over HTTP: ranges side by side, each summed up by itself and resumed where its connection broke.

On the standard library's connections: beside them a client that decodes, redirects and copies costs as much as the
transfer, and obstore refuses the ranges of servers that send them with status 200 (rclone).
"""

import ssl
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from threading import Event
from typing import NamedTuple
from urllib.parse import urlsplit
from weakref import finalize

from zlib_ng import zlib_ng

from . import base
from .base import BLOCK, Told
from .checksums import Part, joined
from .local import buffer, explained, write_at

RANGE = 32 * 1024 * 1024
AT_ONCE = 4
TRIES = 3
"""Connections that may break, one after the other, without a byte."""

_NO_SUCH_RANGE = 416


class Refused(Exception):
    """An answer that is not the file."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(f"HTTP {status} {words}".strip())
        self.status = status


class _Job(NamedTuple):
    target: str
    file: int
    name: str
    told: Told
    stopped: Event


class Reader:
    """The files of one server; threads share it."""

    def __init__(self, server: str, context: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(server)
        self._https, self._host, self._port = parts.scheme == "https", parts.hostname or "", parts.port
        self._context = context
        self._idle: list[HTTPConnection] = []
        finalize(self, _close, self._idle)
        self._helpers = ThreadPoolExecutor(AT_ONCE - 1, thread_name_prefix=f"ranges-{self._host}")

    def fetch(self, target: str, file: int, name: str, told: Told) -> str:
        """Bring what ``target`` (path and query) names into the empty file ``name``; the adler32 of what is there."""
        job, later = _Job(target, file, name, told, Event()), []
        try:
            with self._asked(target, 0, RANGE) as answer:
                total = _total(answer)
                end = min(RANGE, total) if "Content-Range" in answer.headers else total
                later = [
                    self._helpers.submit(self._part, job, at, min(at + RANGE, total))
                    for at in range(end, total, RANGE)
                ]
                first = _received(answer, job, 0)
            parts = [first, *self._part(job, first.bytes, end)]
            for future in later:
                parts += future.result()
        except Refused as refusal:
            if refusal.status != _NO_SUCH_RANGE:
                raise
            parts = []  # an empty file has no first byte
        finally:
            job.stopped.set()
            for future in later:
                future.cancel()
            wait(later)
        return joined(parts)

    def blocks(self, target: str, start: int = 0) -> Iterator[bytes]:
        """What ``target`` names from a byte on, one block after the other."""
        at, total, broken = start, None, 0
        while total is None or at < total:
            before = at
            try:
                with self._asked(target, at, None) as answer:
                    total = _total(answer)
                    while at < total and (block := _read(answer)):
                        at += len(block)
                        yield block
            except Refused as refusal:
                if refusal.status != _NO_SUCH_RANGE or at != start:
                    raise
                return
            broken = _count(broken, at - before, at, total)

    def _part(self, job: _Job, at: int, end: int) -> list[Part]:
        """From ``at`` to ``end``, in as many pieces as connections broke."""
        parts: list[Part] = []
        broken = 0
        while at < end:
            with self._asked(job.target, at, end) as answer:
                part = _received(answer, job, at)
            parts.append(part)
            at += part.bytes
            broken = _count(broken, part.bytes, at, end)
        return parts

    @contextmanager
    def _asked(self, target: str, at: int, end: int | None) -> Iterator[HTTPResponse]:
        """The answer to a request for a range; its connection is kept if the answer was read to its end."""
        connection, answer = self._answered(target, {"Range": f"bytes={at}-{'' if end is None else end - 1}"})
        try:
            if answer.status not in (200, 206):
                raise Refused(answer.status, answer.read(2000).decode(errors="replace"))
            if at and "Content-Range" not in answer.headers:
                raise Refused(answer.status, f"the server cannot go on at byte {at}")
            yield answer
        finally:
            if answer.isclosed() and not answer.will_close:
                self._idle.append(connection)
            else:
                connection.close()

    def _answered(self, target: str, headers: dict[str, str]) -> tuple[HTTPConnection, HTTPResponse]:
        """Ask over a kept connection; the server may have closed it meanwhile, then over a new one."""
        while True:
            try:
                connection, kept = self._idle.pop(), True
            except IndexError:
                connection, kept = self._connection(), False
            try:
                connection.request("GET", target, headers=headers)
                return connection, connection.getresponse()
            except BaseException as error:
                connection.close()
                if not kept or not isinstance(error, OSError | HTTPException) or isinstance(error, TimeoutError):
                    raise

    def _connection(self) -> HTTPConnection:
        if self._https:
            return HTTPSConnection(self._host, self._port, timeout=base.TIMEOUT_S, context=self._context)
        return HTTPConnection(self._host, self._port, timeout=base.TIMEOUT_S)


def _close(connections: list[HTTPConnection]) -> None:
    for connection in connections:
        connection.close()


def _received(answer: HTTPResponse, job: _Job, at: int) -> Part:
    """Write what arrives to the file, from byte ``at`` on, until the answer ends or its connection breaks."""
    hot = buffer.hot
    start, checksum = at, 1
    while got := _read_into(answer, hot):
        if job.stopped.is_set():
            raise CancelledError
        checksum = zlib_ng.adler32(hot[:got], checksum)
        with explained(job.name, "write"):
            write_at(job.file, hot[:got], at)
        at += got
        job.told(got)
    return Part(at - start, checksum)


def _read(answer: HTTPResponse) -> bytes:
    try:
        return answer.read(BLOCK)
    except TimeoutError:
        raise
    except (OSError, HTTPException):
        return b""


def _read_into(answer: HTTPResponse, hot: memoryview) -> int:
    """0 at the end, and where the connection broke: the caller knows how much is to come."""
    try:
        return answer.readinto(hot)
    except TimeoutError:
        raise
    except (OSError, HTTPException):
        return 0


def _total(answer: HTTPResponse) -> int:
    """Bytes of the whole file."""
    described = answer.headers.get("Content-Range", "").rpartition("/")[2] or answer.headers.get("Content-Length", "")
    if not described.isdigit():
        raise Refused(answer.status, "the server does not say how long the file is")
    return int(described)


def _count(broken: int, got: int, at: int, end: int) -> int:
    """Connections that broke in a row; ConnectionError when these are enough."""
    broken = 0 if got else broken + 1
    if broken == TRIES:
        raise ConnectionError(f"the connection broke {TRIES} times at byte {at} of {end}")
    return broken
