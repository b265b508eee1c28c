"""Every job that waits has a reason, and doing what `why` names as the cheapest change makes it run."""

import asyncio
from collections.abc import Mapping
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prodchain.broker import job_orders, orders, queue_orders, task_changes, why
from prodchain.broker.models import QueueStatus
from prodchain.pilot_agent.messages import Acquire

from .play import MOVES, Play
from .test_any_order import schedules
from .world import World, evgen, fresh, inside

QUEUES = st.fixed_dictionaries(
    {
        "status": st.sampled_from(["online", "online", "drain", "offline"]),
        "cores": st.sampled_from([1, 8]),
        "memory_mb": st.sampled_from([1000, 2000, 16000]),
        "walltime_s": st.sampled_from([600, 86400]),
        "scratch_mb": st.sampled_from([100, 20000]),
        "gpus": st.sampled_from([0, 1]),
        "architecture": st.sampled_from(["x86_64", "aarch64"]),
        "software": st.sampled_from([[], ["Athena/24.*"]]),
        "allow": st.sampled_from([[], ["analysis"], ["user:bob"]]),
        "max_jobs": st.sampled_from([None, None, 0, 2]),
    }
)
NEEDS = st.fixed_dictionaries(
    {
        "cores": st.sampled_from([1, 4]),
        "memory_mb": st.sampled_from([900, 1900, 4000]),
        "walltime_s": st.sampled_from([300, 3600]),
        "scratch_mb": st.sampled_from([0, 5000]),
        "gpus": st.sampled_from([0, 1]),
        "architecture": st.sampled_from(["", "x86_64"]),
        "software": st.sampled_from([[], ["Athena/24.0.1"]]),
        "sites": st.sampled_from([[], ["A"], ["B-BATCH"]]),
    }
)
PILOT = st.fixed_dictionaries(
    {"cores": st.sampled_from([1, 8]), "memory_mb": st.sampled_from([500, 16000]), "remaining_s": st.just(86400)}
)
QUEUE_FIELDS = (
    *("cores", "memory_mb", "walltime_s", "scratch_mb", "gpus", "architecture"),
    *("software", "allow", "max_jobs"),
)
ON_PILOT = ("sent", "starting", "running", "holding")


class Hands:
    """Does what an answer names as the cheapest change: by the order's function, or as the sites file would."""

    def __init__(self, world: World, pilot: Mapping[str, Any]) -> None:
        self._world = world
        self._pilot = dict(pilot)
        self.calls = 0

    async def do(self, task: int, job: int, cure: Mapping[str, Any]) -> None:
        for scope, change in cure["change"].items():
            await getattr(self, f"_{scope}")(task, job, cure["queue"], change)

    async def _task(self, task: int, job: int, queue: str | None, change: Mapping[str, Any]) -> None:
        if change == {"state": "running"}:
            await inside(self._world.pool, orders.resume, change.get("id", task), "user:ann")
        else:
            await inside(self._world.pool, task_changes.change, task, change, "user:ann")

    async def _queue(self, task: int, job: int, queue: str | None, change: Mapping[str, Any]) -> None:
        assert queue is not None
        for name, value in change.items():
            if name in ("status", "health"):
                await inside(self._world.pool, queue_orders.order, queue, QueueStatus.ONLINE, "user:op")
            else:
                assert name in QUEUE_FIELDS
                await self._world.pool.execute(f"UPDATE queue SET {name} = $2 WHERE name = $1", queue, value)

    async def _pilots(self, task: int, job: int, queue: str | None, change: Mapping[str, Any]) -> None:
        """Start a pilot that offers at least that, instead of those there are; it calls before it gets something."""
        names = {"scratch_mb": "disk_mb", "walltime_s": "remaining_s"}
        offered = {names.get(name, name): value for name, value in change.items() if name != "queue"}
        self._pilot |= offered
        await self._world.pool.execute("DELETE FROM pilot")
        await self.call(queue or "")

    async def _facts(self, task: int, job: int, queue: str | None, change: Mapping[str, Any]) -> None:
        """It passes by itself: pilots call, jobs end, copies arrive."""
        at = await self._world.value(
            "SELECT q.name FROM job j JOIN queue q ON q.id = j.queue_id WHERE j.id = $1", job
        )
        await self._world.move()
        await self.call(at or queue or "A-BATCH")

    async def _job(self, task: int, job: int, queue: str | None, change: Mapping[str, Any]) -> None:
        if change["avoid"]:
            await inside(self._world.pool, job_orders.reassign, job, None, "user:ann")

    async def call(self, queue: str) -> None:
        self.calls += 1
        queue_id = await self._world.value("SELECT id FROM queue WHERE name = $1", queue)
        await self._world.dispatcher.acquire(
            queue_id, Acquire(f"p-{queue}", f"r{self.calls}", "node", wait_s=0, **self._pilot)
        )


async def helped(
    world: World, queues: list[Mapping[str, Any]], needs: Mapping[str, Any], pilot: Mapping[str, Any], paused: bool
) -> None:
    for name, queue in zip(("A-BATCH", "B-BATCH"), queues, strict=True):
        fields = ", ".join(f"{field} = ${n}" for n, field in enumerate(queue, 2))
        await world.pool.execute(f"UPDATE queue SET {fields} WHERE name = $1", name, *queue.values())
    task = await world.submit(evgen(events=25, **needs))
    await world.agents()
    if paused:
        await inside(world.pool, orders.pause, task.id, "user:ann")
    job = await world.value("SELECT id FROM job WHERE task_id = $1", task.id)
    hands, done = Hands(world, pilot), []
    for _ in range(6):  # resumed, placed, pilots that suit (or it is placed anew for those there are), its turn
        state = await world.value("SELECT state FROM job WHERE id = $1", job)
        if state in ON_PILOT:
            return
        answer = await inside(world.pool, why.job_why, job)
        assert answer["reasons"] and all(reason["what"] for reason in answer["reasons"])
        best = answer["cheapest"]
        assert best is not None and best["change"], answer
        done.append((state, best["change"]))
        await hands.do(task.id or 0, job, best)
        await world.agents()
        if state == "defined" and best["change"] != {"task": {"state": "running"}}:
            after = await world.value("SELECT state FROM job WHERE id = $1", job)
            assert after != "defined", f"no queue took it after {done}"
    raise AssertionError(f"it does not run after {done}")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
@given(queues=st.lists(QUEUES, min_size=2, max_size=2), needs=NEEDS, pilot=PILOT, paused=st.booleans())
def test_doing_the_cheapest_change_makes_a_job_run(
    queues: list[Mapping[str, Any]],
    needs: Mapping[str, Any],
    pilot: Mapping[str, Any],
    paused: bool,
    postgres_url: str,
    template: str,
) -> None:
    asyncio.run(fresh(postgres_url, template, lambda world: helped(world, queues, needs, pilot, paused)))


@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
@given(schedule=schedules)
def test_whatever_happens_every_job_and_task_has_a_reason_now_and_later(
    schedule: list[tuple[str, int]], postgres_url: str, template: str
) -> None:
    async def play(world: World) -> None:
        playing = Play(world)
        said: list[tuple[int, Any, str]] = []
        for turn, (move, n) in enumerate(schedule):
            await MOVES[move](playing, n)
            if turn % 4:
                continue
            at = await world.value("SELECT clock_timestamp()")
            for row in await world.fetch("SELECT id FROM job ORDER BY id"):
                answer = await inside(world.pool, why.job_why, row["id"])
                assert answer["reasons"] and all(reason["what"] for reason in answer["reasons"]), answer
                said.append((row["id"], at, answer["state"]))
            for row in await world.fetch("SELECT id FROM task"):
                answer = await inside(world.pool, why.task_why, row["id"])
                assert answer["reasons"] and all(reason["what"] for reason in answer["reasons"]), answer
        for job, at, state in said[:: max(1, len(said) // 60)]:
            answer = await inside(world.pool, why.job_why, job, at)
            assert answer["state"] == state and answer["reasons"], (job, at, state)

    asyncio.run(fresh(postgres_url, template, play))
