"""From decisions to facts: assignments with their verdicts, dispatch datasets, holds, and what the pilot will get."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from prodchain.catalog import datasets, holds, subscriptions
from prodchain.catalog.models import DatasetKind
from prodchain.catalog.names import Did, dispatch_name, file_name, parse_did, url_of
from prodchain.pilot_agent.messages import Input, JobSpec, Output, encode

from .brokerage.decide import decide
from .brokerage.facts import Decision, Need, Offer
from .database import Connection, one
from .jobs import release_holder
from .requests import TaskRequest
from .splitting import Work

BUNCH = 1000
"""Jobs of one task placed in one transaction."""
DISPATCH_DAYS = 14


async def waiting_tasks(conn: Connection) -> list[int]:
    rows = await conn.fetch(
        """
        SELECT DISTINCT u.task_id FROM unplaced u JOIN task t ON t.id = u.task_id
        WHERE t.state IN ('ready', 'running') ORDER BY u.task_id LIMIT 1000
        """
    )
    return [row["task_id"] for row in rows]


async def offers(conn: Connection) -> list[Offer]:
    """The queues as they stand, from counters."""
    rows = await conn.fetch(
        """
        SELECT q.id AS queue, q.name, q.storage_id AS storage, s.writable AS storage_writable, q.status, q.slots,
               q.cores, q.memory_mb, q.walltime_s, coalesce(n.waiting, 0) AS waiting,
               coalesce(n.executing, 0) AS executing, coalesce(p.seen, 0) AS pilots_seen
        FROM queue q JOIN storage s ON s.id = q.storage_id
        LEFT JOIN (
            SELECT queue_id, sum(jobs) FILTER (WHERE state IN ('assigned', 'activated'))::int AS waiting,
                   sum(jobs) FILTER (WHERE state IN ('sent', 'starting', 'running', 'holding'))::int AS executing
            FROM job_count GROUP BY queue_id
        ) AS n ON n.queue_id = q.id
        LEFT JOIN (
            SELECT queue_id, count(*) AS seen FROM pilot
            WHERE last_seen > now() - interval '10 minutes' GROUP BY queue_id
        ) AS p ON p.queue_id = q.id
        ORDER BY q.id
        """
    )
    return [Offer(**dict(row)) for row in rows]


async def place(conn: Connection, task_id: int, heartbeat_s: float) -> int:
    """Give the task's unplaced jobs to queues; returns how many found one. One transaction of the caller."""
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
    task = await one(conn, "SELECT request, key FROM task WHERE id = $1", task_id)
    request = TaskRequest.model_validate(task["request"])
    inputs = await _inputs(conn, [row["id"] for row in rows])
    jobs = {row["id"]: row for row in rows}
    now = await offers(conn)
    placed = 0
    for need in _bunches(request, inputs, list(jobs), [offer.storage for offer in now]):
        decisions, now = decide(need, now)
        for decision in decisions:
            assignment = await _record(conn, task_id, decision)
            if decision.queue is not None:
                chosen = [jobs[job] for job in decision.jobs]
                await _assign(conn, chosen, decision, assignment, request, inputs, heartbeat_s, task_id)
                placed += len(chosen)
    return placed


async def _inputs(conn: Connection, ids: list[int]) -> dict[int, list[dict[str, Any]]]:
    """By job: its input files, each with the storages that have it."""
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


def _bunches(
    request: TaskRequest, inputs: dict[int, list[dict[str, Any]]], ids: list[int], storages: list[int]
) -> list[Need]:
    """Jobs that the brokerage cannot tell apart: same requirements, same bytes missing at the same storages."""
    alike: dict[tuple[tuple[int, int], ...], list[int]] = defaultdict(list)
    for job in ids:
        missing = tuple(
            (storage, sum(file["bytes"] for file in inputs.get(job, []) if storage not in file["storages"]))
            for storage in sorted(set(storages))
        )
        alike[missing].append(job)
    return [
        Need(tuple(jobs), request.cores, request.memory_mb, request.walltime_s, dict(missing))
        for missing, jobs in alike.items()
    ]


async def _record(conn: Connection, task_id: int, decision: Decision) -> int:
    """Store the decision; one that repeats the task's last refusal word for word is not stored again."""
    if decision.queue is None:
        last = await conn.fetchrow(
            "SELECT id, queue_id, reason FROM assignment WHERE task_id = $1 ORDER BY id DESC LIMIT 1", task_id
        )
        if last is not None and last["queue_id"] is None and last["reason"] == decision.reason:
            return int(last["id"])
    assignment: int = await conn.fetchval(
        "INSERT INTO assignment (task_id, queue_id, jobs, reason) VALUES ($1, $2, $3, $4) RETURNING id",
        task_id,
        decision.queue,
        len(decision.jobs),
        decision.reason,
    )
    columns = list(zip(*((*asdict(verdict).values(),) for verdict in decision.verdicts), strict=True))
    if columns:
        await conn.execute(
            """
            INSERT INTO verdict (assignment_id, queue_id, passed, criterion, reason, remedy, weight, missing_bytes)
            SELECT $1, * FROM unnest($2::smallint[], $3::bool[], $4::text[], $5::text[], $6::text[], $7::float[],
                                     $8::bigint[])
            """,
            assignment,
            *map(list, columns),
        )
    return assignment


async def _assign(
    conn: Connection,
    jobs: Sequence[Any],
    decision: Decision,
    assignment: int,
    request: TaskRequest,
    inputs: dict[int, list[dict[str, Any]]],
    heartbeat_s: float,
    task_id: int,
) -> None:
    storage = await one(
        conn,
        "SELECT s.id, s.name, s.url FROM queue q JOIN storage s ON s.id = q.storage_id WHERE q.id = $1",
        decision.queue,
    )
    specs = [
        encode(_spec(row, task_id, request, inputs.get(row["id"], []), storage["url"], heartbeat_s)) for row in jobs
    ]
    await conn.execute(
        """
        UPDATE job j SET state = 'assigned', queue_id = $1, assignment_id = $2, spec = new.spec, actor = 'brokerage',
               reason = $3, changed_at = now()
        FROM unnest($4::bigint[], $5::jsonb[]) AS new (id, spec) WHERE j.id = new.id
        """,
        decision.queue,
        assignment,
        decision.reason,
        [row["id"] for row in jobs],
        specs,
    )
    dispatch = await _dispatch(conn, parse_did(request.output), assignment, storage["id"], jobs, inputs)
    waits = [
        holds.NewHold(release_holder(row["id"]), storage["id"], [file["id"] for file in files], dispatch)
        for row in jobs
        if (files := inputs.get(row["id"]))
    ]
    missing = await holds.place_many(conn, waits)
    ready = [row["id"] for row in jobs if missing.get(release_holder(row["id"]), 0) == 0]
    await conn.execute(
        """
        UPDATE job SET state = 'activated', actor = 'brokerage', reason = 'all inputs are at ' || $2,
               changed_at = now()
        WHERE id = ANY($1) AND state = 'assigned'
        """,
        ready,
        storage["name"],
    )


async def _dispatch(
    conn: Connection,
    output: Did,
    assignment: int,
    storage: int,
    jobs: Sequence[Any],
    inputs: dict[int, list[dict[str, Any]]],
) -> int | None:
    """The dataset of what the storage lacks for these jobs, subscribed there; none if it lacks nothing."""
    lacking = {file["id"] for row in jobs for file in inputs.get(row["id"], []) if storage not in file["storages"]}
    if not lacking:
        return None
    did = Did(output.scope, dispatch_name(output.name, assignment))
    expires = await conn.fetchval("SELECT now() + make_interval(days => $1)", DISPATCH_DAYS)
    dataset = await datasets.create(conn, did, DatasetKind.DISPATCH, "prodchain", expires)
    assert dataset.id is not None
    await datasets.add_files(conn, dataset.id, sorted(lacking))
    await datasets.close(conn, dataset.id)
    await subscriptions.subscribe(conn, dataset.id, storage)
    return dataset.id


def _spec(
    job: Any, task_id: int, request: TaskRequest, files: list[dict[str, Any]], storage_url: str, heartbeat_s: float
) -> JobSpec:
    work = Work.load(job["work"])
    output = parse_did(request.output)
    lfn = file_name(output.name, work.number, job["attempt"])
    fields = {
        "events": work.events,
        "skip": work.skip,
        "first_event": work.first_event,
        "seed": work.seed,
        "number": work.number,
        "inputs": ",".join(file["name"] for file in files),
        "output": lfn,
    }
    return JobSpec(
        job=job["id"],
        task=task_id,
        attempt=job["attempt"],
        command=[word.format(**fields) for word in request.command],
        inputs=[
            Input(file["name"], url_of(storage_url, Did(file["scope"], file["name"])), file["bytes"], file["adler32"])
            for file in files
        ],
        outputs=[Output(lfn, url_of(storage_url, Did(output.scope, lfn)))],
        walltime_s=request.walltime_s,
        heartbeat_s=heartbeat_s,
    )
