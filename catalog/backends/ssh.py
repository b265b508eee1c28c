"""The SFTP protocol, version 3, over the ``ssh`` program: enough of it to move files.

``ssh`` does the cryptography in a process of its own, with the user's configuration, agent and jump hosts. Here only
packets of 255 kB are framed, so that a core of Python keeps up with two of OpenSSH (docs/adr/0017).
The protocol: https://www.openssh.com/txt/draft-ietf-secsh-filexfer-02.txt, extensions: OpenSSH's PROTOCOL.
"""

import fcntl
import os
import select
import struct
import subprocess
import tempfile
from typing import NamedTuple

from . import base

INIT, VERSION, OPEN, CLOSE, READ, WRITE, FSTAT = 1, 2, 3, 4, 5, 6, 8
OPENDIR, READDIR, REMOVE, MKDIR, STAT, RENAME = 11, 12, 13, 14, 17, 18
STATUS, HANDLE, DATA, NAME, ATTRS = 101, 102, 103, 104, 105
EXTENDED, EXTENDED_REPLY = 200, 201

OK, END, NO_SUCH_FILE, PERMISSION_DENIED, FAILURE = 0, 1, 2, 3, 4

TO_READ, TO_WRITE_NEW = 0x01, 0x02 | 0x08 | 0x20
"""Flags of OPEN; the second is write, create, and fail if it exists."""

PACKET = 32 * 1024
"""Bytes of a file in one packet where the server does not say that it takes more."""

MOST = 255 * 1024
"""Bytes of a file in one packet that we ask for."""

_PIPE = 1024 * 1024
_LONGEST = 1024 * 1024
"""Bytes of an answer; more is not SFTP but, say, a greeting of the login shell."""


class Refusal(Exception):
    """The server's answer to a request: a status that is not OK."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words or f"status {code}")
        self.code = code


class Broken(Exception):
    """The connection ended; with the words of ``ssh``."""


class Attributes(NamedTuple):
    bytes: int
    mode: int

    @property
    def folder(self) -> bool:
        return self.mode & 0o170000 == 0o040000

    @property
    def file(self) -> bool:
        return self.mode & 0o170000 == 0o100000


class Channel:
    """A connection to one server, for one thread at a time. Answers may be waited for in any order."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._words = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the channel
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            env=environment,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for us: we let go of it in order
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._to, self._from = self._process.stdin.fileno(), self._process.stdout.fileno()
        for pipe in (self._to, self._from):
            os.set_blocking(pipe, False)
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
        self._number = 0
        self._asked: set[int] = set()
        self._early: dict[int, tuple[int, bytes]] = {}  # kind and content of answers that nobody waits for yet
        try:
            self.extensions = self._greet()
            self.packet = self._limit()
        except BaseException:
            self.close()
            raise

    @property
    def usable(self) -> bool:
        """Whether the next one may have it: alive, and no answer is outstanding."""
        return not self._asked and not self._early and self._process.poll() is None

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._words):
            assert pipe is not None
            pipe.close()

    def ask(self, kind: int, *fields: bytes | memoryview) -> int:
        """Send a request; its number, to wait for the answer."""
        self._number += 1
        length = 5 + sum(map(len, fields))
        self._send([struct.pack(">IBI", length, kind, self._number), *fields])
        self._asked.add(self._number)
        return self._number

    def answer(self, number: int) -> bytes:
        """The content of the answer to a request; Refusal if it was refused."""
        while number not in self._early:
            self._keep(*self._head())
        kind, content = self._early.pop(number)
        if kind == STATUS and (code := u32(content)) != OK:
            raise Refusal(code, text(content, 4)[0].decode(errors="replace") if len(content) > 4 else "")
        return content

    def call(self, kind: int, *fields: bytes) -> bytes:
        return self.answer(self.ask(kind, *fields))

    def data(self, number: int, into: memoryview) -> int:
        """Bytes of a file that were asked for by READ; 0 at its end."""
        while number not in self._early:
            length, kind, got = self._head()
            if (kind, got) == (DATA, number):  # straight to where it is wanted
                head = memoryview(bytearray(4))
                self._receive(head)
                self._receive(into[: length - 4])
                return length - 4
            self._keep(length, kind, got)
        try:
            content = text(self.answer(number))[0]
        except Refusal as refusal:
            if refusal.code == END:
                return 0
            raise
        into[: len(content)] = content
        return len(content)

    def _head(self) -> tuple[int, int, int]:
        """Length of what follows, kind and number of the next answer."""
        head = bytearray(9)
        self._receive(memoryview(head))
        length, kind, number = struct.unpack(">IBI", head)
        if length < 5 or length > _LONGEST:
            raise Broken(f"not an SFTP server: {bytes(head)!r}")
        self._asked.discard(number)
        return length - 5, kind, number

    def _keep(self, length: int, kind: int, number: int) -> None:
        content = bytearray(length)
        self._receive(memoryview(content))
        self._early[number] = kind, bytes(content)

    def _greet(self) -> dict[bytes, bytes]:
        """Extensions of the server, with their versions."""
        self._send([struct.pack(">IBI", 5, INIT, 3)])
        length, kind, _ = self._head()  # where other answers have their number, this has the version
        if kind != VERSION:
            raise Broken(f"not an SFTP server: answer {kind}")
        content = bytearray(length)
        self._receive(memoryview(content))
        extensions, at = {}, 0
        while at < length:
            name, at = text(content, at)
            extensions[name], at = text(content, at)
        return extensions

    def _limit(self) -> int:
        """Bytes of a file that both READ and WRITE take in one packet."""
        if b"limits@openssh.com" not in self.extensions:
            return PACKET
        _, most_read, most_written, _ = struct.unpack(">QQQQ", self.call(EXTENDED, string(b"limits@openssh.com")))
        return min(most_read or PACKET, most_written or PACKET, MOST)

    def _send(self, pieces: list[bytes | memoryview]) -> None:
        while pieces:
            try:
                sent = os.writev(self._to, pieces)
            except BlockingIOError:
                self._wait(self._to, select.POLLOUT)
                continue
            except BrokenPipeError:
                raise self._broken() from None
            while pieces and sent >= len(pieces[0]):
                sent -= len(pieces.pop(0))
            if sent:
                pieces[0] = memoryview(pieces[0])[sent:]

    def _receive(self, into: memoryview) -> None:
        while into:
            try:
                got = os.readv(self._from, [into])
            except BlockingIOError:
                self._wait(self._from, select.POLLIN)
                continue
            if not got:
                raise self._broken()
            into = into[got:]

    def _wait(self, pipe: int, event: int) -> None:
        waiting = select.poll()
        waiting.register(pipe, event)
        if not waiting.poll(base.TIMEOUT_S * 1000):
            raise TimeoutError(f"silent for {base.TIMEOUT_S:g} s")

    def _broken(self) -> Broken:
        """Why ``ssh`` ended, in its words."""
        self._process.kill()
        self._process.wait()
        self._words.seek(0)
        words = self._words.read(2000).decode(errors="replace").split("\n")
        return Broken(" ".join(line.strip() for line in words if line.strip(" \r@")) or "the connection was closed")


def u32(content: bytes | bytearray | memoryview, at: int = 0) -> int:
    value: int = struct.unpack_from(">I", content, at)[0]
    return value


def string(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content


def text(content: bytes | bytearray, at: int = 0) -> tuple[bytes, int]:
    """A string, and where the next field begins."""
    end = at + 4 + u32(content, at)
    return bytes(content[at + 4 : end]), end


def attributes(content: bytes, at: int = 0) -> tuple[Attributes, int]:
    """Size and mode of a file, and where the next field begins."""
    flags, at = u32(content, at), at + 4
    size = mode = 0
    if flags & 0x1:
        (size,), at = struct.unpack_from(">Q", content, at), at + 8
    if flags & 0x2:
        at += 8
    if flags & 0x4:
        mode, at = u32(content, at), at + 4
    if flags & 0x8:
        at += 8
    if flags & 0x80000000:
        many, at = u32(content, at), at + 4
        for _ in range(2 * many):
            _, at = text(content, at)
    return Attributes(size, mode), at
