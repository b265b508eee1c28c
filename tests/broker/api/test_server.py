"""The server as a process: what it logs, how it starts, how it stops."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import httpx

from prodchain.broker import tokens
from prodchain.broker.models import TokenKind

from ..world import World, inside
from .conftest import bearer
from .test_policies import acquire


def environment(home: Path, database_url: str, port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PRODCHAIN_")}
    return kept | {
        "PRODCHAIN_HOME": str(home),
        "PRODCHAIN_DATABASE_URL": database_url,
        "PRODCHAIN_PORT": str(port),
        "PRODCHAIN_PUBLIC_READ": "false",
    }


@contextmanager
def server(home: Path, database_url: str, port: int = 0) -> Iterator[subprocess.Popen[bytes]]:
    with (home / "server.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "prodchain.broker.server"],
            env=environment(home, database_url, port),
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def address(process: subprocess.Popen[bytes], home: Path) -> str:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        if found := re.search(r"listening on (http://\S+)", (home / "server.log").read_text()):
            return found[1]
        await asyncio.sleep(0.05)
    raise AssertionError((home / "server.log").read_text())


async def test_a_server_serves_logs_no_secret_and_stops_at_once_with_a_pilot_parked(
    world: World, database_url: str, tmp_path: Path
) -> None:
    hour = timedelta(hours=1)
    user, _ = await inside(world.pool, tokens.issue, TokenKind.USER, "ann", hour)
    pilot, _ = await inside(world.pool, tokens.issue, TokenKind.PILOT, "a", hour, "A-BATCH")
    with server(tmp_path, database_url) as process:
        url = await address(process, tmp_path)
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            assert (await client.get("/api/health")).json()["status"] == "ok"
            assert (
                await client.get("/api/tasks", params={"run": "a-query"}, headers=bearer(user))
            ).status_code == 200
            assert (await client.get("/api/tasks", headers=bearer(user + "x"))).status_code == 401
            parked = asyncio.create_task(
                client.post("/api/pilot/acquire", json=acquire(wait_s=50), headers=bearer(pilot))
            )
            await asyncio.sleep(1)
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            answer = await parked
            assert (answer.status_code, answer.json()["jobs"]) == (200, [])
        assert await asyncio.to_thread(process.wait, 20) == 0
        assert time.monotonic() - began < 20  # the pilot would have been parked for 50 s

    log = (tmp_path / "server.log").read_text()
    assert "GET /api/tasks 200" in log
    for secret in (user, pilot, "a-query", "Bearer", database_url):
        assert secret not in log
    assert "Traceback" not in log


def refused(home: Path, database_url: str, port: int = 0) -> str:
    with server(home, database_url, port) as process:
        assert process.wait(60) == 1
    return (home / "server.log").read_text()


def test_a_busy_port_is_told_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        log = refused(tmp_path, "postgresql://nobody@127.0.0.1:1/none", port)
    assert f"error: cannot listen on 127.0.0.1:{port}" in log
    assert "hint: " in log
    assert "Traceback" not in log


def test_a_database_that_does_not_answer_is_told_with_what_to_do(tmp_path: Path) -> None:
    log = refused(tmp_path, "postgresql://nobody:a-password@127.0.0.1:1/none")
    assert "error: the database does not answer" in log
    assert "a-password" not in log
    assert "Traceback" not in log


def test_a_database_without_tables_is_told_with_what_to_do(postgres_url: str, tmp_path: Path) -> None:
    log = refused(tmp_path, postgres_url.format("postgres"))
    assert "hint: run python -m prodchain.broker.migrate" in log
    assert "Traceback" not in log
