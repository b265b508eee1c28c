"""The pilot's HTTP client: JSON over urllib, with retries; proxies come from the environment as usual."""

from __future__ import annotations

import email.utils
import http.client
import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from .errors import Refusal, TokenRefused, Unreachable

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 10.0
LONGEST_RETRY_AFTER_S = 60.0


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The token goes to the server that was named and to no other."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> None:
        return None


class _Later(Exception):
    """This try failed; another may succeed, after ``pause_s`` if the server said so."""

    def __init__(self, reason: str, pause_s: float = 0.0) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


class Client:
    """``token_file`` is read for each request, so that a renewed token is taken up while the pilot runs."""

    def __init__(self, server: str, token_file: Path, sleep: Callable[[float], None] = time.sleep) -> None:
        if not server.startswith(("http://", "https://")):
            raise Refusal(f"{server!r} is no server address", object=server, hint="give it as https://host:port")
        self._server = server.rstrip("/")
        self._token_file = token_file
        self._sleep = sleep
        self._opener = urllib.request.build_opener(_NoRedirect)

    def post(self, path: str, document: object, *, timeout_s: float, patience_s: float) -> Any:
        """Send a JSON document, return the JSON answer; tries again for up to ``patience_s``.

        Raises TokenRefused (401, 403), Refusal (other 4xx), Unreachable (no answer, 5xx, 429, or no JSON).
        """
        deadline, pause_s = time.monotonic() + patience_s, FIRST_PAUSE_S
        while True:
            try:
                return self._try(path, document, timeout_s)
            except _Later as later:
                # Jitter: pilots that lost the broker, or were refused, together must not come back together.
                wait_s = max(later.pause_s * random.uniform(1, 1.5), pause_s * random.uniform(0.5, 1.5))  # noqa: S311
                if time.monotonic() + wait_s > deadline:
                    raise Unreachable(
                        f"{self._server}: {later}",
                        object=self._server,
                        hint="check that the broker runs and that this node may connect to it",
                    ) from None
            self._sleep(wait_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)

    def _try(self, path: str, document: object, timeout_s: float) -> Any:
        request = urllib.request.Request(  # noqa: S310 - http(s) only, checked above
            self._server + path,
            data=json.dumps(document).encode(),
            headers={
                "Authorization": f"Bearer {self._token()}",
                "Content-Type": "application/json",
                "Accept": "application/json",
                "User-Agent": "prodchain-pilot",
            },
            method="POST",
        )
        try:
            with self._opener.open(request, timeout=timeout_s) as response:
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            with error:
                raise _judge(error) from None
        except urllib.error.URLError as error:
            raise _Later(str(error.reason)) from None
        except (OSError, http.client.HTTPException) as error:
            raise _Later(str(error) or type(error).__name__) from None
        except ValueError:
            raise _Later("the answer is no JSON (is this the broker's address?)") from None

    def _token(self) -> str:
        try:
            token = self._token_file.read_text().strip()
        except OSError as error:
            raise TokenRefused(
                f"cannot read the token file {self._token_file}: {error.strerror}", object=str(self._token_file)
            ) from None
        if not token.isascii() or not token.isprintable() or not token:
            raise TokenRefused(f"no token in {self._token_file}", object=str(self._token_file))
        return token


def _judge(error: urllib.error.HTTPError) -> Exception:
    """What an HTTP error means for the pilot."""
    problem = _problem(error)
    title, detail = str(problem.get("title") or error.reason), str(problem.get("detail") or "")
    said = f"HTTP {error.code} {title}{': ' + detail if detail else ''}"
    if error.code == 429 or error.code >= 500:
        return _Later(said, _retry_after_s(error.headers.get("Retry-After")))
    kind = TokenRefused if error.code in (401, 403) else Refusal
    return kind(said, object=str(problem.get("object") or ""), hint=str(problem.get("hint") or ""))


def _problem(error: urllib.error.HTTPError) -> dict[str, Any]:
    """The RFC 9457 document of an error; empty for a page of some proxy in between."""
    try:
        document = json.loads(error.read())
    except (OSError, ValueError, http.client.HTTPException):
        return {}
    return document if isinstance(document, dict) else {}


def _retry_after_s(value: str | None) -> float:
    """Seconds to wait as the server said (seconds or a date), within reason; 0 if it did not."""
    if not value:
        return 0.0
    try:
        wait_s = (
            float(value) if value.isdigit() else email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        )
    except (TypeError, ValueError):
        return 0.0
    return min(max(wait_s, 0.0), LONGEST_RETRY_AFTER_S)
