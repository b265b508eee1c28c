"""Whole files over HTTP by libcurl, which reads TLS record by record without Python: see docs/adr/0017."""

import math
import ssl
import weakref
from pathlib import Path
from typing import Any

import pycurl
from zlib_ng import zlib_ng

from ..errors import CatalogError
from . import base
from .base import Told
from .http import (
    KEPT,
    REDIRECTS,
    SMALL,
    Request,
    authorities,
    authorization,
    own_certificate,
    refusal,
    refused,
    silence,
    untrusted,
    words_of,
)
from .local import created, explained, write_all

TELL = 1024 * 1024
"""Bytes that are told of at a time: curl hands over 16 kB."""


class Downloads:
    """The files of one server; threads share it. Each handle keeps its connection."""

    def __init__(self, server: str, credentials: dict[str, Any]) -> None:
        self._server = server
        self._credentials = credentials
        self._idle: list[pycurl.Curl] = []
        weakref.finalize(self, _close, self._idle)

    def fetch(self, url: str, target: Path, told: Told) -> str:
        """Bring a file to a new local path; the adler32 of what was written there."""
        try:
            curl = self._idle.pop()
        except IndexError:
            curl = self._new()
        try:
            with created(target) as file:
                answer = _Answer(file, str(target), told)
                self._perform(curl, url, answer)
                answer.tell()
        finally:
            if len(self._idle) < KEPT:
                self._idle.append(curl)
            else:
                curl.close()
        return f"{answer.checksum:08x}"

    def _perform(self, curl: pycurl.Curl, url: str, answer: "_Answer") -> None:
        patience_s = max(1, math.ceil(base.TIMEOUT_S))
        curl.setopt(pycurl.URL, url)
        curl.setopt(pycurl.CONNECTTIMEOUT, patience_s)
        curl.setopt(pycurl.LOW_SPEED_TIME, patience_s)
        curl.setopt(pycurl.HEADERFUNCTION, answer.header)
        curl.setopt(pycurl.WRITEFUNCTION, answer.body)
        try:
            curl.perform()
        except pycurl.error as error:
            if answer.problem is not None:
                with explained(answer.name, "write"):
                    raise answer.problem from None
            raise self._failed(url, *error.args) from None
        finally:
            curl.setopt(pycurl.HEADERFUNCTION, _ignore)
            curl.setopt(pycurl.WRITEFUNCTION, _ignore)  # it holds the file otherwise
        if answer.status != 200:
            words = words_of(answer.reason, bytes(answer.page))
            raise refusal(Request("GET", url, "read"), self._server, answer.status, words)

    def _failed(self, url: str, code: int, words: str) -> CatalogError:
        if code == pycurl.E_PEER_FAILED_VERIFICATION:
            return untrusted(url, self._server, words)
        if "certificate" in words.lower():
            return refused(url, self._server, words)
        return silence("read", url, words)

    def _new(self) -> pycurl.Curl:
        curl = pycurl.Curl()
        for option, value in {
            pycurl.NOSIGNAL: 1,
            pycurl.NOPROXY: "*",
            pycurl.USERAGENT: "prodchain",
            pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,
            pycurl.PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
            pycurl.REDIR_PROTOCOLS: pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS,
            pycurl.FOLLOWLOCATION: 1,
            pycurl.MAXREDIRS: REDIRECTS,
            pycurl.LOW_SPEED_LIMIT: 1,
            pycurl.BUFFERSIZE: 512 * 1024,
        }.items():
            curl.setopt(option, value)
        if header := authorization(self._credentials):
            curl.setopt(pycurl.HTTPHEADER, [f"Authorization: {header}"])  # curl keeps it from other servers
        for option, name in self._trust().items():
            if name:
                curl.setopt(option, name)
            else:
                curl.unsetopt(option)
        return curl

    def _trust(self) -> dict[int, str | None]:
        """Whom we trust, and who we are; curl would look for the system's authorities where it was built."""
        file, folder = authorities(self._credentials)
        if file is None and folder is None:
            system = ssl.get_default_verify_paths()
            file, folder = system.cafile, system.capath
        found = {pycurl.CAINFO: file, pycurl.CAPATH: folder}
        if own := own_certificate(self._credentials):
            found |= {pycurl.SSLCERT: own, pycurl.SSLKEY: self._credentials.get("key") or own}
        return found


class _Answer:
    """What curl hands over of one answer. An exception would be printed and lost there: it is kept."""

    def __init__(self, file: int, name: str, told: Told) -> None:
        self.status, self.reason, self.page = 0, "", bytearray()
        self.checksum = 1
        self.problem: BaseException | None = None
        self.name = name
        self._file, self._told, self._new = file, told, 0

    def header(self, line: bytes) -> None:
        if line.startswith(b"HTTP/"):  # after a redirect there is another one
            _, status, *reason = line.decode("latin-1").split(maxsplit=2)
            self.status, self.reason = int(status), " ".join(reason).strip()
            self.page.clear()

    def body(self, block: bytes) -> int:
        try:
            if self.status == 200:
                write_all(self._file, block)
                self.checksum = zlib_ng.adler32(block, self.checksum)
                self._new += len(block)
                if self._new >= TELL:
                    self.tell()
            elif len(self.page) < SMALL:
                self.page += block
        except BaseException as problem:
            self.problem = problem
            return 0
        return len(block)

    def tell(self) -> None:
        new, self._new = self._new, 0
        if new:
            self._told(new)


def _ignore(_: bytes) -> None:
    return None


def _close(idle: list[pycurl.Curl]) -> None:
    for curl in idle:
        curl.close()
