"""``prodchain dataset export --to-rucio`` as a program, against a real Rucio server."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest

from prodchain.catalog import datasets
from prodchain.catalog.connection import Pool
from prodchain.catalog.models import Storage
from prodchain.catalog.rucio.catalog import RucioCatalog
from prodchain.cli import errors

from ..catalog.rucio.conftest import client as client
from ..catalog.rucio.conftest import places as places
from ..catalog.rucio.conftest import rucio as rucio
from ..catalog.rucio.conftest import tag as tag
from ..catalog.rucio.test_conformance import dataset, file
from ..catalog.rucio.test_export import put
from ..storages.rucio import ACCOUNT, PASSWORD, USERNAME, RucioServer


class Program:
    """The program with a home that names the Rucio server, and its credentials."""

    def __init__(self, home: Path, rucio_url: str, database_url: str) -> None:
        credentials = home / "credentials" / "storages.toml"
        credentials.parent.mkdir()
        credentials.write_text(f'["{rucio_url}"]\nusername = "{USERNAME}"\npassword = "{PASSWORD}"\n')
        credentials.chmod(0o600)
        (home / "prodchain.toml").write_text(f'rucio_url = "{rucio_url}"\nrucio_account = "{ACCOUNT}"\n')
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PRODCHAIN_HOME": str(home),
            "PRODCHAIN_DATABASE_URL": database_url,
        }

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "prodchain.cli", "dataset", "export", "--to-rucio", *arguments),
            env=self._environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *arguments: str) -> tuple[int | None, str, str]:
        process = await self.start(*arguments)
        output, words = await process.communicate()
        return process.returncode, output.decode(), words.decode()


@pytest.fixture
def program(tmp_path: Path, rucio_server: RucioServer, database_url: str) -> Program:
    return Program(tmp_path, rucio_server.url, database_url)


async def test_a_catalog_is_taken_over_though_the_program_is_killed_in_the_middle(
    program: Program, database: Pool, rucio: RucioCatalog, places: list[Storage], tag: str
) -> None:
    dids = [dataset(f"{tag}n{number}") for number in range(12)]
    async with database.acquire() as conn, conn.transaction():
        for did in dids:
            number, _ = await put(conn, did, 3, "DISK-A", "DISK-B")
            await datasets.close(conn, number)
    code, _, words = await program.run("--dry-run")
    assert code == errors.OK
    assert "12 datasets compared; would tell Rucio of 12 datasets, 0 containers, 36 files, 72 replicas" in words
    process = await program.start()
    while process.returncode is None and not await rucio.find(f"*{tag}*"):  # noqa: ASYNC110 - it cannot tell us
        await asyncio.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    await process.communicate()
    assert process.returncode == -signal.SIGKILL
    code, output, words = await program.run("--json")
    assert code == errors.OK, words
    assert json.loads(output)["differences"] == []
    for did in dids:
        assert await rucio.completeness(did) == {"DISK-A": (3, 3), "DISK-B": (3, 3)}
        assert not (await rucio.get(did)).open


async def test_differences_are_listed_and_make_the_exit_code_1(
    program: Program, database: Pool, rucio: RucioCatalog, places: list[Storage], tag: str
) -> None:
    async with database.acquire() as conn, conn.transaction():
        await put(conn, dataset(tag), 1, "DISK-A")
    assert (await program.run())[0] == errors.OK
    await rucio.register("DISK-A", [file(dataset(tag), 8)])
    await rucio.add(dataset(tag), [file(dataset(tag), 8).did])
    code, output, words = await program.run(f"*{tag}*")
    assert code == errors.FAILED
    assert f"{dataset(tag)}: has 1 files in Rucio that it has not here" in output
    assert PASSWORD not in output + words


async def test_the_target_has_to_be_named(tmp_path: Path, database_url: str) -> None:
    program = Program(tmp_path, "", database_url)
    code, _, words = await program.run()
    assert code == errors.USAGE
    assert "--rucio-url" in words
