"""A peer from PyPI on the same machine and PostgreSQL: pgqueuer, no-op jobs, claims of 1 and of 100."""

import asyncio
import time
from importlib.metadata import version

import asyncpg
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.qm import QueueManager
from pgqueuer.queries import Queries


async def measure(url: str, jobs: int) -> dict[str, float | str]:
    """Jobs written, and taken, run and ended, for each second; the database is its own."""
    connection = await asyncpg.connect(url)
    try:
        driver = AsyncpgDriver(connection)
        queries = Queries(driver)
        await queries.install()
        start = time.monotonic()
        await queries.enqueue(["noop"] * jobs, [b"x" * 500] * jobs, [0] * jobs)
        submit = jobs / (time.monotonic() - start)
        manager = QueueManager(queries)
        done = 0

        @manager.entrypoint("noop")
        async def noop(_: Job) -> None:
            nonlocal done
            done += 1
            if done == jobs:
                manager.shutdown.set()

        start = time.monotonic()
        await asyncio.wait_for(manager.run(batch_size=100), 120)
        drain = jobs / (time.monotonic() - start)
    finally:
        await connection.close()
    return {"version": version("pgqueuer"), "submit_per_s": round(submit), "drain_per_s": round(drain)}
