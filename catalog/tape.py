"""A tape's own interface: the WLCG Tape REST API, version 1 (wlcg-storage/wlcg-tape-rest-api, May 2023).

Ask for files to be brought to disk (stage), look how far that is (poll), let them go again (release), give a request
up (cancel), and ask where files are (archiveinfo). Paths are those of the files' URLs at the same server.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from .backends.credentials import credentials, stamp
from .backends.http import Http, Request
from .errors import BadStorage, FileMissing

WELL_KNOWN = "/.well-known/wlcg-tape-rest-api"
DISK_LIFETIME = "PT48H"
"""How long staged files are wanted on disk if nobody releases them (ISO 8601)."""
AT_ONCE = 1000
"""Paths of one call: servers answer a part of what is more than they like."""


class Locality(StrEnum):
    DISK = "DISK"
    TAPE = "TAPE"
    DISK_AND_TAPE = "DISK_AND_TAPE"
    LOST = "LOST"
    NONE = "NONE"
    UNAVAILABLE = "UNAVAILABLE"


READABLE = (Locality.DISK, Locality.TAPE, Locality.DISK_AND_TAPE)


class Whereabouts(NamedTuple):
    """Where a file is, or what the server said instead."""

    locality: Locality
    error: str | None = None


class Progress(NamedTuple):
    """A file of a request: on disk, or given up with a reason, or neither yet."""

    on_disk: bool
    error: str | None = None


class Tape:
    """One endpoint of the interface; threads share it."""

    def __init__(self, uri: str) -> None:
        server = "{0.scheme}://{0.netloc}".format(urlsplit(uri))
        self.uri = uri.rstrip("/")
        self._server = server

    def stage(self, paths: Sequence[str]) -> str:
        """Ask for files; the request's id. Files that are on disk already are no mistake."""
        files = [{"path": path, "diskLifetime": DISK_LIFETIME} for path in paths]
        answer = self._call("POST", "stage", {"files": files}, good=(200, 201))
        request = answer.get("requestId")
        if not isinstance(request, str) or not request:
            raise self._nonsense("stage", answer)
        return request

    def poll(self, request: str) -> dict[str, Progress]:
        """How far each file is, by path; FileMissing if the server does not know the request any more."""
        answer = self._call("GET", f"stage/{quote(request, safe='')}")
        if not isinstance(answer.get("files"), list):
            raise self._nonsense("stage", answer)
        return {file["path"]: _progress(file) for file in answer["files"]}

    def cancel(self, request: str, paths: Sequence[str]) -> None:
        """Give up files that have not come; the server refuses all if one is not of the request."""
        self._call("POST", f"stage/{quote(request, safe='')}/cancel", {"paths": list(paths)})

    def release(self, request: str, paths: Sequence[str]) -> None:
        """The copies on disk are no longer needed for this request."""
        for some in _slices(paths):
            self._call("POST", f"release/{quote(request, safe='')}", {"paths": some})

    def forget(self, request: str) -> None:
        """Cancel what is left of a request, and the request itself; one that is not there is forgotten."""
        with suppress(FileMissing):
            self._call("DELETE", f"stage/{quote(request, safe='')}")

    def archiveinfo(self, paths: Sequence[str]) -> dict[str, Whereabouts]:
        """Where each file is. A server may answer for a part only: it is asked again for the others."""
        found: dict[str, Whereabouts] = {}
        left = list(dict.fromkeys(paths))
        while left:
            answer = self._call("POST", "archiveinfo", {"paths": left[:AT_ONCE]})
            if not isinstance(answer, list):
                raise self._nonsense("archiveinfo", answer)
            news = {file["path"]: _whereabouts(file) for file in answer if file.get("path") not in found}
            if not news.keys() & set(left):
                words = "the tape says nothing about it"
                return found | dict.fromkeys(left, Whereabouts(Locality.UNAVAILABLE, words))
            found |= news
            left = [path for path in left if path not in found]
        return found

    def _call(self, method: str, path: str, body: Any = None, good: tuple[int, ...] = (200, 201, 204)) -> Any:
        """Some servers know only addresses that end with a slash, others only those that do not."""
        try:
            return self._ask(method, f"{self.uri}/{path}", body, good)
        except FileMissing:
            return self._ask(method, f"{self.uri}/{path}/", body, good)

    def _ask(self, method: str, url: str, body: Any, good: tuple[int, ...]) -> Any:
        text = json.dumps(body).encode() if body is not None else b""
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        request = Request(method, url, "ask the tape at", headers)
        if body is not None:
            request = request._replace(body=lambda: [text], length=len(text))
        with _http(self._server, stamp(self._server)).ask(request, *good) as answer:
            document = answer.read()
        try:
            return json.loads(document) if document else {}
        except ValueError:
            raise self._nonsense(url, document[:100]) from None

    def _nonsense(self, path: str, answer: object) -> BadStorage:
        return BadStorage(
            f"the tape's answer to {path} is not what the interface says: {str(answer)[:200]}",
            object=self.uri,
            hint="check tape_api in the sites file: it is the address of version 1",
        )


def discover(server: str) -> str:
    """The address of the interface that a WebDAV server tells at a well-known place."""
    with _http(server, stamp(server)).ask(
        Request("GET", f"{server}{WELL_KNOWN}", "discover the tape at"), 200
    ) as answer:
        text = answer.read()
    try:
        endpoints = json.loads(text)["endpoints"]
        return next(str(each["uri"]).rstrip("/") for each in endpoints if each["version"] == "v1")
    except (ValueError, KeyError, TypeError, StopIteration):
        raise BadStorage(
            f"{server} tells of no tape interface of version v1",
            object=server,
            hint="name it in the sites file: tape_api",
        ) from None


@lru_cache(maxsize=64)
def _http(server: str, _: str) -> Http:
    """Connections to a server, kept until its credentials change: stagers live longer than tokens."""
    return Http(server, credentials(server))


def _progress(file: Mapping[str, Any]) -> Progress:
    """Servers tell either ``onDisk`` or a ``state``."""
    error = file.get("error")
    state = file.get("state")
    if state is None:
        return Progress(file.get("onDisk") is True, str(error) if error else None)
    if state in ("FAILED", "CANCELLED"):
        return Progress(False, str(error or state.lower()))
    return Progress(state == "COMPLETED")


def _whereabouts(file: Mapping[str, Any]) -> Whereabouts:
    if "locality" not in file or file["locality"] not in Locality.__members__:
        return Whereabouts(Locality.UNAVAILABLE, str(file.get("error") or f"its locality is {file.get('locality')}"))
    return Whereabouts(Locality(file["locality"]))


def _slices(paths: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(paths), AT_ONCE):
        yield list(paths[start : start + AT_ONCE])
