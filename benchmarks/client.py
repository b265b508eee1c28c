"""A small HTTP client for what wrk cannot: parked pilots by the thousand, and bulk calls."""

import asyncio
from typing import Any
from urllib.parse import urlsplit

import msgspec


class Caller:
    """One connection; calls one after the other."""

    def __init__(self, url: str, token: str) -> None:
        at = urlsplit(url)
        self._host, self._port = at.hostname, at.port
        self._head = f"Host: {at.netloc}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def post(self, path: str, document: Any) -> Any:
        return msgspec.json.decode(await self.send(path, msgspec.json.encode(document)))

    async def send(self, path: str, body: bytes) -> bytes:
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port, limit=2**26)
        self._writer.write(f"POST {path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        answer = await self._reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(answer.decode())
        return answer

    def close(self) -> None:
        """The next call opens it again."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
