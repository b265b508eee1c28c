"""The play with all that a broker can: scouts, merging, versions of inputs, quotas, shares, queues that go bad."""

from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from prodchain.broker import (
    canaries,
    decision_views,
    job_orders,
    orders,
    queue_orders,
    rebrokerage,
    sharefile,
    shares,
    task_changes,
    throttling,
    watchdogs,
    why,
    workquotas,
)
from prodchain.broker.errors import BrokerError, NotFound
from prodchain.broker.health import Limits
from prodchain.broker.journal import Outcome
from prodchain.broker.matching.dispatcher import Dispatcher
from prodchain.broker.matching.match import Offer, fits
from prodchain.broker.models import QueueStatus, Task
from prodchain.broker.recovery import book
from prodchain.broker.recovery.rules import shipped
from prodchain.broker.requests import TaskRequest
from prodchain.broker.requirements import Requirement
from prodchain.broker.settings import Settings
from prodchain.catalog import badreplicas, datasets, quotas
from prodchain.catalog.names import parse_did
from prodchain.pilot_agent.messages import Acquire, Update

from .material import fill, reopen
from .play import QUEUES, Move, Play
from .truths import every_event_once
from .world import LEASE_S, evgen, finished, inside, sim

GROWING, PILEUP = "user.ann.data.NTUP.v1", "mc26.900001.minbias.simul.HITS.v1"
MERGE = {"command": ["Merge.py", "{inputs}", "{output}"], "files_per_job": 3}
REQUESTS: tuple[TaskRequest, ...] = (
    evgen(events_per_job=10, scouts=2, target_walltime_s=60, merge=MERGE),
    sim(
        events_per_job=16,
        boundary="none",
        command=["Sim.py", "{inputs}", "{pileup}", "{skip}", "{events}", "{output}", "{log}"],
        secondary={"pileup": {"dataset": PILEUP, "files_per_job": 2}},
        outputs={"log": "mc26.700001.Z.simul.LOG.v1"},
        destination="B-DISK",
    ),
    sim(
        input=GROWING,
        output="user.ann.plots.HIST.v1",
        command=["plot.py", "{inputs}", "{output}"],
        files_per_job=2,
        activity="analysis",
        priority=500,
    ),
    evgen(output="user.ann.toys.NTUP.v1", events=24, events_per_job=None, jobs=3, activity="analysis", priority=500),
    sim(input="mc26.700001.Z.simul.HITS.v1", output="mc26.700001.Z.recon.AOD.v1", files_per_job=2, priority=2000),
)
ERRORS = (
    "it broke",
    "MemoryError",
    "the payload was over its wall time",
    "No module named x",
    "no space left on device",
    "too large",
    "unrecognized arguments: --x",
)
RULES = f"{shipped()}\n[rule.too-large]\nmatch = 'too large'\nsmaller = true\nfree = true\n"
LIMITS = Limits(newest=10, runs=3, several=2, known=2)
MEMORY = {"A-BATCH": 2000, "B-BATCH": 8000}
TIME_S = 86400
LIMITED = ("running", "queued", "core_hours")
SHARES = (
    "[share.production]\nvalue = {0}\n[share.analysis]\nvalue = {1}\nmatch = {{activity = 'analysis'}}\n",
    "[share.production]\nvalue = {0}\n[share.analysis]\nvalue = {1}\nmatch = {{activity = 'analysis'}}\n"
    "[share.late]\nvalue = 1\nparent = 'production'\nmatch = {{step = 'evgen'}}\n"
    "[share.other]\nvalue = 2\nparent = 'production'\n",
)
CHANGES: tuple[dict[str, Any], ...] = (
    {"memory_mb": 3000},
    {"sites": ["A"]},
    {"sites": ["B-BATCH"], "priority": 3000},
    {"sites": []},
    {"priority": 1},
    {"max_attempts": 5, "walltime_s": 7200},
)
_HEADS = """
SELECT r.job_id, r.share_id, r.priority, q.cores, q.memory_mb, q.walltime_s, q.scratch_mb, q.gpus, q.architecture,
       q.software
FROM ready r JOIN requirement q ON q.id = r.requirement_id
WHERE r.queue_id = $1 ORDER BY r.priority DESC, r.job_id
"""
_COPIES = """
SELECT j.id, i.file_id FROM job j JOIN queue q ON q.id = j.queue_id JOIN job_input i ON i.job_id = j.id
WHERE j.id = ANY($1)
  AND NOT EXISTS (SELECT FROM replica r WHERE r.file_id = i.file_id AND r.storage_id = q.storage_id)
"""
_ON_THE_WAY = """
SELECT f.id, r.storage_id FROM job j JOIN task t ON t.id = j.task_id
JOIN dataset d ON d.id = t.output_id JOIN file f ON f.scope = d.scope AND f.name = j.spec -> 'outputs' -> 0 ->> 'lfn'
JOIN replica r ON r.file_id = f.id
WHERE j.state = 'transferring' AND NOT EXISTS (
    SELECT FROM replica o WHERE o.file_id = f.id AND o.storage_id <> r.storage_id)
ORDER BY f.id
"""
_UNDONE = "SELECT count(*) FROM task WHERE state <> 'done' AND step <> 'canary'"
_TASKS = """
SELECT t.id, t.step, t.state, d.state AS dataset, t.*
FROM task t JOIN dataset d ON d.id = t.output_id WHERE t.step <> 'canary' ORDER BY t.id
"""


@dataclass
class FullPlay(Play):
    """``alone``: nobody else plays at this moment, so that each order can be tried first and what it changed told."""

    alone: bool = True
    entered: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Orders that changed something, by verb and object: as many entries the journal has."""
    moments: list[tuple[datetime, int, str]] = field(default_factory=list)
    """When which job was in which state."""
    desks: list[Dispatcher] = field(default_factory=list)

    async def start(self) -> None:
        self.desks = [self.world.dispatcher, Dispatcher(self.world.pool, LEASE_S)]
        await self.world.pool.execute("UPDATE queue SET memory_mb = 8000 WHERE name = 'B-BATCH'")
        await fill(self.world, PILEUP, [10, 10, 10])
        await fill(self.world, GROWING, [10, 7], close=False)
        await self.order(book.apply, RULES, "user:op", "")

    async def stop(self) -> None:
        await self.desks[1].stop()

    async def submit(self, n: int) -> None:
        request = REQUESTS[n % (len(self.tasks) + 1) % len(REQUESTS)]  # a step after those that make its input
        task = await self.world.submit(request)
        if task.id not in [known.id for known in self.tasks]:
            self.tasks.append(task)

    # Orders

    async def order(self, give: Callable[..., Awaitable[Outcome]], *values: Any, **named: Any) -> None:
        """Give it, after a trial that must say the same; what it changed is remembered."""
        tried = await self._tried(give, *values, **named) if self.alone else None
        try:
            outcome = await inside(self.world.pool, partial(give, **named), *values)
        except BrokerError as error:
            assert tried is None or tried == str(error)
            return
        assert tried is None or tried == outcome, f"tried: {tried}, then: {outcome}"
        if outcome.changed:
            self.entered[outcome.verb, outcome.object] += 1

    async def _tried(self, give: Callable[..., Awaitable[Outcome]], *values: Any, **named: Any) -> Outcome | str:
        async with self.world.pool.acquire() as conn:
            trial = conn.transaction()
            await trial.start()
            try:
                return await give(conn, *values, **named)
            except BrokerError as error:
                return str(error)
            finally:
                await trial.rollback()

    async def steer(self, order: Callable[..., Awaitable[Any]], n: int, *values: object) -> None:
        if self.tasks:
            await self.order(order, self.tasks[n % len(self.tasks)].id, *values, "user:ann", "why not")

    async def kill_task(self, n: int) -> None:
        await self.steer(orders.kill, n)

    async def retry_task(self, n: int) -> None:
        await self.steer(orders.retry, n)

    async def more_inputs(self, n: int) -> None:
        if self.tasks:
            task = self.tasks[n % len(self.tasks)].id
            await self.order(orders.retry, task, "user:ann", "more came", new_inputs=True)

    async def change_task(self, n: int) -> None:
        await self.steer(task_changes.change, n // len(CHANGES), CHANGES[n % len(CHANGES)])

    async def reassign_task(self, n: int) -> None:
        await self.steer(task_changes.reassign, n, (None, "A", "B-BATCH")[n % 3])

    async def of_a_job(self, n: int, give: Callable[..., Awaitable[Outcome]], *values: Any) -> None:
        rows = await self.world.fetch("SELECT id FROM job ORDER BY id DESC LIMIT 30")
        if rows:
            await self.order(give, rows[n % len(rows)]["id"], *values, "user:ann", "that one")

    async def kill_job(self, n: int) -> None:
        await self.of_a_job(n, job_orders.kill)

    async def reassign_job(self, n: int) -> None:
        await self.of_a_job(n, job_orders.reassign, (None, "A", "B-BATCH")[n % 3])

    async def prioritise_job(self, n: int) -> None:
        await self.of_a_job(n, job_orders.prioritise, 100 * n)

    async def order_queue(self, n: int) -> None:
        status = (QueueStatus.DRAIN, QueueStatus.OFFLINE, QueueStatus.ONLINE, QueueStatus.ONLINE)[n % 4]
        await self.order(queue_orders.order, QUEUES[n % 2], status, "user:op", "a new kernel")

    async def quota(self, n: int) -> None:
        limits = ({"running": 1}, {"running": n}, {"queued": n}, {"core_hours": 0.0}, dict.fromkeys(LIMITED))[n % 5]
        await self.order(workquotas.set_limits, "user:ann", limits, "user:op")
        await self.bytes_at_home(None if n % 3 else 100 * n)

    async def bytes_at_home(self, limit: int | None) -> None:
        home = await self.world.value("SELECT id FROM storage WHERE home")
        if limit is None:
            await inside(self.world.pool, quotas.remove, "ann", home, "op")
        else:
            await inside(self.world.pool, quotas.set, "ann", home, limit, "op")

    async def share(self, n: int) -> None:
        if n % 2:
            await self.order(shares.set_value, "analysis", n * 10.0, "user:op")
        else:
            text = SHARES[n // 2 % 2].format(n + 1, 30 - n)
            await self.order(shares.apply, sharefile.parse(text), "user:op")

    # What happens by itself

    async def watch(self, n: int) -> None:
        """The agents that look after queues, jobs and quotas; those with patience now and then."""
        pool = self.world.pool
        settings = Settings(home=self.world.folder, activated_s=0.001 if n % 3 == 0 else 3600)
        watch = canaries.Watch(LIMITS)
        for queue in await inside(pool, watch.due):
            await inside(pool, watch.look, queue)
        for dog in rebrokerage.WATCHDOGS:
            await inside(pool, rebrokerage.look, settings, dog)
        await inside(pool, throttling.throttle)
        await pool.execute("UPDATE queue_health SET next_at = now() WHERE next_at IS NOT NULL AND $1", n % 2 == 0)

    async def stuck(self, n: int) -> None:
        """A pilot takes too long for what it does."""
        short = Settings(home=self.world.folder, sent_s=0.001, starting_s=0.001, holding_s=0.001)
        await inside(self.world.pool, watchdogs.look, short)

    async def acquire(self, n: int) -> None:
        """A pilot asks one of two servers: jobs come by priority and age, with all that they read in place."""
        queue = QUEUES[n % 2]
        queue_id = await self.world.value("SELECT id FROM queue WHERE name = $1", queue)
        ask = Acquire(f"p{n % 6}", f"r{n}-{len(self.specs)}", "node1", 1, MEMORY[queue], TIME_S, wait_s=0)
        ahead = await self.world.fetch(_HEADS, queue_id) if self.alone else []
        answer = await self.desks[n // 2 % 2].acquire(queue_id, ask)
        self.specs += [(queue, ask.pilot, spec) for spec in answer.jobs]
        offer = Offer(1, MEMORY[queue], TIME_S, 20_000, architecture="x86_64")
        first: dict[int, int] = {}
        for row in ahead:
            need = Requirement(**{name: row[name] for name in Requirement.__dataclass_fields__})
            if fits(need, offer):
                first.setdefault(row["share_id"], row["job_id"])
        if self.alone:
            assert {spec.job for spec in answer.jobs} <= set(first.values()), "one of the same share came before it"
            assert bool(answer.jobs) == bool(first), f"{len(first)} jobs fit, and it got none: {answer.reason}"
            lacking = await self.world.fetch(_COPIES, [spec.job for spec in answer.jobs])
            assert not lacking, f"given to a pilot without its inputs: {[tuple(row) for row in lacking]}"

    async def report(self, n: int, state: str = "finished") -> None:
        if not self.specs or state not in ("finished", "failed"):
            return await super().report(n, state)
        queue, pilot, spec = self.specs[-1 - n % len(self.specs)]
        events = await self.world.value("SELECT events FROM job WHERE id = $1", spec.job)
        news = Update(spec.job, "failed", error=ERRORS[n % len(ERRORS)], exit_code=1)
        if state == "finished":
            # The number of events is that of the work for every output: so merging, which has no other way, counts.
            news = replace(finished(spec, events), metrics={"wall_s": 25.0, "max_rss_mb": 400.0, "cpu_s": 20.0})
        await self.world.report(queue, pilot, news)
        return None

    async def grow(self, n: int) -> None:
        """The analysis' input gets more, is closed, goes on as a new version."""
        did = parse_did(GROWING)
        dataset = await inside(self.world.pool, datasets.get, did)
        if dataset.state == "closed":
            await reopen(self.world, GROWING)
        await fill(self.world, GROWING, [n % 5 + 1] * (n % 3), close=n % 2 == 0)

    async def lose_on_the_way(self, n: int) -> None:
        """The only copy of an output that still travels is bad."""
        rows = await self.world.fetch(_ON_THE_WAY)
        if rows:
            row = rows[n % len(rows)]
            await inside(self.world.pool, badreplicas.bad, row["storage_id"], [row["id"]], "ann", "the disk broke")

    # What is asked

    async def ask(self, n: int) -> None:
        """Every job and task that is not over has a reason, whoever is asked."""
        jobs = await self.world.fetch(
            "SELECT id FROM job WHERE state NOT IN ('finished', 'failed', 'cancelled') ORDER BY id"
        )
        tasks = await self.world.fetch("SELECT id FROM task ORDER BY id")
        for rows, asked in ((jobs, why.job_why), (tasks, why.task_why)):
            if rows:
                answer = await inside(self.world.pool, asked, rows[n % len(rows)]["id"])
                assert answer["reasons"] and all(reason["what"] for reason in answer["reasons"]), answer
        if jobs:
            job = jobs[n % len(jobs)]["id"]
            row = await self.world.fetch("SELECT state, clock_timestamp() AS at FROM job WHERE id = $1", job)
            self.moments.append((row[0]["at"], job, row[0]["state"]))

    async def remember(self) -> None:
        """What was so at some moment is told so afterwards, and decisions are made again as they were made."""
        for at, job, state in self.moments[::4]:
            answer = await inside(self.world.pool, why.job_why, job, at)
            assert answer["state"] == state, f"job {job} at {at} was {state}: {answer}"
            assert answer["reasons"]
            task = await self.world.value("SELECT task_id FROM job WHERE id = $1", job)
            with suppress(NotFound):  # nothing was decided by then
                again = await inside(self.world.pool, decision_views.replayed, task, at)
                assert again["same"], again
        rows = await self.world.fetch(
            "SELECT verb, object, count(*) AS n FROM journal WHERE actor LIKE 'user:%' GROUP BY verb, object"
        )
        assert {(row["verb"], row["object"]): row["n"] for row in rows} == dict(self.entered)

    # The end

    async def finish(self) -> None:
        """Whatever was ordered is taken back, and everything is allowed to run until all is done."""
        for queue in QUEUES:
            await self.order(queue_orders.order, queue, QueueStatus.ONLINE, "user:op", "all is well")
        await self.order(workquotas.set_limits, "user:ann", dict.fromkeys(LIMITED), "user:op")
        await self.bytes_at_home(None)
        await fill(self.world, GROWING, [], close=True)
        for n in range(len(REQUESTS)):
            await self.submit(n)
        reported = 0
        for turn in range(60):
            for n, task in enumerate(self.tasks):
                await self.order(orders.resume, task.id, "user:ann")
                await self.retry_task(n)
                await self.more_inputs(n)
                modest = {"memory_mb": 1000, "walltime_s": 3600, "sites": []}
                await self.order(task_changes.change, task.id, modest, "user:ann")
            await inside(self.world.pool, throttling.throttle)
            await self.world.agents()
            await self.world.move()
            for n in range(24):
                await self.acquire(n)
            for n in range(len(self.specs) - reported):
                await self.report(n)
            reported = len(self.specs)
            if turn and not await self.world.value(_UNDONE):
                break
        await self.world.agents()

    async def all_is_done(self) -> None:
        rows = await self.world.fetch(_TASKS)
        assert {(row["state"], row["dataset"]) for row in rows} == {("done", "closed")}, [
            tuple(row.values())[:4] for row in rows
        ]
        assert len(rows) == len(REQUESTS) + 1  # one merges
        for row in rows:
            values = dict(row)
            task = Task.model_validate({name: values[name] for name in Task.model_fields})
            if task.parent_id is not None:  # of what was merged the small files are gone
                continue
            await every_event_once(self.world, task)
            source = await self.world.value("SELECT events FROM dataset WHERE id = $1", task.input_id)
            made = await self.world.value("SELECT events FROM dataset WHERE id = $1", task.output_id)
            assert made == (source if task.input_id else task.request["events"]), task.key


def move(name: str) -> Move:
    """By the name of the method."""

    async def made(play: Play, n: int) -> None:
        await getattr(play, name)(n)

    return made


AGENTS = ("agent", "watch", "fold")
PILOTS = ("acquire", "report", "progress", "fail", "vanish", "stuck")
DATA = ("arrive", "over", "reap", "lose", "lose_on_the_way", "grow")
ORDERS = (
    "kill_task",
    "retry_task",
    "more_inputs",
    "pause_task",
    "resume_task",
    "finish_task",
    "change_task",
    "reassign_task",
    "kill_job",
    "reassign_job",
    "prioritise_job",
    "order_queue",
    "quota",
    "share",
)
MOVES: dict[str, Move] = {name: move(name) for name in (*AGENTS, *PILOTS, *DATA, *ORDERS, "submit")}
