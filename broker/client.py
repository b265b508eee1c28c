"""The broker's HTTP API as Python calls: what steps, flows and the command line use.

Standard library only: this module is imported at each start of the command line, and httpx alone would cost a
third of its time budget. Requests that may be repeated are repeated when the connection is lost; times out are
not, since the work may go on at the other end.

ApiError
  Unreachable   no server at that address, or one that does not speak with us
  TimedOut      a server that does not answer in time
"""

import json
import os
import random
import ssl
import time
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, Self
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import OpenerDirector, ProxyHandler, Request, build_opener

from .data_calls import Document as Document
from .order_calls import OrderCalls

BACK_OFF_S = (0.1, 0.3, 0.9)
"""Waits before a request is repeated; a broker that its supervisor starts again is back within about a second."""
LONGEST_ASKED_S = 2.0
"""Of the waits that a server asks for."""
AGAIN = (502, 503)
"""Answers that say: not now."""


class ApiError(Exception):
    """What the broker, or the way to it, refused: a stable code, the object, and what to do about it."""

    def __init__(self, code: str, message: str, object: str, hint: str, status: int = 0) -> None:  # noqa: A002
        super().__init__(message)
        self.code = code
        self.message = message
        self.object = object
        self.hint = hint
        self.status = status
        """The HTTP status, 0 if there was no answer."""


class Unreachable(ApiError):
    """No broker answers at this address."""


class TimedOut(ApiError):
    """The broker did not answer in time; what was asked for may still happen."""


def default_home() -> Path:
    """The home directory: ``PRODCHAIN_HOME``, else ``prodchain`` in the user's data home."""
    if chosen := os.environ.get("PRODCHAIN_HOME"):
        return Path(chosen).expanduser().absolute()
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "prodchain"


class Client(OrderCalls):
    """A connection to one broker on behalf of one token. Threads may share it."""

    def __init__(self, url: str, token: str | None, timeout_s: float = 30) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s
        self._opener = _opener(self.url)

    @classmethod
    def from_settings(cls, home: Path | None = None, *, role: str = "user", timeout_s: float = 30) -> Self:
        """The broker that environment and home name; ``role`` is whose token to take of the home's credentials."""
        home = home or default_home()
        return cls(_url_of(home), _token_of(home, role), timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._opener.close()

    # Tasks

    def submit_task(self, request: Mapping[str, Any]) -> Document:
        """Submit, or find again: the output dataset is the key."""
        return self._json("POST", "/api/tasks", body=request, again=True)

    def try_task(self, request: Mapping[str, Any]) -> Document:
        """What would become of a submission; nothing is done."""
        return self._json("POST", "/api/tasks", {"dry_run": "true"}, body=request, again=True)

    def replay(self, task: int, at: str | None = None) -> Document:
        """The brokerage's decision about a task at a time (ISO 8601 with offset), made again from recorded facts."""
        return self._json("GET", "/api/brokerage/replay", {"task": task, "at": at})

    def task(self, id: int) -> Document:  # noqa: A002
        return self._json("GET", f"/api/tasks/{id}")

    def tasks(
        self, *, state: str | None = None, step: str | None = None, run: str | None = None, limit: int | None = 100
    ) -> list[Document]:
        return list(self._pages("/api/tasks", {"state": state, "step": step, "run": run}, limit))

    def task_why(self, id: int, at: str | None = None) -> Document:  # noqa: A002
        """Now, or at a time in the past (ISO 8601 with offset)."""
        return self._json("GET", f"/api/tasks/{id}/why", {"at": at})

    def task_story(self, id: int) -> list[Document]:  # noqa: A002
        return list(self._pages(f"/api/tasks/{id}/story", {}, None))

    # Jobs

    def job(self, id: int) -> Document:  # noqa: A002
        return self._json("GET", f"/api/jobs/{id}")

    def jobs(
        self,
        *,
        task: int | None = None,
        state: str | None = None,
        queue: str | None = None,
        site: str | None = None,
        limit: int | None = 100,
    ) -> list[Document]:
        asked = {"task": task, "state": state, "queue": queue, "site": site}
        return list(self._pages("/api/jobs", asked, limit))

    def job_why(self, id: int, at: str | None = None) -> Document:  # noqa: A002
        """Now, or at a time in the past (ISO 8601 with offset)."""
        return self._json("GET", f"/api/jobs/{id}/why", {"at": at})

    def job_story(self, id: int) -> list[Document]:  # noqa: A002
        return list(self._pages(f"/api/jobs/{id}/story", {}, None))

    def job_log(self, id: int, start: int = 0) -> str:  # noqa: A002
        """The log from character ``start`` to where it has come by now."""
        return self._send("GET", f"/api/jobs/{id}/log", {"start": start}).decode("utf-8", "replace")

    # Sites

    def sites(self) -> list[Document]:
        return list(self._pages("/api/sites", {}, None))

    def queues(self) -> list[Document]:
        return list(self._pages("/api/queues", {}, None))

    def test_queue(self, name: str) -> Document:
        """Send it a canary, a task of one small job: ``task``."""
        return self._json("POST", f"/api/queues/{quote(name, safe='')}/test")

    def pilots(self, *, limit: int | None = None) -> list[Document]:
        return list(self._pages("/api/pilots", {}, limit))

    def apply_sites(self, files: Mapping[str, str], base: str, *, dry_run: bool = False) -> Document:
        """Make the sites what the files say; ``base`` is the folder that their relative URLs start from."""
        body = {"files": dict(files), "base": base, "dry_run": dry_run}
        return self._json("POST", "/api/sites/apply", body=body)

    def site_history(self, *, limit: int | None = 20) -> list[Document]:
        return list(self._pages("/api/sites/history", {}, limit))

    # Shares

    def shares(self, *, days: int | None = None) -> list[Document]:
        return list(self._json("GET", "/api/shares", {"days": days})["items"])

    # Rules for failed jobs

    def rules(self) -> Document:
        return self._json("GET", "/api/rules")

    def test_rules(self, message: str, **what: Any) -> Document:
        """Which rule would decide; ``what``: exit_code, step, owner, attempt, max_attempts."""
        return self._json("GET", "/api/rules/test", {"message": message, **what})

    # The broker itself

    def create_token(self, kind: str, subject: str, lifetime_s: int, queue: str | None = None) -> Document:
        wish = {"kind": kind, "subject": subject, "queue": queue, "lifetime_s": lifetime_s}
        return self._json("POST", "/api/tokens", body=wish)

    def overview(self) -> Document:
        return self._json("GET", "/api/overview")

    def health(self) -> Document:
        return self._json("GET", "/api/health")

    # Requests

    def _pages(self, path: str, asked: Mapping[str, Any], limit: int | None) -> Iterator[Document]:
        return iter(self._listing(path, asked, limit))

    def _json(
        self,
        method: str,
        path: str,
        asked: Mapping[str, Any] | None = None,
        *,
        body: Mapping[str, Any] | None = None,
        again: bool = False,
        timeout_s: float | None = None,
    ) -> Document:
        answer = self._send(method, path, asked or {}, body, again=again or method == "GET", timeout_s=timeout_s)
        try:
            document: Document = json.loads(answer)
        except ValueError:
            hint = "check PRODCHAIN_URL: something else than a broker answers there"
            raise Unreachable("not-a-broker", "the answer is not JSON", self.url, hint) from None
        return document

    def _send(
        self,
        method: str,
        path: str,
        asked: Mapping[str, Any],
        body: Mapping[str, Any] | None = None,
        *,
        again: bool = True,
        timeout_s: float | None = None,
    ) -> bytes:
        timeout_s = timeout_s or self._timeout_s
        query = urlencode({key: value for key, value in asked.items() if value is not None})
        request = Request(f"{self.url}{path}" + (f"?{query}" if query else ""), method=method)  # noqa: S310
        request.add_header("Accept", "application/json")
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        if body is not None:
            request.add_header("Content-Type", "application/json")
            request.data = json.dumps(body).encode()
        waits = list(BACK_OFF_S) if again else []
        while True:
            asked_s = 0.0
            try:
                with self._opener.open(request, timeout=timeout_s) as answer:
                    return bytes(answer.read())
            except HTTPError as refusal:
                if refusal.code not in AGAIN or not waits:
                    raise self._refused(refusal) from None
                said = refusal.headers.get("Retry-After", "")
                asked_s = min(float(said), LONGEST_ASKED_S) if said.isdigit() else 0.0
            except TimeoutError:
                raise self._timed_out(timeout_s) from None
            except (OSError, HTTPException) as loss:
                reason = loss.reason if isinstance(loss, URLError) else loss
                if isinstance(reason, TimeoutError):
                    raise self._timed_out(timeout_s) from None
                if not waits or isinstance(reason, ssl.SSLCertVerificationError):
                    raise self._lost(reason) from None
            time.sleep(max(waits.pop(0), asked_s) * random.uniform(1, 1.5))  # noqa: S311 - not all at once

    # Failures

    def _timed_out(self, timeout_s: float) -> TimedOut:
        message = f"the server did not answer within {timeout_s:g} s"
        return TimedOut("timed-out", message, self.url, "try again; `prodchain status` shows how it is")

    def _lost(self, reason: object) -> Unreachable:
        if isinstance(reason, ssl.SSLCertVerificationError):
            message = f"the server's certificate is not trusted: {reason.verify_message}"
            return Unreachable("bad-certificate", message, self.url, "set SSL_CERT_FILE to the right authority")
        hint = "start it with `prodchain up`, or check PRODCHAIN_URL"
        return Unreachable("server-unreachable", f"the server cannot be reached: {reason}", self.url, hint)

    def _refused(self, refusal: HTTPError) -> ApiError:
        try:
            text = refusal.read()
        except (OSError, HTTPException) as loss:  # the server died in mid-sentence: it has said nothing yet
            return self._lost(loss)
        try:
            problem = json.loads(text)
        except ValueError:
            problem = None
        if not isinstance(problem, dict):
            problem = {}
        code = problem.get("code") or f"http-{refusal.code}"
        message = problem.get("detail") or problem.get("title") or f"HTTP {refusal.code} {refusal.reason}"
        about = problem.get("object") or urlsplit(refusal.url or self.url).path
        hint = problem.get("hint") or "the server's log, HOME/logs/server.log, says more"
        if refusal.code == 401 and not self._token:
            code, message, about = "token-missing", "this needs a token, and there is none", self.url
            hint = "set PRODCHAIN_TOKEN_FILE, or --home to a home with credentials/user.token"
        kind = Unreachable if refusal.code in AGAIN else TimedOut if refusal.code == 504 else ApiError
        return kind(str(code), str(message), str(about), str(hint), refusal.code)


def _opener(url: str) -> OpenerDirector:
    """Proxies of the environment, but never to this machine itself."""
    here = urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")
    return build_opener(ProxyHandler({})) if here else build_opener()


def _url_of(home: Path) -> str:
    if url := os.environ.get("PRODCHAIN_URL"):
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            hint = "set PRODCHAIN_URL to something like http://127.0.0.1:8080"
            raise Unreachable("bad-url", f"{url!r} is no address of a server", "PRODCHAIN_URL", hint)
        return url
    try:
        port = json.loads((home / "run" / "server.json").read_text())["port"]
    except (OSError, ValueError, KeyError, TypeError):
        hint = "start one with `prodchain up`, name its home with --home, or set PRODCHAIN_URL"
        raise Unreachable("no-server", "no server was started from this home", str(home), hint) from None
    return f"http://127.0.0.1:{port}"


def _token_of(home: Path, role: str) -> str | None:
    """A token file that was named must be there; one of the home need not, as reading may be free."""
    named = os.environ.get("PRODCHAIN_TOKEN_FILE")
    path = Path(named) if named else home / "credentials" / f"{role}.token"
    try:
        token = path.read_text().strip()
    except OSError as error:
        if not named:
            return None
        hint = "make PRODCHAIN_TOKEN_FILE name a file that you can read"
        raise ApiError("token-missing", f"cannot read the token: {error.strerror}", named, hint, 401) from None
    if not token:
        hint = "write a token into it, which `prodchain token create` makes for an administrator, or delete the file"
        raise ApiError("token-missing", "the token file is empty", str(path), hint, 401)
    return token
