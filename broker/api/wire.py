"""The server's protocol: uvicorn's, but hot calls go straight from the wire to their route, and back in one write.

So go those that are short and come alone, on a connection that waits for nothing else. All others go uvicorn's way,
through ``HotApp``, to the same routes and with the same answers.
"""

import asyncio
from typing import Any, TypeAlias, cast

from starlette.types import Message, Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from .hot import HotApp, HotRoute, head_of

SHORT = 65536
"""Bytes of a body; of longer ones only some are read at once."""
LATE_S = 1.0
"""How long the body may come after the headers."""
Headers: TypeAlias = tuple[tuple[bytes, bytes], ...]


class _Call:
    """One that is under way; to the rest of the protocol it is what uvicorn calls a cycle."""

    __slots__ = ("disconnected", "keep_alive", "message_event", "response_complete", "scope")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.disconnected = self.response_complete = False
        self.keep_alive = True
        self.message_event = asyncio.Event()

    async def receive(self) -> Message:
        """Its body is known; what may come is that the pilot hangs up."""
        await self.message_event.wait()
        return {"type": "http.disconnect"}


class Protocol(HttpToolsProtocol):
    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._hot = cast(HotApp, self.app)
        self._route: HotRoute | None = None
        """Of a call whose headers are here, and whose body is to come."""
        self._body = b""
        self._late: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._route is not None and self._late is None:
            self._late = self.loop.call_later(LATE_S, self._by_uvicorn)

    def on_headers_complete(self) -> None:
        self._route, self._body = self._straight(), b""
        if self._route is None:
            super().on_headers_complete()

    def _straight(self) -> HotRoute | None:
        route = self._hot.hot.get(self.url)
        if route is None or self.parser.get_method() != b"POST" or self.parser.get_http_version() != "1.1":
            return None
        free = self.cycle is None or self.cycle.response_complete
        simple = self.parser.should_keep_alive() and not self.parser.should_upgrade() and not self.expect_100_continue
        return route if free and simple and not self.flow.write_paused else None

    def on_body(self, body: bytes) -> None:
        if self._route is None:
            super().on_body(body)
        else:
            self._body += body
            if len(self._body) > SHORT:
                self._by_uvicorn()

    def _by_uvicorn(self) -> None:
        """The call is long, or late."""
        if self._taken() is not None and not self.transport.is_closing():
            super().on_headers_complete()
            super().on_body(self._body)

    def _taken(self) -> HotRoute | None:
        """The call's route; nobody waits for its body any more."""
        if self._late is not None:
            self._late.cancel()
            self._late = None
        route, self._route = self._route, None
        return route

    def on_message_complete(self) -> None:
        if (route := self._taken()) is None:
            super().on_message_complete()
            return
        scope = cast(dict[str, Any], self.scope)
        scope.update(method="POST", path=route.path, raw_path=self.url, query_string=b"", app=self._hot)
        call = _Call(scope)
        self.cycle = cast(Any, call)
        task = self.loop.create_task(self._serve(route, call, self._body))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _serve(self, route: HotRoute, call: _Call, body: bytes) -> None:
        try:
            try:
                answer = await route.answer(call.scope, call.receive, body)
                found = 200, head_of(answer), answer
            except Exception as error:
                found = await self._refusal(call, error)
            if not call.disconnected:
                self._write(call, *found)
        except BaseException:
            self.transport.close()
            raise

    async def _refusal(self, call: _Call, error: Exception) -> tuple[int, Headers, bytes]:
        messages: list[Message] = []

        async def send(message: Message) -> None:
            messages.append(message)

        await self._hot.refuse(error, call.scope, call.receive, send)
        start, *rest = messages
        return start["status"], tuple(start["headers"]), b"".join(message.get("body", b"") for message in rest)

    def _write(self, call: _Call, status: int, headers: Headers, body: bytes) -> None:
        close = () if call.keep_alive else ((b"connection", b"close"),)
        lines = [b"%b: %b\r\n" % header for header in (*self.server_state.default_headers, *headers, *close)]
        self.transport.write(b"".join((STATUS_LINE[status], *lines, b"\r\n", body)))
        call.response_complete = True
        if not call.keep_alive:
            self.transport.close()
        self.on_response_complete()
