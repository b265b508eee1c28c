"""A broker that is played with: moves in any order, each with a number that chooses; and what must always hold."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from prodchain.broker import job_orders, orders, task_changes, watching
from prodchain.broker.errors import WrongState
from prodchain.broker.models import Task
from prodchain.catalog import deletion, purging, replicas
from prodchain.pilot_agent.messages import JobSpec, Update

from .world import AGENTS, World, evgen, finished, inside, sim

QUEUES = ("A-BATCH", "B-BATCH")
REQUESTS = (
    evgen(),
    sim(files_per_job=3),
    sim(events_per_job=10, output="mc26.700001.Z.digit.RDO.v1", destination="B-DISK"),
    sim(input="mc26.700001.Z.simul.HITS.v1", output="mc26.700001.Z.recon.AOD.v1"),
)
EVENTS = 100
"""What each of these tasks must have made in the end."""
Move: TypeAlias = Callable[["Play", int], Awaitable[None]]

LOSABLE = """
SELECT r.file_id, r.storage_id FROM replica r
WHERE EXISTS (SELECT FROM replica o WHERE o.file_id = r.file_id AND o.storage_id <> r.storage_id)
  AND NOT EXISTS (SELECT FROM dataset_file m JOIN task t ON t.output_id = m.dataset_id
                  WHERE m.file_id = r.file_id AND t.destination_id = r.storage_id)
ORDER BY r.file_id
"""
WRONG = """
SELECT 'ready is activated' AS rule, coalesce(r.job_id, j.id) AS about
FROM ready r FULL JOIN (SELECT id FROM job WHERE state = 'activated') j ON j.id = r.job_id
WHERE r.job_id IS NULL OR j.id IS NULL
UNION ALL
SELECT 'unplaced is defined', coalesce(u.job_id, j.id)
FROM unplaced u FULL JOIN (SELECT id FROM job WHERE state = 'defined') j ON j.id = u.job_id
WHERE u.job_id IS NULL OR j.id IS NULL
UNION ALL
SELECT 'a lease is with a pilot', coalesce(l.job_id, j.id) FROM lease l
FULL JOIN (SELECT id FROM job WHERE state IN ('sent', 'starting', 'running', 'holding')) j ON j.id = l.job_id
WHERE l.job_id IS NULL OR j.id IS NULL
UNION ALL
SELECT 'an activated job has its inputs at its storage', j.id
FROM job j JOIN queue q ON q.id = j.queue_id JOIN job_input i ON i.job_id = j.id
WHERE j.state = 'activated' AND NOT EXISTS (
    SELECT FROM replica r WHERE r.file_id = i.file_id AND r.storage_id = q.storage_id)
UNION ALL
SELECT 'counters count jobs', coalesce(c.task_id, j.task_id)
FROM (SELECT task_id, coalesce(queue_id, 0) AS q, state, sum(jobs) AS n, sum(events) AS e FROM job_count
      GROUP BY 1, 2, 3 HAVING sum(jobs) <> 0) c
FULL JOIN (SELECT task_id, coalesce(queue_id, 0) AS q, state, count(*) AS n, sum(events) AS e FROM job
           GROUP BY 1, 2, 3) j USING (task_id, q, state)
WHERE (c.n, c.e) IS DISTINCT FROM (j.n, j.e)
UNION ALL
SELECT 'a piece has one run that lives or has made something', min(id) FROM job
WHERE state NOT IN ('failed', 'cancelled') GROUP BY task_id, number HAVING count(*) > 1
UNION ALL
SELECT 'a piece is registered once', m.dataset_id
FROM dataset_file m JOIN file f ON f.id = m.file_id JOIN task t ON t.output_id = m.dataset_id
GROUP BY m.dataset_id, substring(f.name FROM '[.]_([0-9]+)[.]root') HAVING count(*) > 1
UNION ALL
SELECT 'what is registered is made', coalesce(f.id, j.id)
FROM (SELECT f.id, f.name
      FROM task t JOIN dataset_file m ON m.dataset_id = t.output_id JOIN file f ON f.id = m.file_id
      WHERE EXISTS (SELECT FROM replica r WHERE r.file_id = f.id)) f
FULL JOIN (SELECT id, spec -> 'outputs' -> 0 ->> 'lfn' AS name FROM job
           WHERE state IN ('transferring', 'finished')) j USING (name)
WHERE f.id IS NULL OR j.id IS NULL
UNION ALL
SELECT 'a finished output is at its destination', j.id FROM job j JOIN task t ON t.id = j.task_id
JOIN file f ON f.name = j.spec -> 'outputs' -> 0 ->> 'lfn'
WHERE j.state = 'finished' AND NOT EXISTS (
    SELECT FROM replica r WHERE r.file_id = f.id AND r.storage_id = t.destination_id)
UNION ALL
SELECT 'every file has a record and a copy', f.id FROM file f
WHERE NOT EXISTS (SELECT FROM replica r WHERE r.file_id = f.id)
   OR NOT EXISTS (SELECT FROM dataset_file m WHERE m.file_id = f.id)
UNION ALL
SELECT 'only who waits or works holds files', h.id
FROM hold h LEFT JOIN job j ON j.id = split_part(h.holder, ':', 2)::bigint
WHERE CASE split_part(h.holder, ':', 1) WHEN 'deliver' THEN j.state <> 'transferring'
      ELSE j.state NOT IN ('assigned', 'activated', 'sent', 'starting', 'running', 'holding') END
UNION ALL
SELECT 'who waits for files has a transfer', m.hold_id FROM hold_file m
WHERE NOT EXISTS (SELECT FROM transfer t WHERE t.file_id = m.file_id AND t.storage_id = m.storage_id
                                           AND t.state = 'queued')
UNION ALL
SELECT 'a done task has made all', t.id FROM task t JOIN dataset d ON d.id = t.output_id
WHERE (t.state = 'done') <> (d.state = 'closed') OR (t.state = 'done' AND d.files <> t.numbers)
"""


@dataclass
class Play:
    world: World
    tasks: list[Task] = field(default_factory=list)
    specs: list[tuple[str, str, JobSpec]] = field(default_factory=list)
    """Every job that was ever given out, with its queue and pilot: any of them may be reported at any time."""

    async def submit(self, n: int) -> None:
        request = REQUESTS[n % (len(self.tasks) + 1) % len(REQUESTS)]  # a step after those that make its input
        task = await self.world.submit(request)
        if task.id not in [known.id for known in self.tasks]:
            self.tasks.append(task)

    async def agent(self, n: int) -> None:
        """One of them, or all in turn."""
        every = list(AGENTS.values())
        for find, work in every if n % 2 else [every[n // 2 % len(every)]]:
            for number in await inside(self.world.pool, find):
                await inside(self.world.pool, work, number)

    async def fold(self, _: int) -> None:
        await inside(self.world.pool, watching.fold)

    async def arrive(self, n: int) -> None:
        rows = await self.world.fetch("SELECT * FROM transfer WHERE state = 'queued' ORDER BY file_id, storage_id")
        if rows:
            row = rows[n % len(rows)]
            await inside(self.world.pool, replicas.arrive, row["storage_id"], [row["file_id"]])

    async def acquire(self, n: int) -> None:
        queue, pilot = QUEUES[n % 2], f"p{n % 6}"
        spec = await self.world.acquire(queue, pilot)
        if spec is not None:
            self.specs.append((queue, pilot, spec))

    async def report(self, n: int, state: str = "finished") -> None:
        if self.specs:
            queue, pilot, spec = self.specs[-1 - n % len(self.specs)]
            events = await self.world.value("SELECT events FROM job WHERE id = $1", spec.job)
            news = (
                finished(spec, events) if state == "finished" else Update(spec.job, state, error="\0it broke \ud800")
            )
            await self.world.report(queue, pilot, replace(news, exit_code=2**40))

    async def progress(self, n: int) -> None:
        await self.report(n, ("starting", "running", "holding")[n % 3])

    async def fail(self, n: int) -> None:
        await self.report(n, "failed")

    async def vanish(self, n: int) -> None:
        if self.specs:
            await self.world.expire(self.specs[-1 - n % len(self.specs)][2].job)

    async def kill_task(self, n: int) -> None:
        if self.tasks:
            await inside(self.world.pool, orders.kill, self.tasks[n % len(self.tasks)].id, "user:ann", "no need")

    async def retry_task(self, n: int) -> None:
        with suppress(WrongState):
            if self.tasks:
                await inside(self.world.pool, orders.retry, self.tasks[n % len(self.tasks)].id, "user:ann")

    async def kill_job(self, n: int) -> None:
        rows = await self.world.fetch("SELECT id FROM job ORDER BY id DESC")
        with suppress(WrongState):
            if rows:
                await inside(self.world.pool, job_orders.kill, rows[n % len(rows)]["id"], "user:ann", "no need")

    async def steer(self, order: Callable[..., Awaitable[object]], n: int, *values: object) -> None:
        with suppress(WrongState):
            if self.tasks:
                await inside(self.world.pool, order, self.tasks[n % len(self.tasks)].id, *values, "user:ann")

    async def pause_task(self, n: int) -> None:
        await self.steer(orders.pause, n)

    async def resume_task(self, n: int) -> None:
        await self.steer(orders.resume, n)

    async def finish_task(self, n: int) -> None:
        await self.steer(orders.finish, n)

    async def change_task(self, n: int) -> None:
        await self.steer(task_changes.change, n, {"memory_mb": 1000 + 250 * (n % 3), "priority": n})

    async def reassign_task(self, n: int) -> None:
        await self.steer(task_changes.reassign, n, None)

    async def reassign_job(self, n: int) -> None:
        rows = await self.world.fetch("SELECT id FROM job ORDER BY id DESC")
        with suppress(WrongState):
            if rows:
                await inside(self.world.pool, job_orders.reassign, rows[n % len(rows)]["id"], None, "user:ann")

    async def over(self, _: int) -> None:
        """A day has gone by: dispatch datasets whose jobs are over go, and what they brought becomes a cache."""
        await self.world.pool.execute(
            "UPDATE dataset SET closed_at = closed_at - interval '2 d' WHERE kind = 'dispatch'"
        )
        await inside(self.world.pool, deletion.Expiry().step)
        await inside(self.world.pool, purging.purge)

    async def reap(self, n: int) -> None:
        """A storage is full: every cached copy that nobody needs goes."""
        await self.world.pool.execute("UPDATE storage SET capacity_bytes = 1, min_free_bytes = 10^9")
        for storage in await inside(self.world.pool, purging.reapable):
            await inside(self.world.pool, purging.reap, storage)
        await self.world.pool.execute("UPDATE storage SET capacity_bytes = NULL")

    async def lose(self, n: int) -> None:
        """A copy is bad: not the last one, nor a result at its destination."""
        rows = await self.world.fetch(LOSABLE)
        if rows:
            row = rows[n % len(rows)]
            await inside(self.world.pool, replicas.remove, row["storage_id"], [row["file_id"]])

    async def finish(self) -> None:
        """Everything is allowed to run, and whatever ended without all its work is tried again."""
        for n in range(len(REQUESTS)):
            await self.submit(n)
        for turn in range(100):
            states = await self.world.fetch("SELECT state FROM task")
            if all(row["state"] == "done" for row in states):
                return
            for n in range(len(self.tasks)):
                await self.resume_task(n)
                await self.retry_task(n)
            await self.world.agents()
            await self.world.move()
            given = len(self.specs)
            for n in range(8):
                await self.acquire(n)
            for n in range(len(self.specs) if turn == 0 else len(self.specs) - given):
                await self.report(n)


MOVES: dict[str, Move] = {
    "submit": Play.submit,
    "agent": Play.agent,
    "fold": Play.fold,
    "arrive": Play.arrive,
    "acquire": Play.acquire,
    "report": Play.report,
    "progress": Play.progress,
    "fail": Play.fail,
    "vanish": Play.vanish,
    "kill task": Play.kill_task,
    "retry task": Play.retry_task,
    "kill job": Play.kill_job,
    "pause task": Play.pause_task,
    "resume task": Play.resume_task,
    "finish task": Play.finish_task,
    "change task": Play.change_task,
    "reassign task": Play.reassign_task,
    "reassign job": Play.reassign_job,
    "over": Play.over,
    "reap": Play.reap,
    "lose": Play.lose,
}
