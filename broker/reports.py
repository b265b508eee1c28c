"""What pilots report: states, logs and final results, each applied once however often it is sent."""

from math import isfinite
from uuid import UUID

import asyncpg

from prodchain.catalog import datasets, files, holds, replicas, subscriptions
from prodchain.catalog.errors import CatalogError
from prodchain.catalog.models import DatasetKind
from prodchain.catalog.names import Did, file_name, sub_name
from prodchain.pilot_agent.messages import Answer, Answers, Update, Updates

from . import leases
from .database import Connection, one, wake
from .errors import BadRequest
from .failing import fail
from .jobs import deliver_holder, get, lock, release_holder
from .models import Job
from .states import MADE, ON_PILOT, JobState
from .texts import storable

_ON_THE_WAY = ("starting", "running", "holding")
ERROR_LIMIT = 4000
"""Characters of an error that are kept."""
LOG_LIMIT = 2_000_000
"""Characters of a job's log that are kept."""


async def apply(conn: Connection, queue_id: int, message: Updates, lease_s: float) -> Answers:
    """Apply a pilot's news in one transaction of the caller; the answers are in the order of the updates.

    Raises BadRequest for a state that no pilot may report.
    """
    pilot = storable(message.pilot)
    ids = {update.job for update in message.updates}
    jobs = await lock(conn, list(ids), ends=any(update.state not in _ON_THE_WAY for update in message.updates))
    answers: dict[int, Answer] = {}
    # By task, so that two pilots with jobs of the same tasks take their datasets in one order.
    order = sorted(enumerate(message.updates), key=lambda item: getattr(jobs.get(item[1].job), "task_id", 0))
    for place, update in order:
        job = jobs.get(update.job)
        if job is None or job.pilot != pilot or job.queue_id != queue_id:
            answers[place] = Answer(update.job, "discard", "the job is not this pilot's")
        else:
            answers[place] = await _apply_one(conn, job, pilot, update, lease_s)
            jobs[update.job] = await get(conn, update.job)  # the next news of the same job meet its new state
    await conn.execute("UPDATE pilot SET last_seen = now() WHERE name = $1", pilot)
    return Answers([answers[place] for place in range(len(message.updates))])


async def _apply_one(conn: Connection, job: Job, pilot: str, update: Update, lease_s: float) -> Answer:
    actor = f"pilot:{pilot}"
    if job.state in MADE:  # also for news that were overtaken: a discard would delete a registered output
        return Answer(update.job, "continue", "registered already")
    if job.state not in ON_PILOT:
        return Answer(update.job, "discard", f"the job is {job.state}: {job.reason}")
    await _keep_log(conn, update)
    if update.state in _ON_THE_WAY:
        await _advance(conn, job, actor, update)
        await leases.extend(conn, update.job, lease_s)
    elif update.state == "failed":
        why = storable(update.error)[:ERROR_LIMIT] or "the pilot gave no reason"
        await fail(conn, job, actor, why, exit_code=_exit_code(update))
        await _forget(conn, pilot)
    elif update.state == "finished":
        problem = _problem(job, update) or await _try_finish(conn, job, actor, update)
        if problem:
            await fail(conn, job, actor, problem, exit_code=_exit_code(update))
        await _forget(conn, pilot)
        return Answer(update.job, "discard", problem) if problem else Answer(update.job, "continue", "registered")
    else:
        raise BadRequest(
            f"no pilot may report the state {storable(str(update.state))!r}",
            object=f"job {update.job}",
            hint=f"known are {', '.join((*_ON_THE_WAY, 'finished', 'failed'))}",
        )
    return Answer(update.job, "continue")


async def _advance(conn: Connection, job: Job, actor: str, update: Update) -> None:
    """Forward only: news that was overtaken changes nothing."""
    state = JobState(update.state)
    if ON_PILOT.index(state) > ON_PILOT.index(job.state):
        words = {"starting": "fetching inputs", "running": "payload started", "holding": "storing outputs"}
        await conn.execute(
            "UPDATE job SET state = $2, actor = $3, reason = $4, changed_at = now() WHERE id = $1",
            job.id,
            state,
            actor,
            words[state],
        )


async def _keep_log(conn: Connection, update: Update) -> None:
    if update.log and 0 <= update.log_offset < LOG_LIMIT:
        await conn.execute(
            "INSERT INTO job_log (job_id, start, text) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            update.job,
            update.log_offset,
            storable(update.log[: LOG_LIMIT - update.log_offset]),
        )


async def _forget(conn: Connection, pilot: str) -> None:
    await conn.execute("UPDATE pilot SET job_id = NULL WHERE name = $1", pilot)


def _problem(job: Job, update: Update) -> str:
    """What is wrong with a report of success; empty if nothing."""
    expected = {output["lfn"] for output in job.spec["outputs"]}
    stored = {file.lfn for file in update.outputs}
    missing, strange = sorted(expected - stored), sorted(stored - expected)
    if missing:
        return f"the output {missing[0]} is missing"
    if strange:
        return f"the output {strange[0]} was not asked for"
    return ""


def _exit_code(update: Update) -> int | None:
    """Batch systems and Windows report more than a byte; the column takes 32 bits."""
    return None if update.exit_code is None else max(-(2**31), min(update.exit_code, 2**31 - 1))


async def _try_finish(conn: Connection, job: Job, actor: str, update: Update) -> str:
    """Register the outputs, or say why the catalog refuses them: repeating such a report would not help."""
    try:
        async with conn.transaction():
            await _finish(conn, job, actor, update)
    except (CatalogError, asyncpg.DataError, ValueError) as error:
        return storable(str(error))[:ERROR_LIMIT]
    return ""


async def _finish(conn: Connection, job: Job, actor: str, update: Update) -> None:
    """Register the outputs where they are, send them home if they are away, end the job: one transaction."""
    assert job.id is not None
    place = await one(
        conn,
        """
        SELECT t.destination_id, q.storage_id, s.name AS storage
        FROM task t, queue q JOIN storage s ON s.id = q.storage_id WHERE t.id = $1 AND q.id = $2
        """,
        job.task_id,
        job.queue_id,
    )
    made = await _register(conn, job, update)
    away = [file for output, file in made if output["kind"] != DatasetKind.SUB]
    if place["storage_id"] == place["destination_id"]:
        away = []  # nor do small outputs travel: the jobs that merge them go where they are
    if away:
        await datasets.add_files(conn, sub := await _sub(conn, made, place["storage"]), away)
    await replicas.arrive(conn, place["storage_id"], [file for _, file in made])
    missing = 0
    if away:
        await subscriptions.subscribe(conn, sub, place["destination_id"])
        await wake(conn, "move")
        missing = await holds.place(conn, deliver_holder(job.id), place["destination_id"], away, sub)
    await holds.drop(conn, [release_holder(job.id)])
    await conn.execute("DELETE FROM lease WHERE job_id = $1", job.id)
    await conn.execute(
        """
        UPDATE job SET state = $2, actor = $3, reason = $4, exit_code = $5, metrics = $6, changed_at = now()
        WHERE id = $1
        """,
        job.id,
        JobState.TRANSFERRING if missing else JobState.FINISHED,
        actor,
        "outputs registered, on their way to their destination" if missing else "outputs registered",
        _exit_code(update),
        {storable(name): value for name, value in update.metrics.items() if isfinite(value)},
    )
    if not missing:
        await holds.drop(conn, [deliver_holder(job.id)])


async def _register(conn: Connection, job: Job, update: Update) -> list[tuple[asyncpg.Record, int]]:
    """Make the outputs known, each in the dataset that it was made for: (dataset, file), the main one first.

    The names tell which is for which (bunches.Bunch.spec).
    """
    outputs = await conn.fetch(
        """
        SELECT d.id, d.scope, d.name, d.kind, d.version FROM task_output o JOIN dataset d ON d.id = o.dataset_id
        WHERE o.task_id = $1 ORDER BY o.role
        """,
        job.task_id,
    )
    stored = {file.lfn: file for file in update.outputs}
    named = [(output, stored[file_name(output["name"], job.number, job.attempt)]) for output in outputs]
    ids = await files.register(
        conn,
        [
            files.NewFile(Did(output["scope"], file.lfn), UUID(file.guid), file.bytes, file.adler32, file.events)
            for output, file in named
        ],
    )
    made = list(zip(outputs, ids, strict=True))
    for output, file in sorted(made, key=lambda pair: int(pair[0]["id"])):  # as everybody does who fills several
        await datasets.add_files(conn, output["id"], [file])
    return made


async def _sub(conn: Connection, made: list[tuple[asyncpg.Record, int]], storage: str) -> int:
    """The dataset that gathers what was made at a storage for elsewhere."""
    main, _ = made[0]
    did = Did(main["scope"], sub_name(main["name"], storage, main["version"]))
    sub = await datasets.create(conn, did, DatasetKind.SUB, "prodchain")
    assert sub.id is not None
    return sub.id
