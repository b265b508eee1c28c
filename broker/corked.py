"""The server's protocol: an answer leaves in one write.

uvicorn writes head and body one after the other, and each write is a system call that wakes the caller.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class CorkedProtocol(HttpToolsProtocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_Corked(transport, self.loop))


class _Corked(asyncio.Transport):
    """Keeps a piece until the next one comes, and no longer than this turn of the loop."""

    def __init__(self, under: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._under = under
        self._loop = loop
        self._kept = b""

    def write(self, data: Any) -> None:
        if self._kept:
            kept, self._kept = self._kept, b""
            self._under.write(kept + data)
        elif data:
            self._kept = data
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        self._flush()
        self._under.close()

    def _flush(self) -> None:
        if self._kept:
            kept, self._kept = self._kept, b""
            self._under.write(kept)

    def is_closing(self) -> bool:
        return self._under.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._under.get_extra_info(name, default)

    def pause_reading(self) -> None:
        self._under.pause_reading()

    def resume_reading(self) -> None:
        self._under.resume_reading()
