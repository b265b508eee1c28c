"""What decisions of the brokerage cost: ``python -m benchmarks.brokerage``, as in docs/benchmarks/brokerage.json.

CPU time of this process, and bytes. ``decision_us`` is the decision alone; ``verdicts_us`` what the verdicts of a
bunch take, put into words when they are read; ``place_us`` the whole of placement.place for a job, with a PostgreSQL
of its own and tasks of one bunch each, without input: facts, decision, keeping and assigning.
"""

import asyncio
import json
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from prodchain.broker import generation, hooks, placement, sitefile, sites, submission
from prodchain.broker.brokerage.decide import decide
from prodchain.broker.brokerage.facts import Files, Link, Need, Network, Offer, Slot, Store
from prodchain.broker.brokerage.record import Round, decode, encode
from prodchain.broker.brokerage.replay import replay
from prodchain.broker.bunches import Pace
from prodchain.broker.database import connect
from prodchain.broker.migrate import migrate
from prodchain.broker.requests import TaskRequest
from prodchain.cli.local import postgres

JOBS = placement.BUNCH
"""As many as are judged together."""
FARMS = (3, 20, 100)
TASKS, TIMES = 10, 20


def farm(queues: int) -> list[Offer]:
    network = Network(
        {n: Store(f"SITE-{n}-DISK") for n in range(queues)},
        {(n, (n + 1) % queues): Link(50_000_000 + n, 100 + n, n % 3) for n in range(queues)},
    )
    return [
        Offer(
            **{"queue": n, "name": f"SITE-{n}-BATCH", "storage": n, "storage_name": f"SITE-{n}-DISK"},
            **{"site": f"SITE-{n}", "slots": 1000, "cores": 8, "memory_mb": 16_000, "waiting_limit": 10_000},
            **{"assigned": 50 + n, "activated": 100 + n, "executing": 900 + n % 7, "pilots": 50, "pilots_ever": True},
            **{"free_bytes": 10**15, "incoming_bytes": n * 10**9, "finished": 5000 + n, "failed": n},
            best=Slot(8, 16_000, 80_000, 0),
            network=network,
        )
        for n in range(queues)
    ]


def cpu_us(work: Any, times: int) -> float:
    start = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - start) / times * 1e6


def decisions(queues: int) -> dict[str, float]:
    """One bunch whose inputs are at three storages, over and over: its facts are new each time, as in the product."""
    offers = farm(queues)
    inputs = tuple(Files((n,), JOBS // 3, JOBS * 10**9) for n in range(3))
    need = Need(tuple(range(10**7, 10**7 + JOBS)), cores=8, memory_mb=15_000, inputs=inputs, task=10**7, owner="ann")
    fresh = [(replace(need), farm(queues)) for _ in range(TIMES)]
    facts, made = iter(fresh), []
    bunch = cpu_us(lambda: made.append(decide(*next(facts))[0]), TIMES)
    unread = iter(made)
    verdicts = cpu_us(lambda: list(next(unread)[0].verdicts), TIMES)
    kept = encode(Round((need,), tuple(offers)))
    assert decode(kept).offers == tuple(offers)
    return {
        "queues": queues,
        "bunch_us": round(bunch),
        "decision_us": round(bunch / JOBS, 2),
        "decisions_per_s": round(JOBS / bunch * 1e6),
        "verdicts_us": round(verdicts),
        "encode_us": round(cpu_us(lambda: encode(Round((need,), tuple(offers))), TIMES)),
        "replay_us": round(cpu_us(lambda: replay(kept), TIMES)),
    }


SITES = """
[site.SITE-{n}.storage.SITE-{n}-DISK]
url = "file:{n}"
[site.SITE-{n}.queue.SITE-{n}-BATCH]
storage = "SITE-{n}-DISK"
slots = 1000
"""


async def stored(url: str, folder: Path, queues: int) -> dict[str, float]:
    await migrate(url)
    pool = await connect(url)
    hooks.install()
    text = 'home = "SITE-0-DISK"\n' + "".join(SITES.format(n=n) for n in range(queues))
    numbers = []
    async with pool.acquire() as conn:
        async with conn.transaction():
            await sites.apply(conn, sitefile.parse(text, folder))
        for number in range(TASKS):
            request = {
                "step": "evgen",
                "output": f"mc26.{700_000 + number}.Z.evgen.EVNT.v1",
                "command": ["Gen_tf.py", "{seed}", "{output}"],
                "events": JOBS,
                "events_per_job": 1,
            }
            async with conn.transaction():
                task, _ = await submission.submit(conn, TaskRequest.model_validate(request), "ann")
                assert task.id is not None
                await generation.generate(conn, task.id)
            numbers.append(task.id)
        start = time.process_time()
        for task_id in numbers:
            async with conn.transaction():
                assert (await placement.place(conn, task_id, Pace(3, 15))).placed == JOBS
        used = time.process_time() - start
        size = await conn.fetchrow(
            """
            SELECT (SELECT avg(pg_column_size(facts)) FROM round)::int AS round_bytes,
                   (SELECT avg(pg_column_size(verdicts)) FROM assignment)::int AS verdicts_bytes,
                   (SELECT count(*) FROM assignment)::int AS assignments
            """
        )
    await pool.close()
    assert size is not None
    each = size["round_bytes"] * TASKS + size["verdicts_bytes"] * size["assignments"]
    return {
        "place_us": round(used / TASKS / JOBS * 1e6, 1),
        **dict(size),
        "kept_bytes_per_decision": round(each / TASKS / JOBS, 1),
    }


def main() -> None:
    found: dict[str, Any] = {"cores": os.cpu_count(), "load": os.getloadavg()[0], "jobs": JOBS, "farms": []}
    for queues in FARMS:
        with tempfile.TemporaryDirectory() as folder:
            server = postgres.start(postgres.data_folder(Path(folder)))
            try:
                url = server.create_database()
                kept = asyncio.run(stored(url, Path(folder), queues))
            finally:
                server.stop(remove=True)
        found["farms"].append(decisions(queues) | kept)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
