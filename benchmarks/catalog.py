"""The catalog's speed: ``python -m benchmarks.catalog [--json] [--quick] [--datasets N]``.

Starts a PostgreSQL of its own, fills it, measures, and removes it. Times are those that a caller of the catalog's
functions sees. Beside each figure stands its limit or peer from the same run, where there is one.
"""

import argparse
import asyncio
import gc
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from prodchain.broker.database import connect
from prodchain.broker.migrate import migrate
from prodchain.catalog import datasets, files, lookup, names, near, replicas
from prodchain.catalog.connection import Connection, Pool
from prodchain.catalog.files import NewFile
from prodchain.catalog.models import DatasetKind
from prodchain.catalog.names import Did
from prodchain.catalog.query import Query
from prodchain.cli.local import postgres

from .catalog_material import fill, rare, say

FULL = 10_000_000
QUICK = 200_000
BATCH = 2_000
"""Files that are registered in one transaction."""
WRITERS = 4
"""Clients that register at once: two cores are idle in turns with fewer, while one waits for its commit."""
PROJECTS = (
    "csc11",
    "mc11",
    "mc12_8TeV",
    "mc15_13TeV",
    "mc16_13TeV",
    "mc20_13TeV",
    "mc23_13p6TeV",
    "data18_13TeV",
)
LISTED = "mc20_13TeV.300001.bench.recon.AOD.v1"
IMPORTS = "import prodchain.cli.main, prodchain.cli.commands.ls"
"""What `prodchain ls` loads before it does anything."""
Measure = Callable[[], Awaitable[Any]]


def milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 3)


async def times(calls: Iterable[Measure]) -> list[float]:
    """Seconds of each call."""
    found = []
    for call in calls:
        start = time.perf_counter()
        await call()
        found.append(time.perf_counter() - start)
    return found


async def median(call: Measure, repeat: int = 15) -> float:
    await call()
    return milliseconds(statistics.median(await times([call] * repeat)))


def p95(seconds: list[float]) -> float:
    return milliseconds(sorted(seconds)[int(len(seconds) * 0.95)])


async def prefixes(conn: Connection, calls: Sequence[Measure]) -> dict[str, float]:
    """What the statements take, as the client waits for them, and the whole call."""
    spent: list[float] = []

    async def one(call: Measure) -> None:
        spent.append(0.0)
        await call()

    def noted(query: Any) -> None:
        spent[-1] += query.elapsed

    conn.add_query_logger(noted)
    whole = await times([partial(one, call) for call in calls])
    conn.remove_query_logger(noted)
    return {
        "prefix_p95_ms": p95(spent),
        "prefix_median_ms": milliseconds(statistics.median(spent)),
        "prefix_with_rows_p95_ms": p95(whole),
    }


async def searches(conn: Connection, count: int) -> dict[str, Any]:
    draw = random.Random(2006)
    samples = max(count // 50, 8)

    def prefix() -> Measure:
        sample = draw.randrange(samples)
        project = PROJECTS[sample % len(PROJECTS)]
        number = str(300_000 + sample)[: draw.randrange(3, 7)]
        return lambda: lookup.find(conn, Query(f"{project}.{number}*"))

    def infix(pattern: str) -> Measure:
        return lambda: lookup.find(conn, Query(pattern))

    async def rare_one(number: int) -> None:
        page = await lookup.find(conn, Query(rare(number)))
        assert len(page.rows) == 1, f"{rare(number)} has {len(page.rows)} hits, not 1"

    numbers = [count - 1, *(draw.randrange(count // 5) * 5 + 1 for _ in range(30))]
    numbers = [number for number in numbers if number % 5]
    rare_times = await times([lambda number=number: rare_one(number) for number in numbers])  # type: ignore[misc]
    common = ("*RDO*", "*recon.AOD*", "*Zmumu*", "*ttbar*log*", "mc2*:*EVNT*")
    return {
        **await prefixes(conn, [prefix() for _ in range(300)]),
        "infix_first100_ms": await median(infix("*RDO*")),
        "infix_others_ms": {pattern: await median(infix(pattern), 7) for pattern in common[1:]},
        "rare_infix_ms": milliseconds(statistics.median(rare_times)),
        "rare_infix_p95_ms": p95(rare_times),
        "rare_infix_scan_ms": milliseconds((await times([lambda: _scan(conn, rare(numbers[0]))]))[0]),
    }


async def _scan(conn: Connection, pattern: str) -> None:
    """The peer of the rare infix: reading all names."""
    await conn.fetch("SELECT id FROM dataset WHERE name LIKE $1", names.like(pattern))


async def browsing(conn: Connection) -> dict[str, Any]:
    def find(**options: Any) -> Measure:
        return lambda: lookup.find(conn, Query(**options))

    def count(**options: Any) -> Measure:
        return lambda: lookup.facet_counts(conn, Query(**options))

    gone = Did("mc20_13TeV", "mc20_13TeV.300013.Zmumu_13.recom.AOD.e8013_s3003_r13004_tid00000654_00")
    return {
        "facets_common_ms": await median(find(facets={"step": "recon", "format": "AOD"})),
        "facets_never_together_ms": await median(find(facets={"step": "simul", "format": "ESD"})),
        "facets_rare_ms": await median(find(facets={"project": "mc11", "number": "300003", "format": "RDO"})),
        "at_site_ms": await median(find(pattern="mc11*", at="SITE-3")),
        "newest_ms": await median(find(sort="-created")),
        "of_an_owner_ms": await median(find(owner="u0007")),
        "facet_counts_exact_ms": await median(count(pattern="mc20_13TeV.3000*"), 5),
        "facet_counts_estimated_ms": await median(count(facets={"step": "recon"}), 5),
        "near_misses_ms": await median(lambda: near.misses(conn, gone), 5),
    }


def new_files(dataset: str, first: int, count: int) -> list[NewFile]:
    return [
        NewFile(Did("mc20_13TeV", names.file_name(dataset, n, 1)), UUID(int=n), 1000 + n, f"{n:08x}", 10)
        for n in range(first, first + count)
    ]


async def filled(pool: Pool, name: str, count: int, storage_ids: Iterable[int]) -> int:
    """A dataset with so many new files, each at each of the storages; its id."""
    async with pool.acquire() as conn:
        made = await datasets.create(conn, Did("mc20_13TeV", name), DatasetKind.PRODUCTION, "prod")
        assert made.id is not None
        for first in range(0, count, BATCH):
            new = new_files(name, first, min(BATCH, count - first))
            async with conn.transaction():
                ids = await files.register(conn, new)
                await datasets.add_files(conn, made.id, ids)
                for storage_id in storage_ids:
                    await replicas.arrive(conn, storage_id, ids)
    return made.id


async def registration(pool: Pool, count: int) -> dict[str, Any]:
    """Writers with a dataset each; the limit is COPY of the same rows by one, without checks."""
    await filled(pool, "mc20_13TeV.300001.warm.recon.AOD.v1", BATCH, [1])
    start = time.perf_counter()
    await asyncio.gather(
        *(filled(pool, f"mc20_13TeV.300001.bulk{n}.recon.AOD.v1", count // WRITERS, [1]) for n in range(WRITERS))
    )
    ours = time.perf_counter() - start
    async with pool.acquire() as conn:
        start = time.perf_counter()
        await _copy(conn, count)
        limit = time.perf_counter() - start
        created = await median(lambda: _create_and_close(conn), 200)
    return {
        "register_files_per_s": round(count / ours),
        "register_writers": WRITERS,
        "copy_files_per_s": round(count / limit),
        "register_of_copy": round(limit / ours, 3),
        "create_and_close_ms": created,
    }


async def _copy(conn: Connection, count: int) -> None:
    for table in ("file", "dataset_file", "replica"):
        await conn.execute(f"CREATE TEMP TABLE copy_{table} (LIKE {table} INCLUDING ALL)")
    for first in range(0, count, BATCH):
        new = new_files("mc20_13TeV.300001.copy.recon.AOD.v1", first, BATCH)
        rows = [(n, *f.did, f.guid, f.bytes, f.adler32, f.events) for n, f in enumerate(new, start=first)]
        columns = ["id", "scope", "name", "guid", "bytes", "adler32", "events"]
        await conn.copy_records_to_table("copy_file", records=rows, columns=columns)
        pairs = [(1, row[0]) for row in rows]
        await conn.copy_records_to_table("copy_dataset_file", records=pairs, columns=["dataset_id", "file_id"])
        await conn.copy_records_to_table("copy_replica", records=pairs, columns=["storage_id", "file_id"])


_made = iter(range(1_000_000))


async def _create_and_close(conn: Connection) -> None:
    name = f"mc20_13TeV.399999.created.recon.AOD.e1_tid{next(_made):08d}_00"
    async with conn.transaction():
        made = await datasets.create(conn, Did("mc20_13TeV", name), DatasetKind.PRODUCTION, "prod")
        await datasets.close(conn, made.id or 0)


async def contents(pool: Pool, count: int) -> dict[str, Any]:
    """A dataset of 1,000 files with three copies; completeness of it and of any other, and counting it instead."""
    dataset_id = await filled(pool, LISTED, 1000, [1, 2, 3])
    draw = random.Random(2006)

    async def of_any() -> None:
        assert await lookup.replicas(conn, draw.randrange(1, count))

    async def listed() -> None:
        assert len(await lookup.files(conn, dataset_id, limit=1000)) == 1000

    recount = """
    SELECT r.storage_id, count(*), sum(f.bytes) FROM dataset_file m JOIN replica r USING (file_id)
    JOIN file f ON f.id = m.file_id WHERE m.dataset_id = $1 GROUP BY r.storage_id
    """
    async with pool.acquire() as conn:
        return {
            "list_dataset_ms": await median(listed),
            "completeness_ms": await median(of_any, 300),
            "completeness_of_1000_files_ms": await median(lambda: lookup.replicas(conn, dataset_id)),
            "recount_of_1000_files_ms": await median(lambda: conn.fetch(recount, dataset_id)),
        }


def ls(home: Path, database_url: str, repeat: int) -> dict[str, Any]:
    """The program against a server process, each a Python of its own, with its bytecode as an installed one has."""
    environment = {
        **os.environ,
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(home / "bytecode"),
        "PRODCHAIN_HOME": str(home),
        "PRODCHAIN_DATABASE_URL": database_url,
        "PRODCHAIN_PORT": "0",
        "COLUMNS": "200",
    }
    log = home / "server.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "prodchain.broker.server"], env=environment, stdout=output, stderr=output
        )
    try:
        environment["PRODCHAIN_URL"] = _address(server, log)
        program = [str(Path(sys.executable).with_name("prodchain")), "ls"]
        walls: dict[str, list[float]] = {"mc20_13TeV.3000*": [], "*RDO*": [], "--version": []}
        for pattern in [*walls] * (repeat + 1):
            start = time.perf_counter()
            command = [*program, pattern] if pattern != "--version" else [sys.executable, "-c", IMPORTS]
            subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            walls[pattern].append(time.perf_counter() - start)
    finally:
        server.terminate()
        server.wait(30)
    prefix, infix, start_up = (round(statistics.median(wall[1:]), 3) for wall in walls.values())
    return {"ls_wall_s": prefix, "ls_infix_wall_s": infix, "ls_imports_alone_s": start_up}


def _address(server: "subprocess.Popen[bytes]", log: Path) -> str:
    """Where the server listens, as it says itself."""
    end = time.monotonic() + 60
    while time.monotonic() < end and server.poll() is None:
        _, found, rest = log.read_text().partition("listening on ")
        if found and "\n" in rest and "startup complete" in log.read_text():
            return rest.splitlines()[0]
        time.sleep(0.05)
    raise SystemExit(f"the server did not start: {log.read_text()}")


async def measure(url: str, home: Path, count: int, register: int, started: float) -> dict[str, Any]:
    """All figures of a catalog of so many datasets."""
    await migrate(url)
    await fill(url, count, started)
    pool = await connect(url, size=WRITERS)
    gc.freeze()  # as the server does
    result: dict[str, Any] = {}

    def add(figures: dict[str, Any]) -> None:
        say(started, json.dumps(figures))
        result.update(figures)

    try:
        async with pool.acquire() as conn:
            add(await searches(conn, count))
            add(await browsing(conn))
        add(await contents(pool, count))
        add(await registration(pool, register))
        add({"n_datasets": await pool.fetchval("SELECT count(*) FROM dataset")})
        add(await asyncio.to_thread(ls, home, url, 5 if count >= QUICK else 1))
    finally:
        await pool.close()
    return result


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.catalog", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one object")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:,} datasets instead of {FULL:,}")
    parser.add_argument("--datasets", type=int, help="so many datasets")
    parser.add_argument("--folder", type=Path, default=None, help="where the database is made (and removed)")
    chosen = parser.parse_args(arguments)
    count = chosen.datasets or (QUICK if chosen.quick else FULL)
    started, load = time.monotonic(), os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="prodchain-bench-", dir=chosen.folder) as folder:
        server = postgres.start(postgres.data_folder(Path(folder)))
        try:
            url = server.create_database()
            result = asyncio.run(measure(url, Path(folder), count, min(100_000, max(count // 5, BATCH * 2)), started))
        finally:
            server.stop(remove=True)
    result["load_at_start"], result["cores"] = load, os.cpu_count()
    result["wall_s"] = round(time.monotonic() - started, 1)
    if chosen.json:
        print(json.dumps(result, indent=2))
    else:
        for key, value in result.items():
            print(f"{key:32} {value}")
    return result


if __name__ == "__main__":
    main()
