"""Many times the pilots that a server can serve, without a pause, for a minute: it refuses what is too much.

The server is the product's own process over a full queue; the load comes from a compiled generator that comes again
at once when it is refused, as no pilot does.
"""

import asyncio
import os
import resource
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from benchmarks.broker import ask, finished
from benchmarks.client import Caller
from benchmarks.farm import Farm, Server, farm, rss_mb, serve
from benchmarks.load import load
from prodchain.broker import tokens
from prodchain.broker.matching.dispatcher import ASKING
from prodchain.broker.models import TokenKind
from prodchain.pilot_agent.http import Client
from prodchain.pilot_agent.messages import Update, Updates, encode

from .system import PROGRAM

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.skipif(not shutil.which("wrk"), reason="wrk is not installed (make services)"),
]

SECONDS = 60
CAPACITY = 64
"""Pilots without a pause that a server works to capacity for."""
PILOTS = 20 * CAPACITY
PROBES, SLOW = 8, 100
CALM_S, CALM_JOBS = 3, 150_000
HASTE = 2
"""How much faster than in calm it may become: batches are larger, and machines vary."""


async def slow(server: Server, token: str, number: int) -> None:
    """A client that never ends its request: half of them in the head, half in a body that they announced."""
    at = urlsplit(server.url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    try:
        writer.write(f"POST /api/pilot/update HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n".encode())
        if number % 2:
            writer.write(b"Content-Type: application/json\r\nContent-Length: 5000000\r\n\r\n" + b" " * 100_000)
        while not reader.at_eof():
            writer.write(b"x" if not number % 2 else b" ")
            await writer.drain()
            await asyncio.sleep(0.5)
    except OSError:
        pass  # the server had enough of it
    finally:
        writer.close()


async def probe(server: Server, token: str, number: int, took_s: list[float]) -> None:
    """A pilot that asks for work all the time: how long those wait that are accepted."""
    caller = Caller(server.url, token)
    try:
        for call in range(1_000_000):
            start = time.monotonic()
            try:
                answer = await caller.post("/api/pilot/acquire", ask(f"probe-{number}-{call}"))
            except RuntimeError:  # refused
                await asyncio.sleep(0.2)
            else:
                assert answer["jobs"], "the queue ran dry"
                took_s.append(time.monotonic() - start)
    finally:
        caller.close()


@asynccontextmanager
async def beside(others: list[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each) for each in others]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error


async def work(park: Farm, server: Server, jobs: list[tuple[int, str]]) -> None:
    """What a pilot does with its jobs while all others ask for some."""
    file = park.folder / "pilot.token"
    file.write_text(park.token)
    client = Client(server.url, file)
    for job, lfn in jobs:
        for update in (Update(job, "running"), finished(job, lfn)):
            answer = await asyncio.to_thread(
                client.post, "/api/pilot/update", encode(Updates("worker", [update])), timeout_s=30, patience_s=120
            )
            assert answer["answers"][0]["command"] == "continue"


async def operate(park: Farm, server: Server) -> None:
    """An operator looks at a task."""
    async with park.pool.acquire() as conn:
        token, _ = await tokens.issue(conn, TokenKind.USER, "ann", timedelta(hours=1))
    task = await park.pool.fetchval("SELECT min(id) FROM task")
    file = park.folder / "user.token"
    file.write_text(token)
    environment = os.environ | {"PRODCHAIN_URL": server.url, "PRODCHAIN_TOKEN_FILE": str(file)}
    command = [PROGRAM, "task", "show", str(task)]
    done = await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


async def test_a_server_with_many_times_the_load_refuses_the_rest_and_serves_the_others() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        async with farm() as park:
            await park.stock(CALM_JOBS)
            server = serve(park)
            await overload(park, server)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def overload(park: Farm, server: Server) -> None:
    alone = await load(park, server, "dispatch", pilots=CAPACITY, threads=CAPACITY, seconds=CALM_S)
    assert alone.refused == 0
    await park.stock(int(HASTE * alone.per_s * SECONDS))
    caller = Caller(server.url, park.token)
    given = await caller.post("/api/pilot/acquire", ask("worker", cores=100, memory_mb=10**6, disk_mb=10**6, jobs=10))
    caller.close()
    jobs = [(spec["job"], spec["outputs"][0]["lfn"]) for spec in given["jobs"]]
    before_mb = rss_mb(server.pid)

    took_s: list[float] = []
    others = [slow(server, park.token, number) for number in range(SLOW)]
    others += [probe(server, park.token, number, took_s) for number in range(PROBES)]
    async with beside(others):
        under = asyncio.create_task(load(park, server, "dispatch", pilots=PILOTS, threads=4, seconds=SECONDS))
        await asyncio.sleep(2)
        await asyncio.gather(work(park, server, jobs), operate(park, server))
        much = await under
    assert took_s
    assert much.given > 0
    assert much.refused > 0
    assert much.strange == 0
    # As long as the requests take that may be before it, at the pace of an idle server, and ten times that for all
    # that shares this machine with it.
    took_s.sort()
    assert took_s[int(len(took_s) * 0.95)] < 1 + 10 * ASKING / alone.per_s
    assert rss_mb(server.pid) - before_mb < 300
    async with httpx.AsyncClient() as client:
        assert (await client.get(f"{server.url}/api/health", timeout=30)).status_code == 200
    await whole(park, given=alone.given + much.given + len(took_s), lost=PILOTS + CAPACITY + PROBES)
    log = "".join(path.read_text() for path in park.folder.glob("server-*.log"))
    assert "Traceback" not in log
    lines = log.count("overload: refused")
    assert 1 <= lines <= SECONDS / 10 + 2


async def whole(park: Farm, *, given: int, lost: int) -> None:
    """Each job went to one pilot or still waits; ``lost`` answers at most met nobody any more."""
    async with (
        park.pool.acquire() as conn,
        conn.transaction(isolation="repeatable_read"),
    ):  # the last ones are written
        rows = await conn.fetch("SELECT state, count(*) AS jobs FROM job GROUP BY 1")
        made = await conn.fetchval("SELECT last_value FROM job_id_seq")
        ready = await conn.fetchval("SELECT count(*) FROM ready")
        leases = await conn.fetchrow("SELECT count(*) AS jobs, count(DISTINCT (pilot, request)) AS calls FROM lease")
    states = {row["state"]: row["jobs"] for row in rows}
    assert states.pop("finished") == 10
    assert states.get("activated", 0) == ready
    assert sum(states.values()) == made - 10
    assert leases["jobs"] == leases["calls"] == states["sent"]
    assert given <= states["sent"] + 10 <= given + lost
