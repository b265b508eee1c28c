"""``root://``: the programs xrdcp and xrdfs, which every grid node has."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any

from .errors import DiskFull, StorageError
from .store import BLOCK, SILENCE_S, Sink, Source
from .stores_credentials import renewal
from .stores_http import RUNS, WORKING_S

PROGRAMS = ("xrdcp", "xrdfs")
REMEDY = "install xrdcp and xrdfs (XRootD's client), or fsspec-xrootd for the Python that runs the pilot"

_PATIENCE = {
    "XRD_CONNECTIONWINDOW": "10",  # a dead server is noticed in 10 s, not in half an hour
    "XRD_CONNECTIONRETRY": "1",
    "XRD_STREAMERRORWINDOW": "0",
    "XRD_TIMEOUTRESOLUTION": "1",
    "XRD_REQUESTTIMEOUT": str(round(SILENCE_S)),
}
_NAMES = {"token": "BEARER_TOKEN", "proxy": "X509_USER_PROXY", "cert": "X509_USER_CERT", "key": "X509_USER_KEY"}
"""How the programs are told; never on their command lines, which all users of the node can see."""
# Codes of XProtocol.hh.
_MISSING, _FULL, _DENIED = ("3011",), ("3009", "3021"), ("3010", "3025", "3028", "3030")


class XRootDStore:
    renames = True
    late = False

    def __init__(self, server: str, credentials: Mapping[str, str]) -> None:
        self._server = server
        self._environment = {**_PATIENCE, **{_NAMES[key]: credentials[key] for key in _NAMES if key in credentials}}
        if "ca" in credentials:
            self._environment["X509_CERT_DIR"] = credentials["ca"]
        self._process: subprocess.Popen[bytes] | None = None

    def get(self, path: str, sink: Sink) -> None:
        with self._running(["xrdcp", "-N", self._url(path), "-"], path) as process:
            output = _pipe(process.stdout)
            while block := output.read(BLOCK):
                sink(block)

    def put(self, path: str, source: Source) -> None:
        command = ["xrdcp", "-N", "-f", "-p", "-", self._url(path)]
        with self._running(command, path) as process, suppress(BrokenPipeError):  # it ended, and will say why
            for block in source.blocks():
                _pipe(process.stdin).write(block)

    def size(self, path: str) -> int | None:
        try:
            said = self._ask("stat", path)
        except FileNotFoundError:
            return None
        found = re.search(r"^Size:\s+(\d+)", said, re.MULTILINE)
        if found is None:
            raise StorageError(f"xrdfs does not say how large {self._url(path)} is: {said}", object=self._url(path))
        return int(found[1])

    def adler32(self, path: str) -> str | None:
        try:
            kind, _, checksum = self._ask("query checksum", f"{_plain(path)}?cks.type=adler32").partition(" ")
        except StorageError as error:
            if "not supported" in str(error):
                return None
            raise
        return checksum.strip().lower().zfill(8) if kind == "adler32" else None

    def rename(self, path: str, target: str) -> None:
        self._ask("mv", path, _plain(target))

    def delete(self, path: str) -> None:
        with suppress(FileNotFoundError):
            self._ask("rm", path)

    def cut(self) -> None:
        if self._process:
            self._process.kill()

    def _url(self, path: str) -> str:
        return f"{self._server}/{_plain(path)}"

    def _ask(self, doing: str, path: str, *more: str) -> str:
        command = ["xrdfs", self._server, *doing.split(), _plain(path), *more]
        with self._running(command, path) as process:
            return _pipe(process.stdout).read().decode(errors="replace").rstrip("\0\n")

    @contextmanager
    def _running(self, command: list[str], path: str) -> Iterator[subprocess.Popen[bytes]]:
        """A program that ends well, or the error for what it said; killed if its caller gives up."""
        environment = {**os.environ, **self._environment}
        if "checksum" in command:
            environment["XRD_REQUESTTIMEOUT"] = str(round(WORKING_S))
        pipe = subprocess.PIPE
        with tempfile.TemporaryFile() as words:
            process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=words, env=environment)
            to, output = _pipe(process.stdin), _pipe(process.stdout)
            self._process = process
            try:
                yield process
                with suppress(BrokenPipeError):
                    to.close()
                output.read()
                process.wait()
            finally:
                self._process = None
                process.kill()
                process.wait()
                for each in (to, output):
                    with suppress(BrokenPipeError):  # what was not sent yet
                        each.close()
            if process.returncode:
                words.seek(0)
                raise self._error(command[0], path, words.read(4000).decode(errors="replace"), process.returncode)

    def _error(self, program: str, path: str, words: str, code: int) -> Exception:
        """What the program's last words mean."""
        url = self._url(path)
        said = " ".join(words.split()) or f"it ended with {code}"
        found = re.search(r"\[(3\d{3})\]", said)
        number = found[1] if found else ""
        if number in _MISSING:
            return FileNotFoundError(2, said)
        if number in _FULL or "no space" in said:
            return DiskFull(f"storage is full: {program} {url}: {said}", object=url, hint="free some space there")
        if number in _DENIED or "Auth failed" in said:
            return StorageError(f"not allowed: {program} {url}: {said}", object=url, hint=renewal(self._server))
        return StorageError(f"{program} {url}: {said}", object=url, hint=RUNS)


def _plain(path: str) -> str:
    """One slash in front, as many as the URL had."""
    return f"/{path.lstrip('/')}"


def _pipe(stream: Any) -> IO[bytes]:
    opened: IO[bytes] = stream
    return opened
