"""The program under test, and a small broker at the other end."""

import asyncio
import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import asyncpg
import pytest

from prodchain.broker import client, tokens
from prodchain.broker.client import Client
from prodchain.broker.models import TokenKind
from prodchain.cli.main import main

from .other_end import Broker, serving
from .served import started


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
    monkeypatch.setattr("prodchain.cli.commands.dataset.on_terminal", lambda: True)
    monkeypatch.setattr("prodchain.cli.commands.site.on_terminal", lambda: True)
    monkeypatch.setattr("prodchain.cli.reasons.on_terminal", lambda: True)
    # Last: the others, if imported only now, take their own from it
    monkeypatch.setattr("prodchain.cli.output.on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "160")


@pytest.fixture
def real_broker(database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The broker's own server as a process over a fresh database, with tokens of ada and of an administrator."""
    home = tmp_path / "home"
    (home / "credentials").mkdir(parents=True)
    asyncio.run(issue_tokens(database_url, home / "credentials"))
    monkeypatch.delenv("PRODCHAIN_URL", raising=False)
    monkeypatch.delenv("PRODCHAIN_TOKEN_FILE", raising=False)
    monkeypatch.setenv("PRODCHAIN_HOME", str(home))
    monkeypatch.setenv("PRODCHAIN_DATABASE_URL", database_url)
    monkeypatch.chdir(tmp_path)
    log = tmp_path / "server.log"
    log.touch()
    server = started(log)
    try:
        url = address_in(log)
        monkeypatch.setenv("PRODCHAIN_URL", url)
        yield url
    finally:
        server.terminate()
        server.join(timeout=20)
        assert server.exitcode is not None


async def issue_tokens(database_url: str, folder: Path) -> None:
    connection = await asyncpg.connect(database_url)
    for kind, subject in ((TokenKind.USER, "ada"), (TokenKind.ADMIN, "root")):
        token, _ = await tokens.issue(connection, kind, subject, timedelta(hours=1))
        (folder / f"{kind}.token").write_text(token)
    await connection.close()


def address_in(log: Path) -> str:
    """Where the server says that it listens, once it serves."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if found := re.search(r"listening on (http://\S+)", log.read_text()):
            with Client(found[1], None) as client:
                client.health()
            return found[1]
        time.sleep(0.05)
    raise AssertionError(log.read_text())
