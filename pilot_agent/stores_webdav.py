"""``https://`` and ``http://``: WebDAV as XRootD, dCache, StoRM, Apache and rclone speak it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from urllib.parse import quote

from .errors import StorageError
from .store import Sink, Source
from .stores_http import Http, Request

SAFE = "/~!$&'()*+,;=:@"
"""What need not be quoted in a path (RFC 3986)."""
_DONE = (200, 201, 202, 204)
_NO_FOLDER = (403, 404, 409)
"""What servers answer that do not make folders by themselves."""
_THERE = (301, 403, 405, 500)
"""What MKCOL answers where a folder is, or may be: storing the file will tell."""


class WebDavStore:
    renames = True
    late = True  # rclone writes its file when it notices that the connection broke

    def __init__(self, server: str, credentials: Mapping[str, str]) -> None:
        self._server = server
        self._http = Http(server, credentials)
        self._headers = _authorization(credentials)

    def get(self, path: str, sink: Sink) -> None:
        self._http.get(self._request("GET", path), sink)

    def put(self, path: str, source: Source) -> None:
        request = self._request("PUT", path)._replace(source=source)
        if self._http.status(request, *_DONE, *_NO_FOLDER) in _NO_FOLDER:
            self._make_folder(path.rpartition("/")[0])
            self._http.status(request, *_DONE)

    def size(self, path: str) -> int | None:
        request = self._request("HEAD", path)
        with self._http.ask(request, 200, 404, 410) as answer:
            if answer.status != 200:
                return None
            length = answer.getheader("Content-Length")
        if length is None:
            raise StorageError(f"the server does not say how large {request.url} is", object=request.url)
        return int(length)

    def adler32(self, path: str) -> str | None:
        request = self._request("HEAD", path, {"Want-Digest": "adler32", "Want-Repr-Digest": "adler=5"})
        with self._http.ask(request, 200) as answer:
            return digest(answer.getheader("Digest"), answer.getheader("Repr-Digest"))

    def rename(self, path: str, target: str) -> None:
        headers = {"Destination": self._request("MOVE", target).url, "Overwrite": "T"}
        self._http.status(self._request("MOVE", path, headers), *_DONE)

    def delete(self, path: str) -> None:
        self._http.status(self._request("DELETE", path), *_DONE, 404, 410)

    def cut(self) -> None:
        self._http.cut()

    def _make_folder(self, folder: str) -> None:
        if folder.strip("/") and self._make(folder) == 409:
            self._make_folder(folder.rpartition("/")[0])
            self._make(folder)

    def _make(self, folder: str) -> int:
        return self._http.status(self._request("MKCOL", folder), *_DONE, *_THERE, 409)

    def _request(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> Request:
        url = f"{self._server}/{quote(path.lstrip('/'), safe=SAFE)}"
        return Request(method, url, {**self._headers, **(headers or {})})


def digest(old: str | None, new: str | None) -> str | None:
    """From ``Digest`` (RFC 3230: ``adler32=03da0195``) or ``Repr-Digest`` (RFC 9530: ``adler=:A9oBlQ==:``)."""
    for field in (old or "").split(","):
        name, _, value = field.strip().partition("=")
        if name.lower() == "adler32":
            return value.strip().lower().zfill(8)
    for field in (new or "").split(","):
        name, _, value = field.strip().partition("=")
        if name.lower() == "adler":
            return base64.b64decode(value.strip(" :")).hex().zfill(8)
    return None


def _authorization(credentials: Mapping[str, str]) -> dict[str, str]:
    if "token" in credentials:
        return {"Authorization": f"Bearer {credentials['token']}"}
    if "user" in credentials:
        pair = f"{credentials['user']}:{credentials.get('password', '')}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}
