"""SFTP by the ``ssh`` program (ssh.py): several requests in flight, connections kept for the next file."""

import os
import shutil
import struct
import tempfile
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path, PurePosixPath
from threading import BoundedSemaphore
from typing import Any
from urllib.parse import urlsplit
from weakref import finalize

from zlib_ng import zlib_ng

from ..errors import BadStorage, CatalogError, FileMissing, StorageDenied, StorageFull, StorageTimeout
from . import ssh
from .base import BLOCK, Entry, Told
from .credentials import renewal
from .local import explained, received
from .ssh import Broken, Channel, Refusal, string, u32

IN_FLIGHT = 32
"""Requests before the first answer is waited for: 8 MB."""

KEPT = 8
"""Idle connections."""

COPIED = 64 * 1024 * 1024
"""Bytes that the server copies by itself before it has to say something."""

_HANDSHAKES = BoundedSemaphore(4)
"""sshd refuses some of more than 10 at a time (its MaxStartups)."""

_RENAME, _SPACE, _SYNC = b"posix-rename@openssh.com", b"statvfs@openssh.com", b"fsync@openssh.com"
_COPY = b"copy-data"
_NO_ATTRIBUTES = struct.pack(">I", 0)
_SPARE = 1024 * 1024
_DENIED = ("Permission denied", "Too many authentication failures", "authentication methods")
_SILENT = ("timed out", "Connection refused", "not responding", "No route to host", "Could not resolve")


class Sftp:
    """One SSH server."""

    renames = True
    third_party: str | None = None

    def __init__(self, url: str, credentials: dict[str, Any]) -> None:
        self.url = url
        self._credentials = credentials
        self._idle: list[Channel] = []
        finalize(self, _close, self._idle)

    def size(self, path: str) -> int | None:
        try:
            with self._channel("look at", path) as channel:
                there = ssh.attributes(channel.call(ssh.STAT, _name(path)))[0]
        except FileMissing:
            return None
        return there.bytes if there.file else None

    def digest(self, path: str, bytes: int | None = None) -> str | None:  # noqa: A002
        return None  # the protocol has none, and few servers let us run a program

    def read(self, path: str, start: int = 0) -> Iterator[bytes]:
        block = bytearray()
        with closing(self._arrivals(path, start)) as packets:
            for packet in packets:
                block += packet
                if len(block) + ssh.MOST > BLOCK:
                    yield bytes(block)
                    block.clear()
        if block:
            yield bytes(block)

    def write(self, path: str, blocks: Iterable[bytes], bytes: int) -> None:  # noqa: A002
        self._store(path, blocks, lambda _: None)

    def get(self, path: str, target: Path, told: Told) -> str:
        return received(self._arrivals(path), target, told)

    def put(self, source: Path, path: str, told: Told) -> str:
        with explained(str(source), "read"):
            file = source.open("rb", buffering=0)
        with file:
            return self._store(path, _blocks(file.fileno(), source), told)

    def copy(self, source: str, target: str) -> bool:
        """By OpenSSH's copy-data (since 9.0)."""
        with self._channel("copy", source) as channel:
            if _COPY not in channel.extensions:
                return False
            reader, end = _open_to_read(channel, source)
            with self._new(channel, target) as writer:
                for at in range(0, end, COPIED):
                    here, most = struct.pack(">Q", at), struct.pack(">Q", min(COPIED, end - at))
                    channel.call(ssh.EXTENDED, string(_COPY), string(reader), here, most, string(writer), here)
            channel.call(ssh.CLOSE, string(reader))
        return True

    def pull(self, source_url: str, path: str, bytes: int) -> bool:  # noqa: A002
        return False

    def rename(self, source: str, target: str) -> None:
        with self._channel("rename", source) as channel:
            names = _name(source), _name(target)
            if _RENAME in channel.extensions:
                channel.call(ssh.EXTENDED, string(_RENAME), *names)
                return
            channel.call(ssh.STAT, names[0])
            with suppress(Refusal):  # version 3 does not rename over what is there
                channel.call(ssh.REMOVE, names[1])
            channel.call(ssh.RENAME, *names)

    def delete(self, path: str) -> None:
        with suppress(FileMissing), self._channel("delete", path) as channel:
            channel.call(ssh.REMOVE, _name(path))

    def list(self, folder: str) -> Iterator[Entry]:
        folders = [folder.rstrip("/") or "/"]
        while folders:
            at, entries = folders.pop(), list[tuple[str, ssh.Attributes]]()
            with suppress(FileMissing), self._channel("list", at) as channel:
                entries = _entries(channel, at)
            for path, there in entries:
                if there.folder:
                    folders.append(path)
                elif there.file:
                    yield Entry(path, there.bytes)

    def free(self, folder: str) -> int | None:
        with self._channel("look at", folder) as channel:
            return _free(channel, PurePosixPath(folder))

    def opening(self, path: str) -> tuple[str, dict[str, Any]]:
        public = {"username": self._credentials["user"]} if "user" in self._credentials else {}
        return f"{self.url}{path}", public

    def _arrivals(self, path: str, start: int = 0) -> Generator[memoryview, None, None]:
        """The packets of a file from a byte on, in order, each to be used before the next, which are under way."""
        with self._channel("read", path) as channel:
            handle, end = _open_to_read(channel, path)
            into = memoryview(bytearray(channel.packet))
            under_way: deque[tuple[int, int, int]] = deque()
            asked = start
            while asked < end or under_way:
                while asked < end and len(under_way) < IN_FLIGHT:
                    most = min(channel.packet, end - asked)
                    under_way.append((_read(channel, handle, asked, most), asked, most))
                    asked += most
                number, at, most = under_way.popleft()
                while most and (got := channel.data(number, into)):
                    yield into[:got]
                    at, most = at + got, most - got
                    if most:  # the server gave less than it was asked for
                        number = _read(channel, handle, at, most)
            channel.call(ssh.CLOSE, string(handle))

    def _store(self, path: str, blocks: Iterable[bytes | memoryview], told: Told) -> str:
        """Write a new file; the adler32 of the blocks. Nothing stays of what breaks off."""
        checksum, at = 1, 0
        under_way: deque[tuple[int, int]] = deque()
        with self._channel("write", path) as channel, self._new(channel, path) as handle:

            def settle(left: int) -> None:
                while len(under_way) > left:
                    number, bytes_ = under_way.popleft()
                    channel.answer(number)
                    told(bytes_)

            for block in blocks:
                for start in range(0, len(block), channel.packet):
                    packet = memoryview(block)[start : start + channel.packet]
                    head = string(handle) + struct.pack(">QI", at, len(packet))
                    under_way.append((channel.ask(ssh.WRITE, head, packet), len(packet)))
                    checksum, at = zlib_ng.adler32(packet, checksum), at + len(packet)
                    settle(IN_FLIGHT)
            settle(0)
        return f"{checksum:08x}"

    @contextmanager
    def _new(self, channel: Channel, path: str) -> Iterator[bytes]:
        """Handle of a new file, which is on the server's disk afterwards, or gone if something breaks off."""
        opening = _name(path), struct.pack(">I", ssh.TO_WRITE_NEW), _NO_ATTRIBUTES
        try:
            answer = channel.call(ssh.OPEN, *opening)
        except Refusal as refusal:
            if refusal.code != ssh.NO_SUCH_FILE:
                raise
            _make_folder(channel, PurePosixPath(path).parent)
            answer = channel.call(ssh.OPEN, *opening)
        handle = ssh.text(answer)[0]
        try:
            yield handle
            synced = channel.ask(ssh.EXTENDED, string(_SYNC), string(handle)) if _SYNC in channel.extensions else None
            closed = channel.ask(ssh.CLOSE, string(handle))
            for number in filter(None, (synced, closed)):
                channel.answer(number)
        except BaseException as error:
            full = isinstance(error, Refusal) and error.code == ssh.FAILURE and _is_full(channel, path)
            with suppress(CatalogError):  # the reason of the failure is worth more than the left-over's
                self.delete(path)
            if full:
                url = f"{self.url}{path}"
                raise StorageFull(
                    f"no space left to write {url}", object=url, hint="free space there, or raise the quota"
                ) from error
            raise

    @contextmanager
    def _channel(self, doing: str, path: str) -> Iterator[Channel]:
        """A connection, kept for the next one if all its questions were answered."""
        channel = None
        try:
            channel = self._idle_one() or self._connect()
            yield channel
        except (Refusal, Broken, TimeoutError) as error:
            raise self._explanation(error, path, doing) from error
        finally:
            if channel is not None:
                if channel.usable and len(self._idle) < KEPT:
                    self._idle.append(channel)
                else:
                    channel.close()

    def _idle_one(self) -> Channel | None:
        with suppress(IndexError):
            while True:
                channel = self._idle.pop()
                if channel.usable:
                    return channel
                channel.close()  # the server let go of it meanwhile
        return None

    def _connect(self) -> Channel:
        if shutil.which("ssh") is None:
            raise BadStorage("the program ssh is missing", object=self.url, hint="install OpenSSH's client")
        with _HANDSHAKES, _askpass(self._credentials.get("password")) as environment:
            return Channel(_command(self.url, self._credentials), environment)

    def _explanation(self, error: Exception, path: str, doing: str) -> CatalogError:
        """What a refusal, or what ``ssh`` said, means."""
        url, words = f"{self.url}{path}", str(error)
        if isinstance(error, Refusal):
            return _refusal(error, url, doing)
        if "Host key verification failed" in words or "host key is known" in words:
            known = self._credentials.get("known_hosts", "~/.ssh/known_hosts")
            return StorageDenied(
                f"the host key of {self.url} is not the known one: {words}",
                object=url,
                hint=f"compare it with what the server's administrator says, then write it to {known} (ssh-keyscan)",
            )
        if any(word in words for word in _DENIED):
            return StorageDenied(f"{self.url} does not let us in: {words}", object=url, hint=renewal(self.url))
        if isinstance(error, TimeoutError) or any(word in words for word in _SILENT):
            return StorageTimeout(
                f"no answer, trying to {doing} {url}: {words}", object=url, hint="check that the storage runs"
            )
        return BadStorage(f"cannot {doing} {url}: {words}", object=url, hint="check the storage and its log")


def _refusal(refusal: Refusal, url: str, doing: str) -> CatalogError:
    if refusal.code == ssh.NO_SUCH_FILE:
        return FileMissing(f"there is no {url}", object=url, hint="was it deleted at the storage?")
    if refusal.code == ssh.PERMISSION_DENIED:
        return StorageDenied(
            f"not allowed to {doing} {url}: {refusal}", object=url, hint="check owner and mode there"
        )
    return BadStorage(f"cannot {doing} {url}: {refusal}", object=url, hint="check the storage and its log")


def _command(url: str, credentials: dict[str, Any]) -> list[str]:
    """What to run: host keys are checked, nobody is asked anything; the rest is as the user's configuration says."""
    parts = urlsplit(url)
    options = {
        "Ciphers": "^aes128-gcm@openssh.com",  # twice as fast as the default on processors with AES
        "Compression": "no",
        "StrictHostKeyChecking": "yes",
        "BatchMode": "no" if "password" in credentials else "yes",
        "NumberOfPasswordPrompts": "1",
        "ConnectTimeout": "10",
        "ServerAliveInterval": "15",
    }
    if "known_hosts" in credentials:
        options |= {"UserKnownHostsFile": credentials["known_hosts"], "GlobalKnownHostsFile": "/dev/null"}
    if "private_key" in credentials:
        options |= {"IdentityFile": credentials["private_key"], "IdentitiesOnly": "yes"}
    command = ["ssh", *(f"-o{key}={value}" for key, value in options.items())]
    if parts.port:
        command += ["-p", str(parts.port)]
    if "user" in credentials:
        command += ["-l", credentials["user"]]
    return [*command, "-s", "--", parts.hostname or "", "sftp"]


@contextmanager
def _askpass(password: str | None) -> Iterator[dict[str, str]]:
    """The environment in which ``ssh`` gets the password without a terminal."""
    if password is None:
        yield dict(os.environ)
        return
    with tempfile.TemporaryDirectory(prefix="askpass-") as folder:
        program = Path(folder) / "askpass"
        program.write_text("#!/bin/sh\nprintf '%s\\n' \"$SFTP_PASSWORD\"\n")
        program.chmod(0o700)
        yield {**os.environ, "SSH_ASKPASS": str(program), "SSH_ASKPASS_REQUIRE": "force", "SFTP_PASSWORD": password}


def _open_to_read(channel: Channel, path: str) -> tuple[bytes, int]:
    """Handle and size of a file."""
    opened = channel.ask(ssh.OPEN, _name(path), struct.pack(">I", ssh.TO_READ), _NO_ATTRIBUTES)
    looked = channel.ask(ssh.STAT, _name(path))
    try:
        there = ssh.attributes(channel.answer(looked))[0]
    finally:
        handle = ssh.text(channel.answer(opened))[0]
    return handle, there.bytes


def _read(channel: Channel, handle: bytes, at: int, most: int) -> int:
    return channel.ask(ssh.READ, string(handle), struct.pack(">QI", at, most))


def _entries(channel: Channel, folder: str) -> list[tuple[str, ssh.Attributes]]:
    handle = ssh.text(channel.call(ssh.OPENDIR, _name(folder)))[0]
    entries = []
    while content := _names(channel, handle):
        at = 4
        for _ in range(u32(content)):
            name, at = ssh.text(content, at)
            _, at = ssh.text(content, at)  # the line of ``ls -l``
            there, at = ssh.attributes(content, at)
            if name not in (b".", b".."):
                entries.append((f"{folder.rstrip('/')}/{os.fsdecode(name)}", there))
    channel.call(ssh.CLOSE, string(handle))
    return entries


def _names(channel: Channel, handle: bytes) -> bytes:
    try:
        return channel.call(ssh.READDIR, string(handle))
    except Refusal as refusal:
        if refusal.code == ssh.END:
            return b""
        raise


def _make_folder(channel: Channel, folder: PurePosixPath) -> None:
    """Make a folder and those above it; another thread may be doing the same."""
    try:
        channel.call(ssh.MKDIR, _name(str(folder)), _NO_ATTRIBUTES)
    except Refusal as refusal:
        if refusal.code == ssh.NO_SUCH_FILE:
            _make_folder(channel, folder.parent)
            _make_folder(channel, folder)
        elif refusal.code != ssh.FAILURE:  # which is what a folder that is there gives
            raise


def _free(channel: Channel, folder: PurePosixPath) -> int | None:
    """Bytes that fit where a folder is, or will be."""
    if _SPACE not in channel.extensions:
        return None
    try:
        answer = channel.call(ssh.EXTENDED, string(_SPACE), _name(str(folder)))
    except Refusal as refusal:
        if refusal.code == ssh.NO_SUCH_FILE and folder != folder.parent:
            return _free(channel, folder.parent)
        raise
    _, size, _, _, available = struct.unpack_from(">QQQQQ", answer)
    return int(size * available)


def _is_full(channel: Channel, path: str) -> bool:
    """Whether that is why a write failed: the protocol has no word for it."""
    with suppress(Refusal, Broken, TimeoutError):
        free = _free(channel, PurePosixPath(path).parent)
        return free is not None and free < _SPARE
    return False


def _blocks(file: int, source: Path) -> Iterator[memoryview]:
    block = memoryview(bytearray(ssh.MOST))  # one is enough: what was asked is in the pipe
    while True:
        with explained(str(source), "read"):
            got = os.readv(file, [block])
        if not got:
            return
        yield block[:got]


def _name(path: str) -> bytes:
    return string(os.fsencode(path))


def _close(channels: list[Channel]) -> None:
    for channel in channels:
        channel.close()
