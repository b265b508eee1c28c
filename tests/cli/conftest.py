"""The program under test, and a small broker at the other end."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from prodchain.broker import client
from prodchain.cli.main import main

from .other_end import Broker, serving


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def other_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Broker]:
    """A running small broker that the environment names, with a user's and an administrator's token."""
    home = tmp_path / "home"
    (home / "credentials").mkdir(parents=True)
    (home / "credentials" / "user.token").write_text("user-token\n")
    (home / "credentials" / "admin.token").write_text("admin-token\n")
    with serving(Broker(tmp_path / "storage")) as broker:
        monkeypatch.setenv("PRODCHAIN_HOME", str(home))
        monkeypatch.setenv("PRODCHAIN_URL", broker.url)
        monkeypatch.delenv("PRODCHAIN_TOKEN_FILE", raising=False)
        monkeypatch.setattr(client, "BACK_OFF_S", (0.01, 0.02, 0.03))
        monkeypatch.chdir(tmp_path)
        yield broker


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run one command line of ``prodchain`` in this process, as in a pipe."""

    def go(*args: object) -> Ran:
        capsys.readouterr()
        code = main([str(arg) for arg in args])
        return Ran(code, *capsys.readouterr())

    return go


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the program believe that a person reads its output, on a wide screen."""
    monkeypatch.setattr("prodchain.cli.output.on_terminal", lambda: True)
    monkeypatch.setattr("prodchain.cli.commands.dataset.on_terminal", lambda: True)
    monkeypatch.setattr("prodchain.cli.commands.site.on_terminal", lambda: True)
    monkeypatch.setattr("prodchain.cli.reasons.on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "160")
