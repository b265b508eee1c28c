"""``sftp://``: OpenSSH's ``ssh`` program in batch mode, with host keys that are known."""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from . import stores_ssh as ssh
from .errors import DiskFull, StorageError
from .store import Sink, Source
from .stores_credentials import renewal
from .stores_http import RUNS
from .stores_ssh import Broken, Channel, Refusal, string, text, u32

PACKET = 32 * 1024
"""Bytes of a file in one packet: what every server takes."""
IN_FLIGHT = 64
"""Requests before the first answer is waited for."""
TO_READ, TO_WRITE = struct.pack(">I", 0x01), struct.pack(">I", 0x02 | 0x08 | 0x10)
NO_ATTRIBUTES = struct.pack(">I", 0)
SIZE = 0x1
"""Flag of attributes that hold the size."""
SPARE = 1 << 20
RENAME, SPACE, SYNC = b"posix-rename@openssh.com", b"statvfs@openssh.com", b"fsync@openssh.com"
_DENIED = ("Permission denied", "Too many authentication failures", "authentication methods")
_UNKNOWN = ("Host key verification failed", "host key is known")


class SftpStore:
    """One SSH server; the connection is kept while the store is."""

    renames = True
    late = False

    def __init__(self, server: str, credentials: Mapping[str, str]) -> None:
        self._server = server
        self._credentials = credentials
        self._channel: Channel | None = None

    def get(self, path: str, sink: Sink) -> None:
        with self._asking("read", path) as channel:
            size = _size(channel.call(ssh.STAT, _name(path)))
            handle = text(channel.call(ssh.OPEN, _name(path), TO_READ, NO_ATTRIBUTES))[0]
            under_way: deque[tuple[int, int, int]] = deque()
            asked = 0
            while asked < size or under_way:
                while asked < size and len(under_way) < IN_FLIGHT:
                    most = min(PACKET, size - asked)
                    under_way.append((_read(channel, handle, asked, most), asked, most))
                    asked += most
                number, at, most = under_way.popleft()
                while most:
                    block = text(channel.answer(number))[0]
                    sink(block)
                    at, most = at + len(block), most - len(block)
                    if most:  # the server gave less than it was asked for
                        number = _read(channel, handle, at, most)
            channel.call(ssh.CLOSE, string(handle))

    def put(self, path: str, source: Source) -> None:
        with self._asking("write", path) as channel:
            handle = _create(channel, path)
            under_way: deque[int] = deque()
            at = 0
            for block in source.blocks():
                for start in range(0, len(block), PACKET):
                    piece = block[start : start + PACKET]
                    under_way.append(channel.ask(ssh.WRITE, string(handle), struct.pack(">Q", at), string(piece)))
                    at += len(piece)
                    if len(under_way) == IN_FLIGHT:
                        channel.answer(under_way.popleft())
            for number in under_way:
                channel.answer(number)
            if SYNC in channel.extensions:
                channel.call(ssh.EXTENDED, string(SYNC), string(handle))
            channel.call(ssh.CLOSE, string(handle))

    def size(self, path: str) -> int | None:
        try:
            with self._asking("look at", path) as channel:
                return _size(channel.call(ssh.STAT, _name(path)))
        except FileNotFoundError:
            return None

    def adler32(self, path: str) -> str | None:
        return None  # the protocol has no checksums

    def rename(self, path: str, target: str) -> None:
        with self._asking("rename", path) as channel:
            if RENAME in channel.extensions:
                channel.call(ssh.EXTENDED, string(RENAME), _name(path), _name(target))
            else:
                channel.call(ssh.RENAME, _name(path), _name(target))

    def delete(self, path: str) -> None:
        with suppress(FileNotFoundError), self._asking("delete", path) as channel:
            channel.call(ssh.REMOVE, _name(path))

    def cut(self) -> None:
        if self._channel:
            self._channel.kill()

    def __del__(self) -> None:
        self._drop()

    @contextmanager
    def _asking(self, doing: str, path: str) -> Iterator[Channel]:
        """The connection, let go of if something broke off in its middle."""
        try:
            yield self._connected()
        except Refusal as refusal:
            error = self._refusal(refusal, doing, path)
            self._drop()  # answers to what was asked ahead may be on their way
            raise error from None
        except Broken as broken:
            self._drop()
            raise self._broken(str(broken), doing, path) from None
        except BaseException:
            self._drop()
            raise

    def _connected(self) -> Channel:
        if self._channel is None or not self._channel.usable:
            self._drop()
            if shutil.which("ssh") is None:
                raise StorageError(
                    f"{self._server} cannot be reached: the program ssh is missing",
                    object=self._server,
                    hint="install OpenSSH's client on this node",
                )
            with _askpass(self._credentials.get("password")) as environment:
                self._channel = Channel(command(self._server, self._credentials), environment)
                self._channel.greet()
        return self._channel

    def _drop(self) -> None:
        channel, self._channel = self._channel, None
        if channel:
            channel.close()

    def _refusal(self, refusal: Refusal, doing: str, path: str) -> Exception:
        url = f"{self._server}{path}"
        if refusal.code == ssh.NO_SUCH_FILE:
            return FileNotFoundError(2, "No such file")
        if refusal.code == ssh.PERMISSION_DENIED:
            return StorageError(
                f"not allowed to {doing} {url}: {refusal}", object=url, hint="check owner and mode there"
            )
        if doing == "write" and self._channel and _full(self._channel, path):  # the protocol has no word for it
            return DiskFull(f"storage is full: cannot write {url}", object=url, hint="free some space there")
        return StorageError(f"cannot {doing} {url}: {refusal}", object=url, hint="check the storage and its log")

    def _broken(self, words: str, doing: str, path: str) -> StorageError:
        url, hint = f"{self._server}{path}", RUNS
        if any(word in words for word in _UNKNOWN):
            known = self._credentials.get("known_hosts", "~/.ssh/known_hosts")
            hint = f"compare the host key with what the server's administrator says, then write it to {known}"
        elif any(word in words for word in _DENIED):
            hint = renewal(self._server)
        return StorageError(f"cannot {doing} {url}: {words}", object=url, hint=hint)


def command(server: str, credentials: Mapping[str, str]) -> list[str]:
    """What to run: host keys are checked, nobody is asked anything."""
    parts = urlsplit(server)
    options = {
        "StrictHostKeyChecking": "yes",
        "BatchMode": "no" if "password" in credentials else "yes",  # it would not take our password either
        "NumberOfPasswordPrompts": "1",
        "ConnectTimeout": "10",
        "ServerAliveInterval": "15",
        "Compression": "no",
    }
    if "known_hosts" in credentials:
        options.update(UserKnownHostsFile=credentials["known_hosts"], GlobalKnownHostsFile="/dev/null")
    if "private_key" in credentials:
        options.update(IdentityFile=credentials["private_key"], IdentitiesOnly="yes")
    where = ["-p", str(parts.port)] if parts.port else []
    who = ["-l", credentials["user"]] if "user" in credentials else []
    return [
        "ssh",
        *(f"-o{key}={value}" for key, value in options.items()),
        *where,
        *who,
        "-s",
        "--",
        parts.hostname or "",
        "sftp",
    ]


@contextmanager
def _askpass(password: str | None) -> Iterator[dict[str, str]]:
    """The environment in which ``ssh`` gets a password without a terminal, and not by its command line."""
    if password is None:
        yield dict(os.environ)
        return
    with tempfile.TemporaryDirectory(prefix="askpass-") as folder:
        program = Path(folder) / "askpass"
        program.write_text("#!/bin/sh\nprintf '%s\\n' \"$SFTP_PASSWORD\"\n")
        program.chmod(0o700)
        yield {**os.environ, "SSH_ASKPASS": str(program), "SSH_ASKPASS_REQUIRE": "force", "SFTP_PASSWORD": password}


def _name(path: str) -> bytes:
    return string(os.fsencode(path))


def _read(channel: Channel, handle: bytes, at: int, most: int) -> int:
    return channel.ask(ssh.READ, string(handle), struct.pack(">QI", at, most))


def _size(content: bytes) -> int:
    """From the attributes of a file."""
    if not u32(content) & SIZE:
        raise StorageError("the server does not say how large a file is")
    return int(struct.unpack_from(">Q", content, 4)[0])


def _create(channel: Channel, path: str) -> bytes:
    """Handle of a new file; the folders above are made if it needs them."""
    opening = _name(path), TO_WRITE, NO_ATTRIBUTES
    try:
        return text(channel.call(ssh.OPEN, *opening))[0]
    except Refusal as refusal:
        if refusal.code != ssh.NO_SUCH_FILE:
            raise
    _make_folder(channel, path.rpartition("/")[0])
    return text(channel.call(ssh.OPEN, *opening))[0]


def _make_folder(channel: Channel, folder: str) -> None:
    """Make a folder and those above it; another pilot may be doing the same."""
    try:
        channel.call(ssh.MKDIR, _name(folder), NO_ATTRIBUTES)
    except Refusal as refusal:
        if refusal.code == ssh.NO_SUCH_FILE and "/" in folder.strip("/"):
            _make_folder(channel, folder.rpartition("/")[0])
            _make_folder(channel, folder)
        elif refusal.code != ssh.FAILURE:  # which is what a folder that is there gives
            raise


def _full(channel: Channel, path: str) -> bool:
    """Whether the server has no room left where a file is to be."""
    if SPACE not in channel.extensions:
        return False
    try:
        answer = channel.call(ssh.EXTENDED, string(SPACE), _name(path.rpartition("/")[0]))
    except (Refusal, Broken):
        return False
    _, block, _, _, available = struct.unpack_from(">QQQQQ", answer)
    return bool(block * available < SPARE)
