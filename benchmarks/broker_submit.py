"""What a large task costs: its jobs generated, brokered with their verdicts stored, and written.

``python -m benchmarks.broker_submit [JOBS]`` measures this alone. Two connections, as the agents of the product: one
makes jobs while the other places those before them. The limit is plain SQL, the same way: the same rows of jobs,
events and lists in the same slices, without any key, trigger or decision, copied from the task that was measured.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg

from prodchain.broker import generation, hooks, placement, submission
from prodchain.broker.bunches import Pace

from .farm import Farm, farm, request

MAKE = """
WITH made AS (
    INSERT INTO job (task_id, number, attempt, priority, share_id, requirement_id, scout, avoid, spared, events, work,
                     actor, reason)
    SELECT $2, number, attempt, priority, share_id, requirement_id, scout, avoid, spared, events, work, 'generation',
           'work to do'
    FROM job WHERE task_id = $1 AND number > $3 AND number <= $4 RETURNING id
), told AS (
    INSERT INTO mass_event (task_id, jobs, state, actor, reason)
    SELECT $2, range_agg(int8range(id, id, '[]')), 'defined', 'generation', 'work to do' FROM made GROUP BY id / 10000
)
INSERT INTO unplaced (job_id, task_id) SELECT id, $2 FROM made
"""
PLACE = """
WITH placed AS (
    UPDATE job n SET state = o.state, queue_id = o.queue_id, assignment_id = o.assignment_id, spec = o.spec,
                     actor = o.actor, reason = o.reason, changed_at = now()
    FROM job o WHERE o.task_id = $1 AND o.number > $3 AND o.number <= $4
      AND n.task_id = $2 AND n.number = o.number AND n.attempt = o.attempt
    RETURNING n.id, n.queue_id, n.share_id, n.requirement_id, n.priority, n.actor, n.reason, n.assignment_id
), assigned AS (
    INSERT INTO mass_event (task_id, jobs, before, state, actor, reason)
    SELECT $2, range_agg(int8range(p.id, p.id, '[]')), 'defined', 'assigned', p.actor, a.reason
    FROM placed p JOIN assignment a ON a.id = p.assignment_id GROUP BY p.actor, a.reason, p.id / 10000
), activated AS (
    INSERT INTO mass_event (task_id, jobs, before, state, actor, reason)
    SELECT $2, range_agg(int8range(id, id, '[]')), 'assigned', 'activated', actor, reason
    FROM placed GROUP BY actor, reason, id / 10000
), gone AS (
    DELETE FROM unplaced u USING placed p WHERE u.job_id = p.id
)
INSERT INTO ready (job_id, queue_id, share_id, requirement_id, priority)
SELECT id, queue_id, share_id, requirement_id, priority FROM placed
"""


async def submit(found: dict[str, Any], park: Farm, jobs: int) -> None:
    hooks.install()
    await park.pool.execute("UPDATE queue SET slots = 10000000")
    tasks = []
    for number in (9998, 9999):
        async with park.pool.acquire() as conn, conn.transaction():
            task, _ = await submission.submit(conn, request(number, events=jobs * 1000, memory_mb=1000), "bench")
        assert task.id is not None
        tasks.append(task.id)
    task_id = tasks[0]

    async def generate(conn: Any, _: int) -> int:
        return await generation.generate(conn, task_id)

    async def place(conn: Any, _: int) -> int:
        return (await placement.place(conn, task_id, Pace(3, 15))).placed

    def straight(statement: str, slice_: int) -> Callable[[Any, int], Awaitable[int]]:
        async def run(conn: Any, done: int) -> int:
            await conn.execute("SET LOCAL session_replication_role = replica")
            return _rows(await conn.execute(statement, *tasks, done, done + slice_))

        return run

    await park.settle()
    before, start, python = park.cpu(), time.monotonic(), time.process_time()
    await _both(park, jobs, generate, place)
    took, after = time.monotonic() - start, park.cpu()
    found |= {
        "submit_jobs_per_s": round(jobs / took),
        "submit_python_us": round((time.process_time() - python) / jobs * 1e6, 1),
        "submit_database_us": round((after[1] - before[1]) / jobs * 1e6, 1),
    }
    await park.settle()
    before, start = park.cpu(), time.monotonic()
    await _both(park, jobs, straight(MAKE, generation.BUNCH), straight(PLACE, placement.BUNCH))
    sql, after = time.monotonic() - start, park.cpu()
    found |= {
        "submit_sql_per_s": round(jobs / sql),
        "submit_sql_database_us": round((after[1] - before[1]) / jobs * 1e6, 1),
        "submit_ratio_to_sql": round(sql / took, 3),
    }


def _rows(answer: str) -> int:
    return int(answer.split()[-1])


async def _both(
    park: Farm, jobs: int, make: Callable[[Any, int], Awaitable[int]], place: Callable[[Any, int], Awaitable[int]]
) -> None:
    """Each on a connection of its own, a slice in a transaction, until all jobs are placed."""
    made = 0

    async def makes(conn: "asyncpg.pool.PoolConnectionProxy[Any]") -> None:
        nonlocal made
        while made < jobs:
            async with conn.transaction():
                more = await make(conn, made)
            made += more

    async def places(conn: "asyncpg.pool.PoolConnectionProxy[Any]") -> None:
        placed = 0
        while placed < jobs:
            if placed == made:
                await asyncio.sleep(0.001)
                continue
            async with conn.transaction():
                more = await place(conn, placed)
            if not more:
                raise RuntimeError(f"{made - placed} jobs find no queue")
            placed += more

    async with park.pool.acquire() as one, park.pool.acquire() as other, asyncio.TaskGroup() as group:
        group.create_task(makes(one))
        group.create_task(places(other))


async def _alone(jobs: int) -> dict[str, Any]:
    found: dict[str, Any] = {"jobs": jobs, "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 2)}
    async with farm() as park:
        await submit(found, park, jobs)
    return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_alone(int(sys.argv[1]) if sys.argv[1:] else 100_000))))
