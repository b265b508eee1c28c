"""A program that has to run, and the processes that run it: our children, or adopted ones."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from . import process

LARGEST_LOG = 50_000_000


class Running(Protocol):
    """A process of a program."""

    pid: int
    started: int

    def alive(self) -> bool: ...

    def exit_code(self) -> int | None:
        """After its end; None if nobody can tell."""


@dataclass
class Adopted:
    """A process that is not our child."""

    pid: int
    started: int

    def alive(self) -> bool:
        return process.alive(self.pid, self.started)

    def exit_code(self) -> int | None:
        return None


class Child:
    """A child process, in a session of its own: the terminal's Ctrl-C reaches the supervisor only."""

    def __init__(self, command: list[str], environment: Mapping[str, str], log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > LARGEST_LOG:
            log.replace(log.with_name(f"{log.name}.1"))
        with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
            self._child = subprocess.Popen(
                command,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.pid = self._child.pid
        self.started = process.start_time(self.pid) or 0

    def alive(self) -> bool:
        return self._child.poll() is None

    def exit_code(self) -> int | None:
        return self._child.returncode


@dataclass(frozen=True)
class Program:
    """``needs`` names programs that must be healthy first; ``group`` orders the stop (higher first).

    ``environment`` is what the program gets beside the inherited one. One that runs ``once`` is done when it ends
    with 0. ``essential`` programs must come up for the whole to be up.
    """

    name: str
    command: list[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    needs: tuple[str, ...] = ()
    group: int = 1
    port: int | None = None
    healthy: Callable[[], bool | None] = lambda: True
    settle_s: float = 0.0
    """For programs that nothing can ask: having lived so long counts as healthy."""
    once: bool = False
    essential: bool = True
    private: bool = False
    """Gets no setting of prodchain or Prefect but those in ``environment``."""
    stop_signal: signal.Signals = signal.SIGTERM

    @property
    def fingerprint(self) -> str:
        said = [*self.command, *(f"{key}={value}" for key, value in sorted(self.environment.items()))]
        return hashlib.sha256("\0".join(said).encode()).hexdigest()[:16]

    def launch(self) -> Running:
        return Child(self.command, inherited(self.private) | dict(self.environment), self.log)


def inherited(private: bool = False) -> dict[str, str]:
    """Our environment for a child: this Python's scripts are found first; nothing moves it to another database or
    to a Prefect profile of the user."""
    dropped = ("PG", "PREFECT_PROFILE", "PYTHONHOME") + (("PRODCHAIN_", "PREFECT_") if private else ())
    kept = {key: value for key, value in os.environ.items() if not key.startswith(dropped)}
    scripts = str(Path(sys.executable).parent)
    return kept | {"PATH": f"{scripts}{os.pathsep}{kept.get('PATH', os.defpath)}", "PYTHONUNBUFFERED": "1"}


def end(running: Running, number: signal.Signals) -> None:
    """Ask the process to end."""
    process.send(running.pid, running.started, number)


def clear(pid: int) -> None:
    """Kill what a process that has ended left behind in its session; none of it may hold its port or its files."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
