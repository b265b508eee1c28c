"""A broker's other end, and pilots as real processes."""

import os
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prodchain.pilot_agent.messages import Input, JobSpec, Output

from .other_end import TOKEN, Broker


@pytest.fixture
def broker() -> Iterator[Broker]:
    broker = Broker()
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    return path


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    path = tmp_path / "storage of the site"
    path.mkdir()
    return path


@pytest.fixture
def make_job(storage: Path) -> Callable[..., JobSpec]:
    def make(script: str, *, job: int = 1, outputs: tuple[str, ...] = (), **changes: Any) -> JobSpec:
        values: dict[str, Any] = {
            "job": job,
            "task": 10_000_000,
            "attempt": 1,
            "command": ["sh", "-c", script],
            "inputs": [],
            "outputs": [Output(lfn, f"file://{storage}/ab/cd/{lfn}") for lfn in outputs],
            "walltime_s": 60,
            "heartbeat_s": 0.3,
        }
        return JobSpec(**{**values, **changes})

    return make


def put(storage: Path, lfn: str, content: bytes) -> Input:
    """A file at the storage, as a job's input."""
    path = storage / lfn
    path.write_bytes(content)
    return Input(lfn, f"file://{path}", len(content), f"{zlib.adler32(content):08x}")


class PilotProcess:
    """A pilot as a process, with its work directory and its standard error at hand."""

    work: Path

    def __init__(self, folder: Path, arguments: list[str], program: list[str] | None = None) -> None:
        self._stderr = folder / "pilot.stderr"
        environ = {**os.environ, "PRODCHAIN_SECRET": TOKEN, "PYTHONWARNINGS": "error"}
        with self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                [*(program or [sys.executable, "-m", "prodchain.pilot_agent"]), *arguments],
                stderr=stderr,
                stdin=subprocess.DEVNULL,
                env=environ,
                start_new_session=True,
            )

    def wait(self, timeout_s: float = 30.0) -> int:
        return self.process.wait(timeout_s)

    @property
    def said(self) -> str:
        return self._stderr.read_text()


@pytest.fixture
def start_pilot(tmp_path: Path, broker: Broker, token_file: Path) -> Iterator[Callable[..., PilotProcess]]:
    started: list[PilotProcess] = []

    def start(*options: str, program: list[str] | None = None) -> PilotProcess:
        folder = tmp_path / f"pilot-{len(started)}"
        folder.mkdir()
        arguments = ["--server", broker.url, "--token-file", str(token_file), "--work-dir", str(tmp_path / "work")]
        started.append(PilotProcess(folder, [*arguments, "--name", f"pilot-{len(started)}", *options], program))
        started[-1].work = tmp_path / "work"
        return started[-1]

    yield start
    for pilot in started:
        pilot.process.kill()
        pilot.process.wait()


def gone(pid: int) -> bool:
    """Whether a process has ended (a zombie that nobody has waited for counts)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
