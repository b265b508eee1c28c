"""Load from wrk, a compiled generator: each of its threads is a pilot or some, whose requests a script makes."""

import asyncio
import json
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

from .farm import Farm, Server

SCRIPT = Path(__file__).with_name("pilots.lua")


@dataclass(frozen=True)
class Load:
    """What pilots met: their calls, and the CPU that these cost."""

    calls: int
    given: int
    """Answers with a job."""
    refused: int
    strange: int
    """Of these: others than 429 and 503 that say when to come again."""
    seconds: float
    p50_ms: float
    p99_ms: float
    errors: int
    server_cpu_s: float
    database_cpu_s: float

    @property
    def per_s(self) -> float:
        return self.calls / self.seconds

    @property
    def cpu_ms(self) -> float:
        """Of server and database, for a call."""
        return (self.server_cpu_s + self.database_cpu_s) / max(self.calls, 1) * 1e3


async def load(
    farm: Farm, server: Server, work: str, *, pilots: int, seconds: float, threads: int, **more: str
) -> Load:
    """So many requests under way, for that time, by so many threads; of whom they are: pilots.lua."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise SystemExit("error: the load generator wrk is missing\nhint: `make services` installs it")
    environment = (
        os.environ
        | {"PILOT_TOKEN": farm.token, "PILOT_WORK": work, "PILOT_RUN": uuid.uuid4().hex[:8]}
        | {"PILOT_NAMES": str(pilots // threads)}
        | more
    )
    before = farm.cpu()
    process = await asyncio.create_subprocess_exec(
        *(
            wrk,
            f"-t{threads}",
            f"-c{pilots}",
            f"-d{seconds:.0f}s",
            "--latency",
            "--timeout",
            "30s",
            "-s",
            SCRIPT,
            server.url,
        ),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await process.communicate()
    after = farm.cpu()
    found = json.loads(out.decode().strip().splitlines()[-1])
    return Load(
        found["requests"],
        found["given"],
        found["refused"],
        found["strange"],
        found["seconds"],
        found["p50_ms"],
        found["p99_ms"],
        found["errors"],
        after[0] - before[0],
        after[1] - before[1],
    )
