"""From decisions to facts: assignments with their verdicts, dispatch datasets, holds, and what the pilot will get."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from prodchain.catalog import datasets, files, holds, subscriptions
from prodchain.catalog.models import DatasetKind
from prodchain.catalog.names import Did, dispatch_name, parse_did
from prodchain.pilot_agent.messages import encode

from .brokerage.decide import decide
from .brokerage.facts import Decision, Offer
from .bunches import Bunch, Pace
from .database import Connection, one
from .jobs import release_holder
from .requests import TaskRequest
from .states import TaskState

BUNCH = 1000
"""Jobs of one task placed in one transaction."""
PLACING = (TaskState.READY, TaskState.RUNNING)


async def waiting_tasks(conn: Connection) -> list[int]:
    return await tasks_with_unplaced(conn, PLACING)


async def tasks_with_unplaced(conn: Connection, states: Sequence[TaskState]) -> list[int]:
    """Tasks in one of the states that have jobs to place; hops over the index, however many jobs each has."""
    rows = await conn.fetch(
        """
        WITH RECURSIVE waiting AS (
            SELECT min(task_id) AS id FROM unplaced
            UNION ALL
            SELECT (SELECT min(u.task_id) FROM unplaced u WHERE u.task_id > w.id) FROM waiting w
            WHERE w.id IS NOT NULL
        )
        SELECT t.id FROM waiting JOIN task t USING (id) WHERE t.state = ANY($1)
        ORDER BY t.priority DESC, t.id LIMIT 1000
        """,
        states,
    )
    return [row["id"] for row in rows]


async def offers(conn: Connection) -> list[Offer]:
    """The queues as they stand, from counters."""
    rows = await conn.fetch(
        """
        SELECT q.id AS queue, q.name, q.storage_id AS storage, s.writable AS storage_writable, q.status, q.slots,
               q.cores, q.memory_mb, q.walltime_s, coalesce(n.waiting, 0) AS waiting,
               coalesce(n.executing, 0) AS executing,
               (SELECT count(*) FROM pilot p
                WHERE p.queue_id = q.id AND p.last_seen > now() - interval '10 minutes') AS pilots_seen
        FROM queue q JOIN storage s ON s.id = q.storage_id
        LEFT JOIN (
            SELECT queue_id, sum(jobs) FILTER (WHERE state IN ('assigned', 'activated'))::int AS waiting,
                   sum(jobs) FILTER (WHERE state IN ('sent', 'starting', 'running', 'holding'))::int AS executing
            FROM job_count WHERE state IN ('assigned', 'activated', 'sent', 'starting', 'running', 'holding')
            GROUP BY queue_id
        ) AS n ON n.queue_id = q.id
        ORDER BY q.id
        """
    )
    return [Offer(**dict(row)) for row in rows]


async def place(conn: Connection, task_id: int, pace: Pace) -> int:
    """Give the task's unplaced jobs to queues; returns how many found one. One transaction of the caller."""
    # The task first: a kill either sees the jobs placed here, or is seen here.
    task = await conn.fetchrow(
        "SELECT request FROM task WHERE id = $1 AND state = ANY($2) FOR SHARE", task_id, PLACING
    )
    if task is None:
        return 0
    rows = await conn.fetch(
        """
        SELECT j.id, j.number, j.attempt, j.work FROM job j WHERE j.id IN (
            SELECT job_id FROM unplaced WHERE task_id = $1 ORDER BY job_id LIMIT $2 FOR UPDATE SKIP LOCKED)
        ORDER BY j.id
        """,
        task_id,
        BUNCH,
    )
    if not rows:
        return 0
    inputs = await _inputs(conn, [row["id"] for row in rows])
    bunch = Bunch(
        task_id, TaskRequest.model_validate(task["request"]), {row["id"]: row for row in rows}, inputs, pace
    )
    now = await offers(conn)
    placed = 0
    for need in bunch.needs({offer.storage for offer in now}):
        decisions, now = decide(need, now)
        for decision in decisions:
            assignment = await _record(conn, task_id, decision)
            if decision.queue is not None:
                await _assign(conn, bunch, decision, assignment)
                placed += len(decision.jobs)
    return placed


async def _inputs(conn: Connection, ids: list[int]) -> dict[int, list[dict[str, Any]]]:
    """By job: its input files, each with the storages that have it; no copy arrives until this is over."""
    used = await conn.fetch("SELECT DISTINCT file_id FROM job_input WHERE job_id = ANY($1)", ids)
    await files.lock(conn, [row["file_id"] for row in used])
    rows = await conn.fetch(
        """
        SELECT i.job_id, f.id, f.scope, f.name, f.bytes, f.adler32,
               array(SELECT storage_id FROM replica r WHERE r.file_id = f.id) AS storages
        FROM job_input i JOIN file f ON f.id = i.file_id WHERE i.job_id = ANY($1) ORDER BY f.name
        """,
        ids,
    )
    result: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        result[row["job_id"]].append(dict(row))
    return result


async def _record(conn: Connection, task_id: int, decision: Decision) -> int:
    """Store the decision; a refusal that says what the last one said only makes that one last longer."""
    verdicts = [asdict(verdict) for verdict in decision.verdicts]
    if decision.queue is None:
        last: int | None = await conn.fetchval(
            """
            UPDATE assignment SET until = now(), jobs = $2 WHERE reason = $3 AND id = (
                SELECT id FROM assignment WHERE task_id = $1 AND queue_id IS NULL ORDER BY until DESC LIMIT 1)
            RETURNING id
            """,
            task_id,
            len(decision.jobs),
            decision.reason,
        )
        if last is not None:
            return last
    assignment: int = await conn.fetchval(
        "INSERT INTO assignment (task_id, queue_id, jobs, reason, verdicts) VALUES ($1, $2, $3, $4, $5) RETURNING id",
        task_id,
        decision.queue,
        len(decision.jobs),
        decision.reason,
        verdicts,
    )
    return assignment


async def _assign(conn: Connection, bunch: Bunch, decision: Decision, assignment: int) -> None:
    storage = await one(
        conn,
        "SELECT s.id, s.name, s.url FROM queue q JOIN storage s ON s.id = q.storage_id WHERE q.id = $1",
        decision.queue,
    )
    await conn.execute(
        """
        UPDATE job j SET state = 'assigned', queue_id = $1, assignment_id = $2, spec = new.spec, actor = 'brokerage',
               reason = $3, changed_at = now()
        FROM unnest($4::bigint[], $5::jsonb[]) AS new (id, spec) WHERE j.id = new.id
        """,
        decision.queue,
        assignment,
        decision.reason,
        list(decision.jobs),
        [encode(bunch.spec(job, storage["url"])) for job in decision.jobs],
    )
    dispatch = await _dispatch(conn, bunch, decision, assignment, storage["id"])
    waits = [
        holds.NewHold(release_holder(job), storage["id"], [file["id"] for file in bunch.inputs[job]], dispatch)
        for job in decision.jobs
        if job in bunch.inputs
    ]
    missing = await holds.place_many(conn, waits)
    await conn.execute(
        """
        UPDATE job SET state = 'activated', actor = 'brokerage', reason = 'all inputs are at ' || $2,
               changed_at = now()
        WHERE id = ANY($1) AND state = 'assigned'
        """,
        [job for job in decision.jobs if missing.get(release_holder(job), 0) == 0],
        storage["name"],
    )


async def _dispatch(conn: Connection, bunch: Bunch, decision: Decision, assignment: int, storage: int) -> int | None:
    """The dataset of what the storage lacks for these jobs, subscribed there; none if it lacks nothing."""
    lacking = {
        file["id"] for job in decision.jobs for file in bunch.inputs.get(job, []) if storage not in file["storages"]
    }
    if not lacking:
        return None
    output = parse_did(bunch.request.output)
    did = Did(output.scope, dispatch_name(output.name, assignment))
    dataset = await datasets.create(conn, did, DatasetKind.DISPATCH, "prodchain")
    assert dataset.id is not None
    await datasets.add_files(conn, dataset.id, sorted(lacking))
    await datasets.close(conn, dataset.id)
    await subscriptions.subscribe(conn, dataset.id, storage)
    await conn.execute("SELECT pg_notify('prodchain_work', 'move')")
    return dataset.id
