"""Real pilots at sites whose storages are servers: from the broker's API to the copy at home."""

import asyncio
import os
import socket
import subprocess
import sys
import zlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
import uvicorn

from prodchain.broker import tokens
from prodchain.broker.api.app import create_app
from prodchain.broker.database import Pool
from prodchain.broker.models import TokenKind
from prodchain.broker.settings import Settings
from prodchain.catalog.mover import Mover
from prodchain.pilot_agent.zipapp import build_zipapp

from ..storages.farm import Farm, farm
from . import world as worlds
from .world import World, evgen, inside, sim

SITES = """
home = "HOME-DISK"
[site.HOME.storage.HOME-DISK]
url = "file:home"
[site.A.storage.A-DISK]
url = "{url}"
[site.A.queue.A-BATCH]
storage = "A-DISK"
slots = 1
"""
PAYLOAD = """
env > environment
[ -z "{inputs}" ] || cat {inputs} >> {output}
head -c 3000000 /dev/urandom >> {output}
echo '{{"exitCode": 0, "resource": {{"transform": {{"processedEvents": 25}}}}}}' > jobReport.json
! grep -q PRODCHAIN environment
"""


@pytest.fixture(scope="module")
def storages() -> Iterator[Farm]:
    with farm() as started:
        yield started


@asynccontextmanager
async def serving(world: World, home: Path) -> AsyncIterator[str]:
    """The broker's own server; its address."""
    config = uvicorn.Config(
        create_app(Settings(home=home), world.pool, world.pool), port=0, log_level="warning", ws="none"
    )
    config.load()
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as door:
        task = asyncio.create_task(server.serve([door]))
        try:
            yield f"http://127.0.0.1:{door.getsockname()[1]}"
        finally:
            server.should_exit = True
            await task


@pytest.mark.parametrize("name", ["https", "s3-rclone"])
async def test_jobs_stage_in_from_a_server_and_out_to_it_and_what_they_made_is_verified_at_home(
    name: str, storages: Farm, database: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worlds, "SITES", SITES.format(url=f"{storages.url(name)}/site"))
    world = World(database, tmp_path)
    await world.start()
    command = ["sh", "-c", PAYLOAD]
    first = await world.submit(evgen(events=25, command=[*command[:2], PAYLOAD.replace("{inputs}", "")]))
    second = await world.submit(sim(command=command))
    token, _ = await inside(database, tokens.issue, TokenKind.PILOT, "test", timedelta(hours=1), "A-BATCH")
    (tmp_path / "token").write_text(token)
    async with serving(world, tmp_path) as address:
        pilot = start(tmp_path, address)
        try:
            await work(world, pilot)
        finally:
            pilot.kill()
            pilot.wait()
    said = (tmp_path / "pilot.log").read_text()
    assert pilot.returncode == 0, said
    assert await world.states(first) == await world.states(second) == ["finished"], said
    rows = await world.fetch(
        "SELECT f.name, f.bytes, f.adler32, array_agg(s.name ORDER BY s.name) AS storages FROM file f"
        " JOIN replica r ON r.file_id = f.id JOIN storage s ON s.id = r.storage_id GROUP BY f.id ORDER BY f.bytes"
    )
    assert [(row["bytes"], row["storages"]) for row in rows] == [
        (3_000_000, ["A-DISK", "HOME-DISK"]),
        (6_000_000, ["A-DISK", "HOME-DISK"]),
    ]
    for row in rows:
        (copy,) = (tmp_path / "home").rglob(row["name"])
        assert f"{zlib.adler32(copy.read_bytes()):08x}" == row["adler32"]


def start(folder: Path, address: str) -> "subprocess.Popen[bytes]":
    """The pilot as its file, on a Python that has nothing installed."""
    pyz = build_zipapp(folder / "pilot.pyz")
    options = ["--server", address, "--token-file", str(folder / "token"), "--work-dir", str(folder / "work")]
    with (folder / "pilot.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(pyz), *options, "--max-jobs", "2", "--idle-s", "30"],
            stdin=subprocess.DEVNULL,
            stderr=log,
            env=dict(os.environ),
        )


async def work(world: World, pilot: "subprocess.Popen[bytes]") -> None:
    """Agents and a mover, until the pilot has done its jobs and all is at home."""
    mover = Mover(world.pool, "mover")
    async with asyncio.timeout(60):
        while pilot.poll() is None or await world.value("SELECT count(*) FROM transfer WHERE state = 'queued'"):
            await world.agents()
            if not await mover.step():
                await asyncio.sleep(0.1)
    await world.agents()
    await mover.close()
