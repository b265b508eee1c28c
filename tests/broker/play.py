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

from .world import AGENTS, QUEUED, World, evgen, finished, inside, sim

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
        rows = await self.world.fetch(QUEUED)
        if rows:
            await self.world.arrive(rows[n % len(rows)])

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
