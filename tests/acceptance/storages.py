"""Real storage servers around one system, which tests damage, starve, silence, kill and start again."""

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import threading
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import asyncpg
import pytest

from prodchain.cli.local import postgres

from ..conftest import in_ci
from ..storages.s3 import rclone_s3
from ..storages.servers import Server, end, open_folder, start
from ..storages.sftp import openssh
from ..storages.webdav import rclone_webdav
from ..storages.xrootd import xrootd
from .system import PROGRAM, System, wait_until

HOME = "A-DISK"
STORAGES = (HOME, "XRD-DISK", "HTTPS-DISK", "S3-DISK", "SFTP-DISK", "DAV-DISK")
SETTINGS = "lease_s = 4\nheartbeat_s = 1\n"
"""What a dead mover had in hand is taken up after 4 seconds."""
COMPLETE = "complete: all"


@dataclass
class Storages:
    """A system with one storage of each kind; ``known`` is every file that was ever put, by name."""

    system: System
    servers: dict[str, Server]
    credentials: dict[str, dict[str, Any]]
    urls: dict[str, str]
    folders: dict[str, Path]
    stack: ExitStack
    known: dict[str, int] = field(default_factory=dict)

    # Its user

    def refused(self, *words: str) -> str:
        """Run a command that must fail; what it says of that."""
        command = [PROGRAM, *words, "--home", str(self.system.home)]
        done = subprocess.run(
            command, env=self.system.environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode != 0, f"{words} was not refused: {done.stdout}"
        assert "Traceback" not in done.stderr
        return done.stdout + done.stderr

    def make(self, at: Path, name: str, sizes: list[int]) -> list[str]:
        """Files of a dataset on the user's disk, each with content of its own; a big one is mostly a hole."""
        made = []
        for number, size in enumerate(sizes, start=1):
            path = at / f"{name}._{number:06}.root"
            with path.open("wb") as file:
                file.write(random.Random(path.name).randbytes(min(size, 1_000_000)))
                file.truncate(size)
            self.known[path.name] = digest(path)
            made.append(str(path))
        return made

    def put(self, at: Path, name: str, sizes: list[int], storage: str = HOME) -> list[str]:
        """Make files and put them into a dataset; their names."""
        paths = self.make(at, name, sizes)
        self.system.run("put", *paths, "--dataset", name, "--storage", storage)
        return [Path(path).name for path in paths]

    def subscribe(self, name: str, to: str, *more: str) -> None:
        self.system.run("dataset", "subscribe", name, "--to", to, *more)

    def why(self, name: str, at: str) -> str:
        """What ``dataset why`` says."""
        return self.system.run("dataset", "why", f"{name}@{at}")

    def says(self, name: str, at: str, *words: str, timeout_s: float = 120) -> str:
        """Wait until ``why`` says one of the words; what it says then."""
        said: list[str] = [""]

        def told() -> bool:
            said.append(self.why(name, at))
            return any(word in said[-1] for word in words)

        try:
            wait_until(told, f"why {name}@{at} says {words}", timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; it says {said[-1]}{self.system.logs()}") from None
        return said[-1]

    def complete(self, name: str, *at: str, timeout_s: float = 120) -> None:
        for storage in at:
            self.says(name, storage, COMPLETE, timeout_s=timeout_s)

    # What is true

    def sql(self, statement: str, *arguments: Any) -> list[Any]:
        async def run() -> list[Any]:
            conn = await asyncpg.connect(postgres.start(postgres.data_folder(self.system.home)).url())
            try:
                return list(await conn.fetch(statement, *arguments))
            finally:
                await conn.close()

        return asyncio.run(run())

    def wake(self, *agents: str) -> None:
        """Let agents look at once instead of within 20 seconds."""
        for agent in agents:
            self.sql("SELECT pg_notify('prodchain_work', $1)", agent)

    def hasten(self) -> None:
        """As if the minutes until the next try were over."""
        self.sql("UPDATE transfer SET not_before = now() WHERE state = 'queued' AND phase = 'waiting' RETURNING 1")
        self.wake("move")

    def path(self, storage: str, file: str) -> Path:
        """Where a file lies at a storage, behind the server's back."""
        (found,) = self.folders[storage].rglob(file)
        return found

    def nothing_false(self) -> None:
        """Whatever lies under a final name is whole, and a file that was put."""
        for storage, folder in self.folders.items():
            for path in folder.rglob("*"):
                if path.is_file() and ".part-" not in path.name:
                    assert (storage, path.name, digest(path)) == (storage, path.name, self.known.get(path.name))

    def in_order(self) -> None:
        """Catalog and storages agree: nothing dark, lost, of a wrong size or left behind."""
        self.nothing_false()
        for storage in self.urls:
            audit = self.system.json("storage", "audit", storage)
            assert audit["clean"], audit

    # Its storages

    def declare(self, **urls: str) -> None:
        """Put the sites file with these storages besides the others into effect."""
        self.urls |= {name.replace("_", "-"): url for name, url in urls.items()}
        tables = "".join(f'[site.A.storage.{name}]\nurl = "{url}"\n' for name, url in self.urls.items())
        file = self.system.home / "sites.toml"
        file.write_text(f'home = "{HOME}"\n[site.A]\ndescription = "all storages"\n{tables}')

    def apply(self, **urls: str) -> None:
        self.declare(**urls)
        self.system.run("site", "apply", str(self.system.home / "sites.toml"))

    def log_in(self, **changed: dict[str, Any]) -> None:
        """Write the file of credentials, with changes for some storages."""
        lines = []
        for name, server in self.servers.items():
            lines.append(f'["{server.server}"]')
            entries = self.credentials[name] | changed.get(name.replace("-", "_"), {})
            lines += [f"{key} = {json.dumps(value)}" for key, value in entries.items()]
        path = self.system.home / "credentials" / "storages.toml"
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")

    def kill(self, storage: str) -> None:
        self.servers[storage].process.kill()
        self.servers[storage].process.wait()

    def start(self, storage: str) -> None:
        """Start a killed server again, at its port and on its folder."""
        dead = self.servers[storage]
        log = self.system.home / "logs" / f"{storage}.log"
        command = cast(list[str], dead.process.args)
        process = start(command, (int(dead.server.rpartition(":")[2]),), log)
        self.stack.callback(end, process)
        self.servers[storage] = Server(dead.url, dead.folder, process, dead.credentials)

    def kill_agents(self) -> None:
        note = json.loads((self.system.home / "run" / "agents.json").read_text())
        with suppress(ProcessLookupError):
            os.kill(note["pid"], signal.SIGKILL)

    def second_agents(self) -> "subprocess.Popen[bytes]":
        """Another agents process on the same queue, as on another machine."""
        database = postgres.start(postgres.data_folder(self.system.home)).url()
        environment = self.system.environment | {
            "PRODCHAIN_HOME": str(self.system.home),
            "PRODCHAIN_DATABASE_URL": database,
        }
        with (self.system.home / "logs" / "second-agents.log").open("ab") as log:
            command = [PROGRAM.with_name("python"), "-m", "prodchain.broker.agents"]
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self.stack.callback(end, process)
        return process


@contextmanager
def storages(home: Path) -> Iterator[Storages]:
    """A system that is up, with all of STORAGES."""
    with ExitStack() as stack:
        servers = {
            "XRD-DISK": stack.enter_context(xrootd()).root,
            "HTTPS-DISK": stack.enter_context(xrootd()).https,
            "S3-DISK": stack.enter_context(rclone_s3()),
            "SFTP-DISK": stack.enter_context(openssh()),
            "DAV-DISK": stack.enter_context(rclone_webdav(None, "user", "test-password")),
        }
        folders = {HOME: home / "store"} | {name: server.folder for name, server in servers.items()}
        urls = {HOME: f"file://{home}/store"} | {name: server.url for name, server in servers.items()}
        urls["DAV-DISK"] += "/data"
        credentials = {name: dict(server.credentials) for name, server in servers.items()}
        made = Storages(System(home), servers, credentials, urls, folders, stack)
        (home / "prodchain.toml").write_text(SETTINGS)
        made.declare()
        made.log_in()
        try:
            made.system.up()
            yield made
        finally:
            made.system.remove()


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    """A file system of its own that is soon full."""
    with open_folder() as at:
        options = ["-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "tmpfs", str(at)]
        if subprocess.run(["mount", *options], check=False, capture_output=True).returncode != 0:
            words = "a small file system can only be mounted by root"
            pytest.fail(words) if in_ci() else pytest.skip(words)
        try:
            yield at
        finally:
            subprocess.run(["umount", "--lazy", str(at)], check=True)


@contextmanager
def silent_server() -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    held: list[socket.socket] = []

    def hold(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                held.append(listening.accept()[0])

    with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
        thread = threading.Thread(target=hold, args=(listening,), daemon=True)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=10)
            for connection in held:
                connection.close()


def digest(path: Path) -> int:
    value = 1
    with path.open("rb") as file:
        while block := file.read(8_000_000):
            value = zlib.adler32(block, value)
    return value


def flip(path: Path, at: int = 1000) -> None:
    """Change one bit of a file; its size and times stay."""
    before = path.stat()
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
