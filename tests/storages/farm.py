"""All storages that a catalog may meet, each started when it is first asked for, with its credentials in place."""

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from prodchain.catalog import backends
from prodchain.catalog.backends.credentials import VARIABLE

from .s3 import moto_s3, rclone_s3
from .servers import Server, open_folder
from .sftp import openssh
from .webdav import rclone_webdav, wsgidav
from .xrootd import XRootD, xrootd

STARTERS: dict[str, Callable[[Path | None], AbstractContextManager[Server]]] = {
    "webdav-rclone": lambda where: rclone_webdav(where, "user", "test-password"),
    "webdav-wsgidav": wsgidav,
    "s3-rclone": rclone_s3,
    "s3-moto": moto_s3,
    "sftp": openssh,
}
STORAGES = ("local", "root", "https", *STARTERS)


SUMS = 8
"""Digests that XRootD computes at a time: fewer than xrdcp asks for in parallel make it wait for 30 s."""


class Farm:
    """Servers by name; they end with the farm."""

    def __init__(self, stack: ExitStack, where: Path | None) -> None:
        self._stack = stack
        self._where = where
        self._servers: dict[str, Server] = {}
        self._secrets = stack.enter_context(open_folder(where)) / "storages.toml"

    @property
    def credentials(self) -> Path:
        """The file with the credentials of all servers that were started."""
        return self._secrets

    def url(self, name: str) -> str:
        """The folder of a storage, as a URL without trailing slash."""
        if name == "local":
            return f"file://{self._secrets.parent}/store"
        return self.server(name).url

    def server(self, name: str) -> Server:
        if name not in self._servers:
            self._start(name)
            self._secrets.write_text("\n".join(_table(server) for server in self._servers.values()))
            backends.forget()
        return self._servers[name]

    def processes(self) -> list[subprocess.Popen[bytes]]:
        """Of the servers that were started."""
        return list({id(server.process): server.process for server in self._servers.values()}.values())

    def _start(self, name: str) -> None:
        if name in ("root", "https"):  # one process with two doors
            both: XRootD = self._stack.enter_context(xrootd(self._where, sums=SUMS))
            self._servers |= {"root": both.root, "https": both.https}
        else:
            self._servers[name] = self._stack.enter_context(STARTERS[name](self._where))


@contextmanager
def farm(where: Path | None = None) -> Iterator[Farm]:
    """A farm whose folders are below ``where`` (memory, for measurements)."""
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        made = Farm(stack, where)
        patch.setenv(VARIABLE, str(made.credentials))
        backends.forget()
        yield made
    backends.forget()


def _table(server: Server) -> str:
    """TOML that says what the server's backend wants to know."""

    def line(key: str, value: Any) -> str:
        return f"{key} = {json.dumps(value)}"

    return "\n".join([f'["{server.server}"]', *(line(key, value) for key, value in server.credentials.items()), ""])
