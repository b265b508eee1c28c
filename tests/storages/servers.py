"""What every kind of storage server has in common: a process, a folder behind it, a URL; how to start and end it."""

import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

START_S = 20.0


def in_ci() -> bool:
    """Whether a missing service is a failure."""
    return bool(os.environ.get("CI"))


@dataclass(frozen=True)
class Server:
    """A started server; ``url`` is a folder at it without trailing slash, ``folder`` the same on the local disk."""

    url: str
    folder: Path
    process: subprocess.Popen[bytes]
    credentials: dict[str, Any] = field(default_factory=dict)
    """What its backend wants to know (backends/credentials.py)."""

    @property
    def server(self) -> str:
        """``scheme://host:port``, the name of its table in the file of credentials."""
        scheme, _, rest = self.url.partition("://")
        return f"{scheme}://{rest.partition('/')[0]}"

    def stop(self) -> None:
        end(self.process)


def needs(*programs: str) -> None:
    """Skip the test if a program is not installed; in CI that is a failure."""
    for program in programs:
        if found(program) is None:
            words = f"{program} is not installed: make services, pip install -e '.[dev]'"
            pytest.fail(words) if in_ci() else pytest.skip(words)


def found(program: str) -> str | None:
    """The path of a program, beside this Python first (what pip installed), then on the PATH."""
    beside = Path(sys.executable).parent / program
    return str(beside) if beside.exists() else shutil.which(program)


PORTS = range(10_000, 32_000)
"""Below those that the kernel gives to whoever connects somewhere: nobody has one between its choice and its use."""
_ports = count(random.SystemRandom().randrange(len(PORTS)))


def free_port() -> int:
    """A port where nothing listens, and which this process has not given before."""
    while True:
        port = PORTS[next(_ports) % len(PORTS)]
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def open_folder(where: Path | None = None) -> Iterator[Path]:
    """A temporary folder that servers of other users can reach (pytest's are for one user); deleted afterwards."""
    path = Path(tempfile.mkdtemp(prefix="storage-", dir=where))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def running(
    command: list[str], port: int, log: Path, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server process that answers at a port; ended afterwards, whatever happened."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env)
    try:
        wait_for(port, process, log)
        yield process
    finally:
        end(process)


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the server answers at its port; RuntimeError with its log if it ended or does not come up."""
    until = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"{process.args!r} does not answer at {port}:\n{log.read_text(errors='replace')[-2000:]}")


def end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
