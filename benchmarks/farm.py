"""What the benchmarks of the broker run on: a PostgreSQL and a server as the product starts them, and a full queue.

The queue has 24 shares in a tree, 120 tasks of 60 kinds of requirement and seven priorities, and at the head of every
share's lanes 30 % of jobs that fit no pilot. Jobs are filled in by SQL, past the triggers, as they would be after
generation and brokerage: ten million of them are made in minutes.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx

from prodchain.broker import requirements, sharefile, shares, sitefile, sites, submission, tokens, watching
from prodchain.broker.agents import IDLE_S
from prodchain.broker.database import Pool, connect
from prodchain.broker.migrate import migrate
from prodchain.broker.models import TokenKind
from prodchain.broker.requests import TaskRequest
from prodchain.broker.requirements import Requirement
from prodchain.cli.local import postgres

QUEUE = "FARM-BATCH"
SITES = f"""
home = "FARM-DISK"
[site.FARM.storage.FARM-DISK]
url = "file:farm"
[site.FARM.queue.{QUEUE}]
storage = "FARM-DISK"
slots = 100000
cores = 8
memory_mb = 16000
"""
GROUPS, LEAVES, KINDS, TASKS = 4, 6, 60, 120
SLICE = 50
"""Jobs of a task, one behind the other: they are made and placed by the hundred."""
LARGE_MB = 64_000
"""Of memory, which no pilot has."""
TICKS = os.sysconf("SC_CLK_TCK")

SETTLED = (
    "job (id, task_id, number, attempt, state, priority, share_id, requirement_id, queue_id, assignment_id)",
    *("ready", "job_sum", "job_move", "lease", "pilot", "event", "mass_event"),
)
"""Tables, and of the largest what plans ask for: its documents would take twice as long as all the rest."""

FILL = """
WITH wanted AS (
    SELECT $1::bigint + n + 1 AS id, t.id AS task_id, t.numbers + n / {round} * {slice} + n % {slice} + 1 AS number,
           t.share_id, t.kind AS requirement_id, t.place % 7 AS priority, t.name
    FROM generate_series(0, $2::bigint - 1) AS n
    JOIN (SELECT b.place, b.kind, t.*, d.name FROM bench_task b JOIN task t ON t.id = b.id
          JOIN dataset d ON d.id = t.output_id) AS t ON t.place = n % {round} / {slice}
), named AS (
    SELECT *, format('%s._%s.root.1', name, lpad(number::text, 6, '0')) AS lfn FROM wanted
), made AS (
    INSERT INTO job (id, task_id, number, state, priority, share_id, requirement_id, events, work, spec, queue_id,
                     actor, reason)
    SELECT id, task_id, number, $3, priority, share_id, requirement_id, 1000,
           jsonb_build_object('number', number, 'events', 1000, 'seed', number, 'first_event', number * 1000,
                              'skip', 0, 'files', '[]'::jsonb),
           format('{"job": %s, "task": %s, "attempt": 1, "command": ["Gen_tf.py", "--maxEvents=1000", '
               '"--firstEvent=%s", "--randomSeed=%s", "--ecmEnergy=13600", "--jobConfig=mc.PythiaZmumu.py", '
               '"--outputEVNTFile=%s"], "inputs": [], "outputs": [{"lfn": "%s", '
               '"url": "file:///farm/mc26/ab/cd/%s"}], "walltime_s": 3600, "heartbeat_s": 3.0, "lease_s": 60.0}',
               id, task_id, number * 1000, number, lfn, lfn, lfn)::{spec},
           $4, 'brokerage', 'all inputs are at FARM-DISK'
    FROM named
)
INSERT INTO ready (job_id, queue_id, share_id, requirement_id, priority)
SELECT id, $4, share_id, requirement_id, priority FROM wanted WHERE $3 = 'activated'
"""
COUNT = """
WITH new AS (
    SELECT b.id, t.share_id, r.cores,
           $1::int / {round} * {slice} + least(greatest($1::int % {round} - b.place * {slice}, 0), {slice}) AS jobs
    FROM bench_task b JOIN task t ON t.id = b.id JOIN requirement r ON r.id = b.kind
), counted AS (
    INSERT INTO job_sum AS s (task_id, queue_id, share_id, state, jobs, cores, events)
    SELECT id, $2, share_id, $3, jobs, jobs * cores, jobs * 1000 FROM new
    ON CONFLICT (task_id, state, queue_id, share_id) DO UPDATE SET
        jobs = s.jobs + excluded.jobs, cores = s.cores + excluded.cores, events = s.events + excluded.events
)
UPDATE task SET numbers = numbers + new.jobs FROM new WHERE task.id = new.id
"""


def _filled_in(statement: str, **more: str) -> str:
    for name, value in {"slice": str(SLICE), "round": str(SLICE * TASKS), **more}.items():
        statement = statement.replace(f"{{{name}}}", value)
    return statement


def cpu_of(pid: int) -> float:
    """CPU seconds of a process and its children, as the scheduler counts them; of children that are gone in ticks."""
    gone = sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[13:15])) / TICKS
    return gone + sum(_ran_s(each) for each in (pid, *_children(pid)))


def _ran_s(pid: int) -> float:
    with suppress(OSError):  # it is just gone
        return sum(int((task / "schedstat").read_text().split()[0]) for task in _tasks(pid)) / 1e9
    return 0.0


def _tasks(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/task").iterdir())


def _children(pid: int) -> list[int]:
    return [int(child) for task in _tasks(pid) for child in (task / "children").read_text().split()]


def rss_mb(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@dataclass
class Farm:
    """A database with sites, shares and tasks, and the servers over it."""

    folder: Path
    database: postgres.PostgresServer
    url: str
    pool: Pool
    queue: int
    token: str
    servers: list["Server"] = field(default_factory=list)

    async def fill(self, jobs: int, state: str = "activated") -> int:
        """So many more jobs, in that state, evenly over the tasks; the first one's number."""
        kind = await self.pool.fetchval(
            "SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = "
            "'job'::regclass AND attname = 'spec'"
        )
        fill, count = (_filled_in(statement, spec=kind) for statement in (FILL, COUNT))
        async with self.pool.acquire() as conn, conn.transaction():
            await conn.execute("SET LOCAL session_replication_role = replica")
            # The rows are as placement leaves them, and so are the pages.
            await conn.execute("ALTER TABLE job SET (fillfactor = 85)")
            before: int = await conn.fetchval("SELECT coalesce(max(id), 0) FROM job")
            for start in range(0, jobs, 500_000):
                part = min(500_000, jobs - start)
                await conn.execute(fill, before + start, part, state, self.queue, timeout=600)
                await conn.execute(count, part, self.queue, state)
            await conn.execute("SELECT setval(pg_get_serial_sequence('job', 'id'), $1)", before + jobs)
            await conn.execute("ALTER TABLE job SET (fillfactor = 30)")
        await self.settle()
        if state == "activated":
            await self.pool.execute("SELECT pg_notify('prodchain_ready', $1)", str(self.queue))
        return before + 1

    def stop(self, server: "Server") -> None:
        self.servers.remove(server)
        server.stop()

    async def settle(self) -> None:
        """As autovacuum and a checkpoint leave it: what a figure shows is not what the filling left over."""
        for table in SETTLED:
            await self.pool.execute(f"VACUUM ANALYZE {table}", timeout=1200)
        await self.pool.execute("CHECKPOINT", timeout=600)

    async def stock(self, jobs: int) -> None:
        """At least so many are ready that fit a pilot, and nothing is left over from what was before."""
        fitting: int = await self.pool.fetchval(
            "SELECT count(*) FROM ready JOIN requirement r ON r.id = requirement_id WHERE r.memory_mb < $1", LARGE_MB
        )
        if (missing := jobs - fitting) > 0:
            await self.fill(-(-missing * 10 // 7))
        else:
            await self.settle()

    async def given(self) -> int:
        """Jobs that pilots have or had."""
        found: int = await self.pool.fetchval("SELECT count(*) FROM job WHERE pilot IS NOT NULL")
        return found

    async def finished(self) -> int:
        found: int = await self.pool.fetchval("SELECT count(*) FROM job WHERE state = 'finished'")
        return found

    async def ready(self) -> int:
        found: int = await self.pool.fetchval("SELECT count(*) FROM ready")
        return found

    def cpu(self) -> tuple[float, float]:
        """CPU seconds so far of the servers, and of the database."""
        return sum(cpu_of(server.pid) for server in self.servers), cpu_of(self.database.pid)


@dataclass
class Server:
    process: "subprocess.Popen[bytes]"
    url: str

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def serve(farm: Farm, command: list[str] | None = None) -> Server:
    """Start a server of the product (or the program given) over the farm's database, and wait until it answers."""
    port = free_port()
    environment = os.environ | {
        "PRODCHAIN_HOME": str(farm.folder),
        "PRODCHAIN_DATABASE_URL": farm.url,
        "PRODCHAIN_PORT": str(port),
    }
    program = command or [sys.executable, "-m", "prodchain.broker.server"]
    with (farm.folder / f"server-{port}.log").open("wb") as log:
        process = subprocess.Popen(program, env=environment, stdout=log, stderr=log)
    server = Server(process, f"http://127.0.0.1:{port}")
    farm.servers.append(server)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            httpx.get(f"{server.url}/api/health", timeout=5)
        except httpx.HTTPError:
            if server.process.poll() is not None:
                break
            time.sleep(0.05)
        else:
            return server
    raise RuntimeError((farm.folder / f"server-{port}.log").read_text()[-3000:])


def _tree() -> str:
    lines = []
    for group in range(GROUPS):
        lines.append(f"[share.g{group}]\nvalue = {group + 1}\n")
        lines += [
            f'[share.g{group}-{leaf}]\nparent = "g{group}"\nvalue = {leaf + 1}\nmatch = {{tag = "g{group}-{leaf}"}}\n'
            for leaf in range(LEAVES)
        ]
    return "".join(lines)


def requirement(kind: int) -> Requirement:
    """Of ten kinds three need more memory than any pilot has."""
    large = kind % 10 < 3
    return Requirement(
        1 + kind % 4, (LARGE_MB if large else 1000) + 50 * kind, 3600 + 60 * (kind % 5), 100 * (kind % 3)
    )


async def furnish(pool: Pool, folder: Path) -> tuple[int, str]:
    """Sites, shares, tasks and a pilot's token; the queue's id and the token."""
    async with pool.acquire() as conn, conn.transaction():
        await sites.apply(conn, sitefile.parse(SITES, folder))
        await shares.apply(conn, sharefile.parse(_tree()), "user:bench")
        queue: int = await conn.fetchval("SELECT id FROM queue WHERE name = $1", QUEUE)
        kinds = [await requirements.find(conn, requirement(kind)) for kind in range(KINDS)]
        leaves = [
            row["id"] for row in await conn.fetch("SELECT id FROM share WHERE parent_id IS NOT NULL ORDER BY id")
        ]
        await conn.execute("CREATE TABLE bench_task (place int, id bigint PRIMARY KEY, kind int)")
        for n in range(TASKS):
            task, _ = await submission.submit(conn, request(n), "bench")
            await conn.execute(
                "UPDATE task SET share_id = $2, generated = true WHERE id = $1", task.id, leaves[n % len(leaves)]
            )
            await conn.execute("UPDATE task SET state = 'ready' WHERE id = $1", task.id)
            await conn.execute("UPDATE task SET state = 'running' WHERE id = $1", task.id)
            await conn.execute(
                "INSERT INTO bench_task VALUES ($1, $2, $3)", n, task.id, kinds[(n + n // len(leaves)) % KINDS]
            )
        token, _ = await tokens.issue(conn, TokenKind.PILOT, "bench", timedelta(days=1), QUEUE)
    return queue, token


def request(number: int, **changes: object) -> TaskRequest:
    document: dict[str, object] = {
        "step": "evgen",
        "output": f"mc26.{700_000 + number}.Z.evgen.EVNT.v1",
        "command": [
            "Gen_tf.py",
            "--maxEvents={events}",
            "--firstEvent={first_event}",
            "--randomSeed={seed}",
            "--outputEVNTFile={output}",
        ],
        "events": 1000,
        "events_per_job": 1000,
    }
    return TaskRequest.model_validate(document | changes)


async def fold(pool: Pool) -> None:
    """What the agents do with counters, as often as they do it."""
    while True:
        await asyncio.sleep(IDLE_S)
        async with pool.acquire() as conn, conn.transaction():
            await watching.fold(conn)


@asynccontextmanager
async def farm() -> AsyncIterator[Farm]:
    """In a PostgreSQL of its own, which goes with it, also where SIGTERM is the end."""
    if task := asyncio.current_task():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory(prefix="prodchain-bench-") as name:
        folder = Path(name)
        database = await asyncio.to_thread(postgres.start, postgres.data_folder(folder))
        try:
            async with furnished(folder, database) as found:
                yield found
        finally:
            database.stop(remove=True)


@asynccontextmanager
async def furnished(folder: Path, database: postgres.PostgresServer, name: str = "farm") -> AsyncIterator[Farm]:
    """In a database of this name."""
    url = database.create_database(name)
    await migrate(url)
    pool = await connect(url)
    queue, token = await furnish(pool, folder)
    found = Farm(folder, database, url, pool, queue, token)
    folding = asyncio.create_task(fold(pool))
    try:
        yield found
    finally:
        folding.cancel()
        await asyncio.gather(folding, return_exceptions=True)
        for server in found.servers:
            server.stop()
        await pool.close()
