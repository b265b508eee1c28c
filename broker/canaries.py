"""Queues watched by the outcomes of their runs: drained, tried out with a canary, taken back (health.py decides)."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from prodchain.catalog import datasets
from prodchain.catalog.models import DatasetKind
from prodchain.catalog.names import parse_did

from . import journal, sparing, submission, workquotas
from .database import Connection, one, wake
from .health import EVER, Canary, End, Limits, Others, Standing, Tally, look, weigh
from .job_views import normalised
from .models import Health, QueueStatus
from .namesakes import no_such
from .recovery import book
from .recovery.rules import Failure, Rule, ruling
from .requests import TaskRequest
from .settings import Settings
from .states import TASK_FINAL, TaskState

ACTOR = "watch"
OWNER, STEP = workquotas.SYSTEM, submission.CANARY
COMMAND = ("/bin/sh", "-c", "uname -a > {output} && date >> {output}")
PRIORITY = 100_000
"""Before all others: it is small, and many wait for what it finds."""
KEEP = timedelta(days=1)
"""How long what a canary wrote is kept."""

_QUEUES = """
SELECT q.id, q.name, q.storage_id, s.name AS storage, s.writable, q.memory_mb, q.walltime_s,
       coalesce(h.ordered, q.status) AS status, coalesce(h.health, 'good') AS health,
       coalesce(h.reason, '') AS reason, coalesce(h.strikes, 0) AS strikes, h.since, h.next_at, h.canary,
       t.state AS canary_state,
       (SELECT coalesce(nullif(j.error, ''), t.reason) FROM job j WHERE j.task_id = t.id
        ORDER BY j.id DESC LIMIT 1) AS canary_reason,
       newest.runs, newest.failed
FROM queue q JOIN storage s ON s.id = q.storage_id
LEFT JOIN queue_health h ON h.queue_id = q.id LEFT JOIN task t ON t.id = h.canary
CROSS JOIN LATERAL (
    SELECT count(*) AS runs, count(*) FILTER (WHERE e.failed) AS failed FROM (
        SELECT failed FROM run_end
        WHERE queue_id = q.id AND at > now() - $1::interval AND at > coalesce(h.since, '-infinity')
        ORDER BY id DESC LIMIT $2) AS e
) AS newest
WHERE $3::int IS NULL OR q.id = $3 ORDER BY q.id
"""
_ENDS = """
SELECT e.at, e.task_id, e.job_id, e.failed, e.exit_code, e.error, t.step, t.owner
FROM run_end e JOIN task t ON t.id = e.task_id
WHERE e.queue_id = $1 AND e.at > now() - $2::interval AND e.at > $4 AND t.step <> $5
ORDER BY e.id DESC LIMIT $3
"""
_OTHERS = """
SELECT e.task_id, count(*) FILTER (WHERE NOT e.failed) AS good, count(*) FILTER (WHERE e.failed) AS bad
FROM queue q CROSS JOIN LATERAL (
    SELECT task_id, failed FROM run_end WHERE queue_id = q.id AND at > now() - $3::interval
    ORDER BY id DESC LIMIT $4) AS e
WHERE q.id <> $1 AND e.task_id = ANY($2) GROUP BY q.id, e.task_id
"""


def limits_of(settings: Settings) -> Limits:
    return Limits(pause=timedelta(seconds=settings.canary_s))


class Watch:
    """The agent's step: the queues that there may be something to say of, and one of them looked at."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    async def due(self, conn: Connection) -> list[int]:
        """Failures that are not the queue's would only make its part of them less: that is asked where it matters."""
        return [
            row["id"]
            for row in await conn.fetch(_QUEUES, self._limits.window, self._limits.newest, None)
            if row["health"] != Health.GOOD
            or row["canary"]
            or row["strikes"]
            or (row["runs"] >= self._limits.runs and row["failed"] > self._limits.drain * row["runs"])
        ]

    async def look(self, conn: Connection, queue_id: int) -> int:
        """Judge the queue anew; one transaction of the caller. Returns 1 if that changed anything."""
        queue = await _queue(conn, queue_id, self._limits)
        before, canary = _standing(queue), _canary(queue)
        now = await conn.fetchval("SELECT now()")
        good = before.health is Health.GOOD
        tally = await _tally(conn, queue, before, self._limits) if good else Tally(0, ())
        after = look(before, tally, canary, now, self._limits)
        if after.health is Health.PROBING and before.health is Health.DRAINED:
            if queue["status"] != QueueStatus.ONLINE or not queue["writable"]:
                return 0  # nobody wants to know, or it could not succeed
            await _keep(conn, queue, before, after, await _send(conn, queue, now))
            return 1
        over = canary is not None and canary.over
        if after == before and not over:
            return 0
        await _keep(conn, queue, before, after, None if over else queue["canary"])
        if after.health is Health.DRAINED and before.health is Health.GOOD:
            await sparing.spare(conn, queue_id, queue["name"], [end.job for end in tally.failures], ACTOR)
            await wake(conn, "rebroker")
        return 1


async def _queue(conn: Connection, queue_id: int, limits: Limits) -> asyncpg.Record:
    """The queue as it stands, kept to this transaction."""
    await conn.execute("SELECT FROM queue WHERE id = $1 FOR NO KEY UPDATE", queue_id)
    return await one(conn, _QUEUES, limits.window, limits.newest, queue_id)


def _standing(queue: asyncpg.Record) -> Standing:
    return Standing(
        Health(queue["health"]), queue["reason"], queue["since"] or EVER, queue["strikes"], queue["next_at"]
    )


def _canary(queue: asyncpg.Record) -> Canary | None:
    if queue["canary_state"] is None:
        return None
    over = queue["canary_state"] in TASK_FINAL
    succeeded = queue["canary_state"] == TaskState.DONE
    return Canary(over, succeeded, f"task {queue['canary']}" + ("" if succeeded else f": {queue['canary_reason']}"))


async def _tally(conn: Connection, queue: asyncpg.Record, standing: Standing, limits: Limits) -> Tally:
    """What the newest runs say of the queue; canaries speak for themselves."""
    rows = await conn.fetch(_ENDS, queue["id"], limits.window, limits.newest, standing.since, STEP)
    rules = (await book.current(conn)).rules
    ends = [_end(row, rules) for row in rows]
    others = await _others(conn, queue["id"], sorted({end.task for end in ends if end.failed}), limits)
    return weigh(ends, others, limits)


def _end(row: asyncpg.Record, rules: Sequence[Rule]) -> End:
    failure = Failure(row["error"], row["exit_code"], row["step"], row["owner"])
    rule, _ = ruling(failure, rules)
    return End(
        row["task_id"],
        row["failed"],
        row["at"],
        row["error"],
        normalised(row["error"]),
        row["failed"] and rule is not None and rule.elsewhere,
        row["job_id"],
    )


async def _others(conn: Connection, queue_id: int, tasks: Sequence[int], limits: Limits) -> Others:
    found: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for row in await conn.fetch(_OTHERS, queue_id, tasks, limits.window, limits.newest) if tasks else ():
        found[row["task_id"]].append((row["good"], row["bad"]))
    return found


async def _keep(
    conn: Connection, queue: asyncpg.Record, before: Standing, after: Standing, canary: int | None
) -> None:
    await conn.execute(
        """
        INSERT INTO queue_health (queue_id, health, reason, strikes, since, next_at, canary)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (queue_id) DO UPDATE SET health = $2, reason = $3, strikes = $4, since = $5, next_at = $6,
            canary = $7
        """,
        queue["id"],
        after.health,
        after.reason,
        after.strikes,
        after.since,
        after.next_at,
        canary,
    )
    if after.health != before.health:
        changes: dict[str, list[Any]] = {"health": [before.health, after.health]}
        reason = f"tried out with task {canary}" if after.health is Health.PROBING else after.reason
        await journal.enter(conn, journal.Outcome(after.health, f"queue {queue['name']}", changes), ACTOR, reason)
        await wake(conn, "place")


async def test(conn: Connection, name: str) -> int:
    """Send the queue a canary now, whatever its health and status; returns its task. One under way serves as well."""
    queue_id = await conn.fetchval("SELECT id FROM queue WHERE name = $1", name)
    if queue_id is None:
        raise await no_such(conn, "queue", name)
    queue = await _queue(conn, queue_id, Limits())
    canary = _canary(queue)
    if canary is not None and not canary.over:
        return int(queue["canary"])
    before = _standing(queue)
    now = await conn.fetchval("SELECT now()")
    after = replace(before, since=now if queue["since"] is None else before.since)
    if before.health is Health.DRAINED:
        after = replace(before, health=Health.PROBING, since=now, next_at=None)
    task_id = await _send(conn, queue, now)
    await _keep(conn, queue, before, after, task_id)
    return task_id


async def _send(conn: Connection, queue: asyncpg.Record, now: datetime) -> int:
    """A small task of one job, for this queue only, whose output stays there and is soon deleted."""
    request = TaskRequest(
        step=STEP,
        output=f"canary.{queue['name']}.{now:%Y%m%d-%H%M%S-%f}.log",
        command=list(COMMAND),
        jobs=1,
        sites=[queue["name"]],
        destination=queue["storage"],
        memory_mb=min(500, queue["memory_mb"]),
        walltime_s=min(600, queue["walltime_s"]),
        priority=PRIORITY,
        max_attempts=1,
    )
    await datasets.create(conn, parse_did(request.output), DatasetKind.LOG, OWNER, now + KEEP)
    task, _ = await submission.submit(conn, request, OWNER, DatasetKind.LOG)
    assert task.id is not None
    return task.id


async def forget(conn: Connection, limits: Limits) -> int:
    """Remove ends that no queue is judged by any more; they are in the order of their ids, so only these are read."""
    first = await conn.fetchval(
        "SELECT id FROM run_end WHERE at > now() - $1::interval ORDER BY id LIMIT 1", limits.window
    )
    last = await one(conn, "SELECT coalesce($1, max(id) + 1, 0) AS id FROM run_end", first)
    await conn.execute("DELETE FROM run_end WHERE id < $1", last["id"])
    return 0
