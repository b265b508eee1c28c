"""What surrounds every request: its id, the size limit, the access log, and an answer to unexpected errors.

The log has the path but never the query or a header, so that no secret gets into it.
"""

import logging
import time
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import problem

log = logging.getLogger("prodchain.server")
access = logging.getLogger("prodchain.access")

LARGEST_BODY = 8_000_000


class Envelope:
    """ASGI middleware around the application."""

    def __init__(self, app: ASGIApp, largest_body: int = LARGEST_BODY) -> None:
        self._app = app
        self._largest = largest_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started, status = time.monotonic(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                headers["X-Content-Type-Options"] = "nosniff"
            await send(message)

        try:
            await self._app(scope, self._limited(scope, receive), answer)
        except Exception:
            log.exception("%s %s %s failed", request_id, scope["method"], shown(scope["path"]))
            if status:
                raise  # too late for another answer: the connection breaks
            response = problem(
                request_id,
                500,
                "internal",
                "the server made a mistake",
                shown(scope["path"]),
                f"its log tells more: look for {request_id} in HOME/logs/server.log",
            )
            await response(scope, receive, answer)
        finally:
            caller = scope["state"].get("caller")
            access.info(
                "%s %s %s %s %.0f ms %s",
                request_id,
                scope["method"],
                shown(scope["path"]),
                status,
                (time.monotonic() - started) * 1000,
                caller.subject if caller else "-",
            )

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """Stop reading a body that is too large, whether or not it says so beforehand."""
        declared = Headers(scope=scope).get("content-length", "0")
        received = int(declared) if declared.isdigit() else 0
        if received <= self._largest:
            received = 0

        async def limited() -> Message:
            nonlocal received
            message = await receive()
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > self._largest:
                    raise HTTPException(413, f"a request may have {self._largest} bytes at most")
            return message

        return limited


def shown(path: str) -> str:
    """A path that cannot forge lines of the log."""
    return path[:300].encode("unicode_escape").decode()
