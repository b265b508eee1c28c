"""Answers leave the server in one write each, and nothing is kept back for longer than a turn of the loop."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import pytest
import uvicorn

from prodchain.broker import corked

REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"
HEAD = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]}
Talk: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def talking(app: Callable[[Any, Any, Any], Awaitable[None]]) -> AsyncIterator[Talk]:
    """A connection to a server of the application."""
    config = uvicorn.Config(app, http=corked.CorkedProtocol, lifespan="off", log_config=None, ws="none")
    config.load()
    state = uvicorn.Server(config).server_state
    server = await asyncio.get_running_loop().create_server(
        lambda: corked.CorkedProtocol(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What is written to the connection."""
    found: list[bytes] = []

    class Noting(corked._Corked):
        def __init__(self, under: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
            super().__init__(under, loop)
            write = under.write

            class Under:
                def __getattr__(self, name: str) -> Any:
                    return getattr(under, name)

                def write(self, data: bytes) -> None:
                    found.append(bytes(data))
                    write(data)

            self._under = Under()  # type: ignore[assignment]

    monkeypatch.setattr(corked, "_Corked", Noting)
    return found


async def test_head_and_body_are_one_write(pieces: list[bytes]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(HEAD)
        await send({"type": "http.response.body", "body": b"answer"})

    async with talking(app) as (reader, writer):
        for _ in range(3):
            writer.write(REQUEST)
            assert (await reader.readuntil(b"answer")).startswith(b"HTTP/1.1 200 OK\r\n")
    assert len(pieces) == 3


async def test_a_head_whose_body_comes_later_does_not_wait_for_it(pieces: list[bytes]) -> None:
    read = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(HEAD)
        await read.wait()
        await send({"type": "http.response.body", "body": b"ans", "more_body": True})
        await send({"type": "http.response.body", "body": b"wer"})

    async with talking(app) as (reader, writer):
        writer.write(REQUEST)
        await reader.readuntil(b"\r\n\r\n")
        read.set()
        assert await reader.readexactly(6) == b"answer"
    assert len(pieces) == 2


async def test_the_last_answer_of_a_connection_comes_whole_before_it_is_closed(pieces: list[bytes]) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(HEAD)
        await send({"type": "http.response.body", "body": b"answer"})

    async with talking(app) as (reader, writer):
        writer.write(REQUEST.replace(b"host", b"connection: close\r\nhost"))
        assert (await reader.read()).endswith(b"answer")
    assert len(pieces) == 1
