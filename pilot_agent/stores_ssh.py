"""The SFTP protocol, version 3, over the ``ssh`` program: enough of it to move one file after the other.

https://www.openssh.com/txt/draft-ietf-secsh-filexfer-02.txt, extensions: OpenSSH's PROTOCOL.
"""

from __future__ import annotations

import struct
import subprocess
import tempfile
from contextlib import suppress
from typing import IO, Any

OPEN, CLOSE, READ, WRITE, REMOVE, MKDIR, STAT, RENAME, EXTENDED = 3, 4, 5, 6, 13, 14, 17, 18, 200
INIT, VERSION, STATUS, HANDLE, DATA = 1, 2, 101, 102, 103
OK, END, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE = 0, 1, 2, 3, 4
LONGEST = 1 << 20
"""Bytes of an answer; more is not SFTP but, say, a greeting of the login shell."""


class Refusal(Exception):
    """The server's answer to a request: a status that is not OK."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words or f"status {code}")
        self.code = code


class Broken(Exception):
    """The connection ended; with the words of ``ssh``."""


class Channel:
    """One connection. Questions may be asked ahead; answers may be waited for in any order."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the channel
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            env=environment,
        )
        self._to, self._from = _pipe(self._process.stdin), _pipe(self._process.stdout)
        self._number = 0
        self.usable = True
        self._early: dict[int, tuple[int, bytes]] = {}
        self.extensions: set[bytes] = set()

    def greet(self) -> None:
        """Wait until the other end is there."""
        self._send(struct.pack(">IBI", 5, INIT, 3))
        kind, content = self._packet()
        if kind != VERSION:
            raise Broken(f"not an SFTP server: answer {kind}")
        at = 4
        while at < len(content):
            name, at = text(content, at)
            _, at = text(content, at)
            self.extensions.add(name)

    def ask(self, kind: int, *fields: bytes) -> int:
        """Send a request; its number, to wait for the answer."""
        self._number += 1
        self._send(struct.pack(">IBI", 5 + sum(map(len, fields)), kind, self._number), *fields)
        return self._number

    def answer(self, number: int) -> bytes:
        """The content of the answer to a request; Refusal if it was refused."""
        while number not in self._early:
            kind, content = self._packet()
            self._early[u32(content)] = kind, content[4:]
        kind, content = self._early.pop(number)
        if kind == STATUS and (code := u32(content)) != OK:
            raise Refusal(code, text(content, 4)[0].decode(errors="replace") if len(content) > 4 else "")
        return content

    def call(self, kind: int, *fields: bytes) -> bytes:
        return self.answer(self.ask(kind, *fields))

    def kill(self) -> None:
        """Whoever waits for an answer, in another thread, learns that it is over."""
        self.usable = False
        self._process.kill()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._to, self._from, self._words):
            with suppress(BrokenPipeError):  # what was not sent yet
                pipe.close()

    def _packet(self) -> tuple[int, bytes]:
        length, kind = struct.unpack(">IB", self._receive(5))
        if not 5 <= length <= LONGEST:
            raise Broken("not an SFTP server: does its login shell greet?")
        return kind, self._receive(length - 1)

    def _send(self, *pieces: bytes) -> None:
        try:
            self._to.write(b"".join(pieces))
            self._to.flush()
        except BrokenPipeError:
            raise self._broken() from None

    def _receive(self, length: int) -> bytes:
        content = self._from.read(length)
        if len(content) < length:
            raise self._broken()
        return content

    def _broken(self) -> Broken:
        """Why ``ssh`` ended, in its words."""
        self._process.kill()
        self._process.wait()
        self._words.seek(0)
        words = self._words.read(2000).decode(errors="replace").split("\n")
        return Broken(" ".join(line.strip() for line in words if line.strip(" \r@")) or "the connection was closed")


def u32(content: bytes, at: int = 0) -> int:
    return int(struct.unpack_from(">I", content, at)[0])


def string(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def text(content: bytes, at: int = 0) -> tuple[bytes, int]:
    """A string, and where the next field begins."""
    end = at + 4 + u32(content, at)
    return content[at + 4 : end], end


def _pipe(stream: Any) -> IO[bytes]:
    opened: IO[bytes] = stream
    return opened
