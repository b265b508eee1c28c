"""A small real HTTP server that speaks the broker's side of the pilot protocol, and notes all it hears."""

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prodchain.pilot_agent.messages import (
    Acquire,
    Acquired,
    Answer,
    Answers,
    JobSpec,
    Update,
    Updates,
    decode,
    encode,
)

TOKEN = "correct-horse"
LOSE = -1


class Broker:
    """Gives out ``jobs`` in order; answers an update by ``commands[state]``, once.

    ``mishaps["acquire" or state]``: what goes wrong with such requests, one after the other: an HTTP status, or
    LOSE for an answer that gets lost when the request has been served.
    """

    def __init__(self) -> None:
        self.jobs: list[JobSpec] = []
        self.commands: dict[str, str] = {}
        self.mishaps: dict[str, list[int]] = {}
        self.asked: list[Acquire] = []
        self.updates: list[Update] = []
        self.token = TOKEN
        self.retry_after = ""
        self._given: dict[str, JobSpec] = {}
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Nothing listens on the port any more, until ``start``."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def answer(self, path: str, document: Any) -> dict[str, Any]:
        with self._lock:
            if path == "/api/pilot/acquire":
                return encode(self._acquire(decode(Acquire, document)))
            return encode(Answers([self._update(update) for update in decode(Updates, document).updates]))

    def _acquire(self, ask: Acquire) -> Acquired:
        self.asked.append(ask)
        if ask.request not in self._given:
            if not self.jobs or not ask.remaining_s:
                return Acquired([], "nothing to do")
            self._given[ask.request] = self.jobs.pop(0)
        return Acquired([self._given[ask.request]])

    def _update(self, update: Update) -> Answer:
        self.updates.append(update)
        return Answer(update.job, self.commands.pop(update.state, "continue"), "because the test says so")

    def wait_for(self, what: Callable[[], Any], timeout_s: float = 15.0) -> None:
        end = time.monotonic() + timeout_s
        while not what():
            assert time.monotonic() < end, f"heard so far: {self.states()}"
            time.sleep(0.02)

    def states(self, job: int | None = None) -> list[str]:
        """The states reported, without repetitions."""
        states = [update.state for update in self.updates if job in (None, update.job)]
        return [state for index, state in enumerate(states) if index == 0 or states[index - 1] != state]

    @property
    def final(self) -> Update:
        return [update for update in self.updates if update.state in ("finished", "failed")][-1]

    def log(self) -> str:
        """The job's log, put together by offsets as a database would."""
        pieces = {update.log_offset: update.log for update in self.updates if update.log}
        text = ""
        for offset in sorted(pieces):
            assert offset == len(text)
            text += pieces[offset]
        return text


def _handler(broker: Broker) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if self.headers["Authorization"] != f"Bearer {broker.token}":
                return self._say(401, {"title": "Unauthorized", "detail": "the token is expired", "hint": "renew it"})
            mishaps = broker.mishaps.get(body["updates"][0]["state"] if "updates" in body else "acquire", [])
            mishap = mishaps.pop(0) if mishaps else 0
            if mishap > 0:
                return self._say(mishap, {"title": "Not now", "detail": "the test says so"})
            answer = broker.answer(self.path, body)
            if mishap == LOSE:
                self.close_connection = True
                return None
            return self._say(200, answer)

        def _say(self, status: int, document: Any) -> None:
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            if broker.retry_after:
                self.send_header("Retry-After", broker.retry_after)
            if status == 302:
                self.send_header("Location", f"{broker.url}/api/pilot/acquire")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    return Handler
