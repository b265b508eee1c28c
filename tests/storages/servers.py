"""What every kind of storage server has in common: a process, a folder behind it, a URL; how to start and end it."""

import os
import random
import shutil
import signal
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
STARTS = 4
"""Debian's xrootd dies of a segmentation fault in one start of some thousands, before it listens."""


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
    command: list[str], ports: int | tuple[int, ...], log: Path, env: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A server process that answers at its ports; ended afterwards, whatever happened."""
    process = start(command, ports if isinstance(ports, tuple) else (ports,), log, env)
    try:
        yield process
    finally:
        end(process)


def start(
    command: list[str], ports: tuple[int, ...], log: Path, env: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """A server that answers; one that a signal ends is tried again. RuntimeError with its log if it does not."""
    for _ in range(STARTS):
        with log.open("ab") as output:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env)
        try:
            if all(_answers(port, process) for port in ports):
                return process
        except BaseException:
            end(process)
            raise
        if (process.poll() or 0) >= 0:
            break
    how = _how_it_failed(process.returncode, ports)
    end(process)
    raise RuntimeError(f"{' '.join(command)} {how}:\n{log.read_text(errors='replace')[-2000:]}")


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    """Whether the server comes to answer at a port; False if it ended, or takes too long."""
    until = time.monotonic() + START_S
    while process.poll() is None and time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return True
        time.sleep(0.02)
    return False


def _how_it_failed(code: int | None, ports: tuple[int, ...]) -> str:
    if code is None:
        return f"does not answer at {ports} within {START_S:.0f} s"
    if code < 0:
        return f"was ended by {signal.Signals(-code).name} before it answered, in each of {STARTS} starts"
    return f"ended with code {code} before it answered"


def end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()
