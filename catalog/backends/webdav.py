"""WebDAV (``https://``, ``http://``): XRootD, dCache, EOS, StoRM, Apache, rclone and what else speaks it.

Plain requests instead of webdav4: that refuses ranges where XRootD serves them, and reads half as fast (see http.py).
"""

import re
import time
from base64 import b64decode
from collections.abc import Iterable, Iterator
from contextlib import suppress
from http.client import HTTPResponse
from io import FileIO
from pathlib import Path
from threading import RLock, Semaphore
from typing import Any, TypeAlias
from urllib.parse import quote, unquote, urlsplit
from xml.etree import ElementTree  # expat refuses what makes XML dangerous

from zlib_ng import zlib_ng

from ..errors import BadStorage, CatalogError, FileMissing, StorageDenied, StorageFull, StorageTimeout
from . import base
from .base import SUMS_AT_ONCE, Entry, Told
from .credentials import credentials as credentials_of
from .credentials import renewal
from .downloads import Downloads
from .http import SMALL, Body, Http, Request, Spent, authorization
from .local import explained
from .markers import Stalled, end_of

Properties: TypeAlias = list[tuple[str, ElementTree.Element]]
"""Where a thing is, and the answer about it."""

HOT = 1024 * 1024
"""Bytes of a block that is read for somebody else."""
SENT = 4 * 1024 * 1024
"""Bytes sent at a time; TLS and the servers take large pieces faster."""
HOPEFUL = 64 * 1024 * 1024
"""Bytes of a file that is sent before it is known whether its folder exists."""
REMEMBERED = 100_000
"""Folders that are known to be there."""
AT_ONCE = (0.0,)
AFTERWARDS_S = (0.0, 0.05, 0.25, 0.7)
SAFE = "/~!$&'()*+,;=:@"
"""What need not be quoted in a path (RFC 3986)."""
SUMMED_SOON = 16 * 1024 * 1024
"""Bytes of a file whose digest a server has at once,"""
SOON_S = 3.0
"""that is, within such a time."""
REST_S = 0.05
"""How long a connection rests after a digest: on a busy machine XRootD (5.5.3) forgot four of 1,000 questions that
followed at once, and one of 1,000 that followed later."""
WORKING_S = 600.0
"""Silence that is borne while a server sums up or copies a file."""

_DONE = (200, 201, 202, 204)
_LAST = {"Connection": "close"}
"""Sent with a question for a digest: XRootD (5.5.3) never answers one in 1,500 to 6,000 that follow it there."""
_THERE = (301, 403, 405, 500)
"""What MKCOL answers where a folder is, or may be."""
_NO_FOLDER = (403, 404, 409)
_CANNOT = (400, 404, 405, 409, 412, 415, 500, 501, 502)
"""Statuses of servers that know no third-party copy, by whatever they stumble over."""
_SPACE = '<?xml version="1.0"?><propfind xmlns="DAV:"><prop><quota-available-bytes/></prop></propfind>'
_LISTING = '<?xml version="1.0"?><propfind xmlns="DAV:"><prop><getcontentlength/><resourcetype/></prop></propfind>'


class WebDav:
    """One WebDAV server."""

    renames = True
    third_party: str | None = "http"

    def __init__(self, url: str, credentials: dict[str, Any]) -> None:
        self.url = url
        self._http = Http(url, credentials)
        self._sums = Http(url, credentials, rest_s=REST_S)
        self._downloads = Downloads(url, credentials)
        self._authorization = authorization(credentials)
        self._made: set[str] = set()
        self._making = RLock()
        self._summing = Semaphore(SUMS_AT_ONCE)
        self._folders_first = False
        self._alone: set[str] = set()
        """Servers that it does not fetch from."""

    def size(self, path: str) -> int | None:
        try:
            with self._http.ask(Request("HEAD", self._link(path), "look at"), 200) as answer:
                return _length(answer)
        except FileMissing:
            return None

    def digest(self, path: str, bytes: int | None = None) -> str | None:  # noqa: A002
        """From the server, which may keep it beside the file: right for a new one, no proof for an old one.

        A small file's is asked for over connections that are kept for such questions: a new one for each was half of
        the time of a file of 1 MiB. What is not answered soon, or with an error (XRootD says 500 at times), is asked
        again, over a new one, with patience.
        """
        with self._summing:
            if bytes is not None and bytes <= SUMMED_SOON:
                with suppress(BadStorage):
                    return self._digest(self._sums, path, {}, min(SOON_S, base.TIMEOUT_S))
            return self._digest(self._http, path, _LAST, WORKING_S)

    def _digest(self, http: Http, path: str, headers: dict[str, str], patience_s: float) -> str | None:
        wanted = {"Want-Digest": "adler32", "Want-Repr-Digest": "adler=5", **headers}
        request = Request("HEAD", self._link(path), "sum up", wanted, patience_s=patience_s)
        with http.ask(request, 200) as answer:
            return _adler32(answer.getheader("Digest"), answer.getheader("Repr-Digest"))

    def read(self, path: str, start: int = 0) -> Iterator[bytes]:
        """Most servers give ranges, whether they say so (Accept-Ranges) or not; else what comes first is skipped.

        The range is closed: to an open one (``bytes=5-``) XRootD 5.5 answers with nothing.
        """
        wanted = {}
        if start:
            end = self.size(path) or 0
            if start >= end:
                return
            wanted = {"Range": f"bytes={start}-{end - 1}"}
        with self._http.ask(Request("GET", self._link(path), "read", wanted), 200, 206) as answer:
            left = _length(answer)
            skip = start if answer.status == 200 else 0
            while block := answer.read(HOT):
                left = None if left is None else left - len(block)
                if len(block) > skip:
                    yield block[skip:]
                skip = max(0, skip - len(block))
            self._check_end(path, left)

    def write(self, path: str, blocks: Iterable[bytes], bytes: int) -> None:  # noqa: A002
        once = iter([blocks])

        def body() -> Iterable[Any]:
            for given in once:
                return given
            raise Spent("the data cannot be read again")

        self._make_folder(_folder(path))
        self._store(path, body, bytes)

    def get(self, path: str, target: Path, told: Told) -> str:
        return self._downloads.fetch(self._link(path), target, told)

    def put(self, source: Path, path: str, told: Told) -> str:
        checksum, moved = 1, 0

        def body() -> Iterator[memoryview]:
            nonlocal checksum, moved
            told(-moved) if moved else None  # sent again, to where the server sent us
            checksum, moved = 1, 0
            block = memoryview(bytearray(min(SENT, bytes_)))
            with explained(str(source), "read"):
                file.seek(0)
            while moved < bytes_:
                got = _filled(file, block, source)
                checksum = zlib_ng.adler32(block[:got], checksum)
                yield block[:got]
                moved += got
                told(got)

        with explained(str(source), "read"):
            file = source.open("rb", buffering=0)
        with file:
            bytes_ = file.seek(0, 2)
            folder = _folder(path)
            hopeful = bytes_ <= HOPEFUL and not self._folders_first and folder not in self._made
            if not hopeful:
                self._make_folder(folder)
            if self._store(path, body, bytes_, *(_NO_FOLDER if hopeful else ())) in _NO_FOLDER:
                self._folders_first = True
                self._make_folder(folder)
                self._store(path, body, bytes_)
            self._made.add(folder)
        return f"{checksum:08x}"

    def copy(self, source: str, target: str) -> bool:
        self._make_folder(_folder(target))
        headers = {"Destination": self._link(target), "Overwrite": "T", "Depth": "0", **self._remote(self.url)}
        try:
            return self._copied(Request("COPY", self._link(source), "copy", headers), target, self._link(source))
        except BadStorage:
            if self.size(source) is None:  # XRootD says 400, rclone 403
                raise _missing(self._link(source)) from None
            raise

    def pull(self, source_url: str, path: str, bytes: int) -> bool:  # noqa: A002
        """Asks the server to fetch, then the source to send: one of the two that can is enough."""
        source = urlsplit(source_url)
        server = f"{source.scheme}://{source.netloc}"
        if server in self._alone:
            return False
        self._make_folder(_folder(path))
        fetch = {"Source": source_url, "Overwrite": "T", "Credential": "none", **self._remote(server)}
        if self._copied(Request("COPY", self._link(path), "copy to", fetch), path, source_url):
            return True
        send = {"Destination": self._link(path), "Overwrite": "T", "Credential": "none", **self._remote(self.url)}
        other = Http(server, credentials_of(server))
        if self._copied(Request("COPY", source_url, "copy", send), path, source_url, other):
            return True
        self._alone.add(server)
        return False

    def rename(self, source: str, target: str) -> None:
        """Over what is there only if the source is: rclone would remove the target first and find no source then."""
        for overwrite in ("F", "T"):
            headers = {"Destination": self._link(target), "Overwrite": overwrite}
            try:
                if self._http.status(Request("MOVE", self._link(source), "rename", headers), *_DONE, 412) != 412:
                    return
            except BadStorage:
                if self.size(source) is None:  # rclone says 403
                    raise _missing(self._link(source)) from None
                raise
            if self.size(source) is None:
                raise _missing(self._link(source))
        raise BadStorage(
            f"{self._link(target)} is not replaced", object=self._link(target), hint="is it locked at the storage?"
        )

    def delete(self, path: str) -> None:
        with suppress(FileMissing):
            self._http.status(Request("DELETE", self._link(path), "delete"), *_DONE)

    def list(self, folder: str) -> Iterator[Entry]:
        folder = f"{folder.rstrip('/')}/"
        try:
            found = self._properties(folder, "1", _LISTING, "list")
        except FileMissing:
            return
        for href, of in found:
            path = unquote(urlsplit(href).path)
            if path.rstrip("/") == folder.rstrip("/"):
                continue
            if of.find(".//{DAV:}collection") is not None:
                yield from self.list(path)
            else:
                yield Entry(path, int(of.findtext(".//{DAV:}getcontentlength") or 0))

    def free(self, folder: str) -> int | None:
        with suppress(FileMissing):
            for _, of in self._properties(f"{folder.rstrip('/')}/", "0", _SPACE, "look at"):
                free = of.findtext(".//{DAV:}quota-available-bytes") or ""
                return int(free) if free.isdecimal() else None
        return None

    def opening(self, path: str) -> tuple[str, dict[str, Any]]:
        return self._link(path), {}

    def _link(self, path: str) -> str:
        return f"{self.url}/{quote(path.lstrip('/'), safe=SAFE)}"

    def _store(self, path: str, body: Body, bytes_: int, *borne: int) -> int:
        """Upload; the status. Nothing stays of what breaks off."""
        request = Request("PUT", self._link(path), "write", body=body, length=bytes_, patience_s=WORKING_S)
        try:
            return self._http.status(request, *_DONE, *borne)
        except BaseException as error:
            self._made.discard(_folder(path))  # somebody may have removed it
            refused = isinstance(error, CatalogError) and not isinstance(error, StorageTimeout)
            self._clean(path, AT_ONCE if refused else AFTERWARDS_S)
            raise

    def _clean(self, path: str, pauses: tuple[float, ...] = AT_ONCE) -> None:
        """Delete what broke off, again when the server has noticed that it did: rclone writes the file only then."""
        for pause in pauses:
            time.sleep(pause)
            with suppress(CatalogError):  # the reason of the failure is worth more than the left-over's
                self.delete(path)

    def _make_folder(self, folder: str) -> None:
        """Make a folder and those above it, once: XRootD makes them itself, others refuse a file without.

        One at a time: wsgidav stumbles (500) over two that make the same one. What cannot be made is said when the
        file is stored.
        """
        with self._making:
            if folder in self._made or not folder:
                return
            request = Request("MKCOL", self._link(folder), "make")
            if self._http.status(request, *_DONE, *_THERE, 409) == 409:
                self._make_folder(_folder(folder))
                self._http.status(request, *_DONE, *_THERE)
            if len(self._made) > REMEMBERED:
                self._made.clear()
            self._made.add(folder)

    def _copied(self, request: Request, target: str, source_url: str, by: Http | None = None) -> bool:
        """Whether the server copied; False if it does not do such things. A status is a promise, no result."""
        try:
            with (by or self._http).ask(request, *_DONE, *_CANNOT) as answer:
                if answer.status in _CANNOT:
                    answer.read(SMALL)
                    return False
                end = end_of(_lines(answer), base.TIMEOUT_S)
                if not end and answer.status in (201, 204) and "Source" not in request.headers and by is None:
                    return True  # an ordinary copy on one server
        except Stalled as stalled:
            self._clean(target)
            raise StorageTimeout(
                f"cannot copy {source_url} to {self._link(target)}: {stalled}", object=source_url, hint="see its log"
            ) from stalled
        except BaseException:
            self._clean(target)
            raise
        if not end.lower().startswith("success"):
            self._clean(target)  # XRootD leaves an empty file
            raise _failure(end, source_url, self._link(target))
        return True

    @staticmethod
    def _remote(server: str) -> dict[str, str]:
        """What one server is to show the other one."""
        header = authorization(credentials_of(server))
        return {"TransferHeaderAuthorization": header} if header else {}

    def _properties(self, folder: str, depth: str, wanted: str, doing: str) -> Properties:
        headers = {"Depth": depth, "Content-Type": "application/xml"}
        body = wanted.encode()
        request = Request("PROPFIND", self._link(folder), doing, headers, lambda: [body], len(body), WORKING_S)
        with self._http.ask(request, 207) as answer:
            text = answer.read()
        try:
            tree = ElementTree.fromstring(text)  # noqa: S314
        except ElementTree.ParseError as error:
            raise BadStorage(
                f"{self.url} answers no list of files: {error}", object=self._link(folder), hint="is it WebDAV?"
            ) from error
        return [(of.findtext("{DAV:}href") or "", of) for of in tree.iter("{DAV:}response")]

    def _check_end(self, path: str, left: int | None) -> None:
        if left:
            raise StorageTimeout(
                f"the connection broke off {left} bytes before the end of {self._link(path)}",
                object=self._link(path),
                hint="check that the storage runs and can be reached",
            )


def _folder(path: str) -> str:
    return path.rstrip("/").rpartition("/")[0]


def _length(answer: HTTPResponse) -> int | None:
    length = answer.getheader("Content-Length")
    return int(length) if length is not None else None


def _lines(answer: HTTPResponse) -> Iterator[bytes]:
    while line := answer.readline(SMALL):
        yield line


def _filled(file: FileIO, block: memoryview, source: Path) -> int:
    with explained(str(source), "read"):
        if got := file.readinto(block):
            return got
        raise OSError("it became shorter while it was read")


def _adler32(digest: str | None, repr_digest: str | None) -> str | None:
    """From ``Digest`` (RFC 3230: ``adler32=03da0195``) or ``Repr-Digest`` (RFC 9530: ``adler=:A9oBlQ==:``)."""
    for field in (digest or "").split(","):
        name, _, value = field.strip().partition("=")
        if name.lower() == "adler32":
            return value.strip().lower().zfill(8)
    for field in (repr_digest or "").split(","):
        name, _, value = field.strip().partition("=")
        if name.lower() == "adler":
            return b64decode(value.strip(" :")).hex().zfill(8)
    return None


def _missing(url: str) -> FileMissing:
    return FileMissing(f"there is no {url}", object=url, hint="was it deleted at the storage?")


def _failure(end: str, source_url: str, target_url: str) -> CatalogError:
    """What the last line means: servers quote the other one's status in their words."""
    said = f"cannot copy {source_url} to {target_url}: {end or 'the server did not say how the copy ended'}"
    hint = "see the logs of both servers"
    if re.search(r"status code 40[34]\b.*no such file|status code 404\b|no such file", end, re.IGNORECASE):
        return _missing(source_url)
    if re.search(r"status code 40[13]\b|permission denied|not authorized", end, re.IGNORECASE):
        return StorageDenied(said, object=source_url, hint=renewal("://".join(urlsplit(source_url)[:2])))
    if re.search(r"no space left|quota exceeded|status code 507\b", end, re.IGNORECASE):
        return StorageFull(said, object=target_url, hint="free space there, or raise the quota")
    return BadStorage(said, object=source_url, hint=hint)
