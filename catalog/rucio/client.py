"""Rucio's REST interface over httpx: authentication, newline-delimited JSON, and its errors as ours.

Written for this and not taken from rucio-clients: that package is synchronous, reads a configuration file of its own
and brings two dozen others.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from ..backends.credentials import credentials, renewal
from ..errors import (
    BadStorage,
    CatalogError,
    DatasetClosed,
    DatasetConflict,
    DatasetNotFound,
    ExternalCatalog,
    ExternalDenied,
    ExternalUnreachable,
    FileConflict,
)

BULK = 1000
"""Things in one call: Rucio's servers hold one transaction for each call, and grow slow beyond."""
TIMEOUT_S = 120.0
TRIES = 3
RENEW = timedelta(minutes=5)
"""A token is renewed so long before it ends."""

KNOWN: Mapping[str, tuple[type[CatalogError], str]] = {
    "DataIdentifierNotFound": (DatasetNotFound, "export it first"),
    "DataIdentifierAlreadyExists": (DatasetConflict, "the name is taken in Rucio"),
    "FileConsistencyMismatch": (FileConflict, "content never changes under a name: see which of the two is right"),
    "RSENotFound": (BadStorage, "`prodchain dataset export --to-rucio` makes what is missing"),
    "AccessDenied": (ExternalDenied, "let a Rucio administrator do it once, or give the account the right to do it"),
    "CannotAuthenticate": (ExternalDenied, "correct the server's table in the file of the storages' credentials"),
}


class Client:
    """One account at one Rucio server. ``secrets`` is asked anew for each token: a token file may have changed."""

    def __init__(self, url: str, account: str, secrets: Callable[[], dict[str, Any]] | None = None) -> None:
        self.url = url.rstrip("/")
        self.account = account
        self._secrets = secrets or self._from_file
        self._token = ""
        self._renew_at = datetime.now(UTC)
        self._renewing = asyncio.Lock()
        self._http = httpx.AsyncClient(base_url=self.url, timeout=TIMEOUT_S)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def call(
        self, method: str, *path: str, about: str, body: Any = None, query: dict[str, str] | None = None
    ) -> httpx.Response:
        """One request; ``about`` names the object in errors. A lost connection is tried again where that is safe."""
        url = "/" + "/".join(quote(part, safe="") for part in path)
        answer = await self._authorized(method, url, body, query, about)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            self._token = ""
            answer = await self._authorized(method, url, body, query, about)
        if answer.is_error:
            raise self._refused(answer, about)
        return answer

    async def lines(
        self, method: str, *path: str, about: str, body: Any = None, query: dict[str, str] | None = None
    ) -> list[Any]:
        """The values of an answer that is a JSON document in each line."""
        answer = await self.call(method, *path, about=about, body=body, query=query)
        return [json.loads(line) for line in answer.text.split("\n") if line]

    async def _authorized(
        self, method: str, url: str, body: Any, query: dict[str, str] | None, about: str
    ) -> httpx.Response:
        await self._log_in()
        headers = {"X-Rucio-Auth-Token": self._token}
        # What reads may be said again: all GETs, and the searches that Rucio takes as POST.
        safe = method == "GET" or url in ("/dids/bulkmeta", "/replicas/list")
        return await self._send(method, url, headers, about, safe=safe, json=body, params=query)

    async def _log_in(self) -> None:
        async with self._renewing:
            if self._token and datetime.now(UTC) < self._renew_at:
                return
            secrets = self._secrets()
            if "token" in secrets:
                self._token, self._renew_at = secrets["token"], datetime.now(UTC) + RENEW
                return
            if not {"username", "password"} <= secrets.keys():
                raise ExternalDenied(
                    f"there are no credentials for {self.url}",
                    object=self.url,
                    hint=renewal(self.url),
                )
            headers = {
                "X-Rucio-Account": self.account,
                "X-Rucio-Username": secrets["username"],
                "X-Rucio-Password": secrets["password"],
            }
            answer = await self._send("GET", "/auth/userpass", headers, self.url, safe=True)
            if answer.is_error:
                raise self._refused(answer, f"account {self.account} at {self.url}")
            self._token = answer.headers["X-Rucio-Auth-Token"]
            self._renew_at = parsedate_to_datetime(answer.headers["X-Rucio-Auth-Token-Expires"]) - RENEW

    async def _send(
        self, method: str, url: str, headers: dict[str, str], about: str, *, safe: bool, **more: Any
    ) -> httpx.Response:
        for attempt in range(1, TRIES + 1):
            last = attempt == TRIES or not safe
            try:
                answer = await self._http.request(method, url, headers=headers, **more)
            except httpx.HTTPError as error:
                if last:
                    words = str(error) or type(error).__name__
                    raise self._unreachable(f"{self.url} does not answer: {words}", about) from None
            else:
                if answer.status_code not in (502, 503, 504):
                    return answer
                if last:
                    raise self._unreachable(f"{self.url} answers {answer.status_code}", about)
            await asyncio.sleep(0.2 * attempt)
        raise AssertionError("the last try returns or raises")

    def _from_file(self) -> dict[str, Any]:
        return credentials(self.url)

    def _unreachable(self, message: str, about: str) -> ExternalUnreachable:
        return ExternalUnreachable(message, object=about, hint="is Rucio up, and rucio_url right? it is asked again")

    def _refused(self, answer: httpx.Response, about: str) -> CatalogError:
        kind, words = answer.headers.get("ExceptionClass", ""), answer.headers.get("ExceptionMessage", "")
        try:
            document = answer.json()
            kind, words = document["ExceptionClass"], document["ExceptionMessage"]
        except (ValueError, TypeError, KeyError):
            words = words or answer.text[:300]
        words = f"Rucio: {words.splitlines()[0] if words else 'no reason given'} ({kind or answer.status_code})"
        if kind == "UnsupportedOperation" and "is closed" in words:
            return DatasetClosed(words, object=about, hint="put the files into a new dataset")
        if kind in KNOWN:
            error, hint = KNOWN[kind]
            return error(words, object=about, hint=hint)
        return ExternalCatalog(words, object=about, hint="Rucio's words say why; its own log may say more")
