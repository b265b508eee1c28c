"""A broker without its processes: two sites, tasks, the agents' steps by hand, pilots that report at once."""

import uuid
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import asyncpg

from prodchain.broker import (
    generation,
    hooks,
    leases,
    order_slices,
    placement,
    reports,
    sitefile,
    sites,
    submission,
    watching,
)
from prodchain.broker.bunches import Pace
from prodchain.broker.database import Connection, Pool, connect
from prodchain.broker.matching.dispatcher import Dispatcher
from prodchain.broker.models import Task
from prodchain.broker.reports import Report
from prodchain.broker.requests import TaskRequest
from prodchain.catalog import transfers
from prodchain.catalog.errors import CatalogError
from prodchain.pilot_agent.messages import Acquire, Answer, JobSpec, Stored, Update, Updates

SITES = """
home = "A-DISK"
[site.A.storage.A-DISK]
url = "file:a"
[site.A.queue.A-BATCH]
storage = "A-DISK"
slots = 2
[site.B.storage.B-DISK]
url = "file:b"
[site.B.queue.B-BATCH]
storage = "B-DISK"
slots = 2
"""
LEASE_S = 30.0
QUEUED = """
SELECT file_id, storage_id, (SELECT min(id) FROM storage WHERE id <> storage_id) AS source
FROM transfer WHERE state = 'queued' ORDER BY file_id, storage_id
"""


async def place(conn: Connection, task_id: int) -> int:
    return (await placement.place(conn, task_id, Pace(1.0, LEASE_S))).placed


async def waiting(conn: Connection) -> list[int]:
    return [task.id for task in await placement.waiting(conn)]


async def due(conn: Connection) -> list[int]:
    """A bunch of runs is reclaimed at once: there is something to do, or not."""
    return [await conn.fetchval("SELECT count(*) FROM lease WHERE until < now()")]


async def reclaim(conn: Connection, _: int) -> int:
    return await leases.reclaim(conn)


Find: TypeAlias = Callable[[Connection], Awaitable[list[int]]]
Work: TypeAlias = Callable[[Connection, int], Awaitable[int]]
AGENTS: dict[str, tuple[Find, Work]] = {
    "generate": (generation.growing_tasks, generation.generate),
    "place": (waiting, place),
    "reclaim": (due, reclaim),
    "orders": (order_slices.unfinished, order_slices.carry_on),
    "sweep": (watching.left_behind, watching.sweep),
    "complete": (watching.ending, watching.complete),
}


def evgen(**changes: Any) -> TaskRequest:
    document = {
        "step": "evgen",
        "output": "mc26.700001.Z.evgen.EVNT.v1",
        "command": [
            *("Gen_tf.py", "--maxEvents={events}", "--firstEvent={first_event}", "--randomSeed={seed}"),
            "--outputEVNTFile={output}",
        ],
        "events": 100,
        "events_per_job": 25,
    }
    return TaskRequest.model_validate(document | changes)


def sim(**changes: Any) -> TaskRequest:
    document = {
        "step": "sim",
        "input": "mc26.700001.Z.evgen.EVNT.v1",
        "output": "mc26.700001.Z.simul.HITS.v1",
        "command": ["Sim_tf.py", "--inputEVNTFile={inputs}", "--skipEvents={skip}", "--outputHITSFile={output}"],
    }
    return TaskRequest.model_validate(document | changes)


@dataclass
class World:
    pool: Pool
    folder: Path
    dispatcher: Dispatcher = field(init=False)

    async def start(self) -> None:
        hooks.install()
        self.dispatcher = Dispatcher(self.pool, LEASE_S)
        async with self.pool.acquire() as conn, conn.transaction():
            await sites.apply(conn, sitefile.parse(SITES, self.folder))
            await leases.server_lives(conn)

    async def submit(self, request: TaskRequest, owner: str = "ann") -> Task:
        async with self.pool.acquire() as conn, conn.transaction():
            task, _ = await submission.submit(conn, request, owner)
        return task

    async def agents(self) -> None:
        """Generation and placement, and what watches, until nothing changes; no copies are made."""
        async with self.pool.acquire() as conn:
            changed = 1
            while changed:
                changed = 0
                for find, work in AGENTS.values():
                    for number in await find(conn):
                        async with conn.transaction():
                            changed += await work(conn, number)

    async def move(self, limit: int = 1000) -> int:
        """Let queued transfers arrive, as the mover does after it has verified the copy."""
        rows = await self.fetch(f"{QUEUED} LIMIT $1", limit)
        for row in rows:
            await self.arrive(row)
        return len(rows)

    async def arrive(self, row: Any) -> None:
        """A copy is made that was wished for a moment ago (QUEUED)."""
        copy = transfers.Copied(row["file_id"], "there", 0, 0.0)
        await inside(self.pool, transfers.done, row["source"], row["storage_id"], [copy])

    async def acquire(self, queue: str, pilot: str = "p1", request: str | None = None) -> JobSpec | None:
        queue_id = await self.value("SELECT id FROM queue WHERE name = $1", queue)
        ask = Acquire(pilot, request or uuid.uuid4().hex, "node1", 1, 2000, 3600, wait_s=0)
        answer = await self.dispatcher.acquire(queue_id, ask)
        return answer.jobs[0] if answer.jobs else None

    async def report(self, queue: str, pilot: str, *updates: Update) -> list[Answer]:
        """As reporting does: carefully only where the fast way fails."""
        queue_id = await self.value("SELECT id FROM queue WHERE name = $1", queue)
        told = [Report(queue_id, Updates(pilot, list(updates)))]
        try:
            [answers] = await inside(self.pool, reports.apply, told, LEASE_S)
        except (CatalogError, asyncpg.PostgresError, ValueError):
            [answers] = await inside(self.pool, partial(reports.apply, careful=True), told, LEASE_S)
        return list(answers.answers)

    async def run_one(self, queue: str, pilot: str = "p1") -> JobSpec | None:
        """A pilot takes a job, runs it and reports success."""
        spec = await self.acquire(queue, pilot)
        if spec is not None:
            await self.report(queue, pilot, Update(spec.job, "running"))
            events = await self.value("SELECT events FROM job WHERE id = $1", spec.job)
            await self.report(queue, pilot, finished(spec, events))
        return spec

    async def run_all(self) -> None:
        """Pilots of both queues, agents and movers, until nothing is left to do."""
        busy = True
        while busy:
            await self.agents()
            ran = [await self.run_one(queue) for queue in ("A-BATCH", "B-BATCH")]
            moved = await self.move()
            busy = any(ran) or moved > 0
        await self.agents()

    async def fetch(self, statement: str, *values: object) -> list[Any]:
        return list(await self.pool.fetch(statement, *values))

    async def value(self, statement: str, *values: object) -> Any:
        return await self.pool.fetchval(statement, *values)

    async def states(self, task: Task) -> list[str]:
        rows = await self.fetch("SELECT state FROM job WHERE task_id = $1 ORDER BY id", task.id)
        return [row["state"] for row in rows]

    async def expire(self, job_id: int) -> None:
        await self.pool.execute("UPDATE lease SET until = now() - interval '1 s' WHERE job_id = $1", job_id)


def finished(spec: JobSpec, events: int = 25) -> Update:
    content = spec.outputs[0].lfn.encode()
    stored = [
        Stored(
            output.lfn,
            str(uuid.uuid5(uuid.NAMESPACE_URL, output.lfn)),
            len(content),
            f"{zlib.adler32(content):08x}",
            events,
        )
        for output in spec.outputs
    ]
    return Update(spec.job, "finished", exit_code=0, outputs=stored)


async def inside(pool: Pool, work: Any, *values: Any) -> Any:
    """Call a function that takes a connection, in a transaction of its own."""
    conn: Connection
    async with pool.acquire() as conn, conn.transaction():
        return await work(conn, *values)


async def fresh(postgres_url: str, template: str, play: Callable[[World], Awaitable[None]]) -> None:
    """Play in a world with a database of its own: a property test has one for each example."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    admin = await asyncpg.connect(postgres_url.format("postgres"))
    await admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    await admin.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")  # for speed
    pool = await connect(postgres_url.format(name), size=2)
    world = World(pool, Path("/nowhere"))
    try:
        await world.start()
        await play(world)
    finally:
        await world.dispatcher.stop()
        await pool.close()
        await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await admin.close()
