"""What pilots report: states, logs and final results, each applied once however often it is sent."""

from uuid import UUID

from prodchain.catalog import datasets, files, holds, replicas, subscriptions
from prodchain.catalog.models import DatasetKind
from prodchain.catalog.names import Did, parse_did, sub_name
from prodchain.pilot_agent.messages import Answer, Answers, Update, Updates

from . import leases
from .database import Connection, one
from .errors import BadRequest
from .jobs import deliver_holder, fail, release_holder
from .models import Job
from .states import ON_PILOT, JobState

_ON_THE_WAY = ("starting", "running", "holding")
_DONE = (JobState.TRANSFERRING, JobState.FINISHED)
LOG_LIMIT = 2_000_000
"""Characters of a job's log that are kept."""


async def apply(conn: Connection, queue_id: int, message: Updates, lease_s: float) -> Answers:
    """Apply a pilot's news in one transaction of the caller; the answers are in the order of the updates.

    Raises BadRequest for a state that no pilot may report.
    """
    ids = sorted({update.job for update in message.updates})
    rows = await conn.fetch("SELECT * FROM job WHERE id = ANY($1) ORDER BY id FOR UPDATE", ids)
    jobs = {row["id"]: Job.model_validate(dict(row)) for row in rows}
    answers = []
    for update in message.updates:
        job = jobs.get(update.job)
        if job is None or job.pilot != message.pilot or job.queue_id != queue_id:
            answers.append(Answer(update.job, "discard", "the job is not this pilot's"))
        else:
            answers.append(await _apply_one(conn, job, message.pilot, update, lease_s))
    await conn.execute("UPDATE pilot SET last_seen = now() WHERE name = $1", message.pilot)
    return Answers(answers)


async def _apply_one(conn: Connection, job: Job, pilot: str, update: Update, lease_s: float) -> Answer:
    actor = f"pilot:{pilot}"
    if job.state in _DONE and update.state == "finished":
        return Answer(update.job, "continue", "registered already")
    if job.state not in ON_PILOT:
        return Answer(update.job, "discard", f"the job is {job.state}: {job.reason}")
    await _keep_log(conn, update)
    if update.state in _ON_THE_WAY:
        await _advance(conn, job, actor, update)
        await leases.extend(conn, update.job, lease_s)
    elif update.state == "failed":
        await fail(conn, job, actor, update.error or "the pilot gave no reason", exit_code=update.exit_code)
        await _forget(conn, pilot)
    elif update.state == "finished":
        problem = _problem(job, update)
        if problem:
            await fail(conn, job, actor, problem, exit_code=update.exit_code)
            await _forget(conn, pilot)
            return Answer(update.job, "discard", problem)
        await _finish(conn, job, actor, update)
        await _forget(conn, pilot)
        return Answer(update.job, "continue", "registered")
    else:
        raise BadRequest(
            f"no pilot may report the state {update.state!r}",
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
        job.state = state


async def _keep_log(conn: Connection, update: Update) -> None:
    if update.log and update.log_offset < LOG_LIMIT:
        await conn.execute(
            "INSERT INTO job_log (job_id, start, text) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            update.job,
            update.log_offset,
            update.log.replace("\0", "\N{REPLACEMENT CHARACTER}"),
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


async def _finish(conn: Connection, job: Job, actor: str, update: Update) -> None:
    """Register the outputs where they are, send them home if they are away, end the job: one transaction."""
    assert job.id is not None
    task = await one(
        conn,
        """
        SELECT t.key, t.output_id, t.destination_id, t.owner, q.storage_id, s.name AS storage
        FROM task t, queue q JOIN storage s ON s.id = q.storage_id WHERE t.id = $1 AND q.id = $2
        """,
        job.task_id,
        job.queue_id,
    )
    output = parse_did(task["key"])
    news = [
        files.NewFile(Did(output.scope, file.lfn), UUID(file.guid), file.bytes, file.adler32, file.events)
        for file in update.outputs
    ]
    ids = await files.register(conn, news)
    await datasets.add_files(conn, task["output_id"], ids)
    missing = 0
    if task["storage_id"] != task["destination_id"]:
        did = Did(output.scope, sub_name(output.name, task["storage"]))
        sub = await datasets.create(conn, did, DatasetKind.SUB, "prodchain")
        assert sub.id is not None
        await datasets.add_files(conn, sub.id, ids)
        await replicas.arrive(conn, task["storage_id"], ids)
        await subscriptions.subscribe(conn, sub.id, task["destination_id"])
        await conn.execute("SELECT pg_notify('prodchain_work', 'move')")
        missing = await holds.place(conn, deliver_holder(job.id), task["destination_id"], ids, sub.id)
    else:
        await replicas.arrive(conn, task["storage_id"], ids)
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
        update.exit_code,
        update.metrics,
    )
