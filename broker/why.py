"""Why a task or job waits, or is where it is: plain sentences, each with what to do about it."""

from typing import Any

from . import jobs, tasks
from .database import Connection, one
from .models import Job
from .states import ON_PILOT, TASK_FINAL, JobState, TaskState

PILOT_SILENCE_S = 60


def reason(what: str, remedy: str = "", number: int = 1) -> dict[str, Any]:
    return {"what": what, "remedy": remedy, "jobs": number}


async def job_why(conn: Connection, job_id: int) -> dict[str, Any]:
    """What a job waits for or is doing, with the brokerage's verdicts on every queue."""
    job = await jobs.get(conn, job_id)
    reasons = await _job_reasons(conn, job)
    verdicts = await _verdicts(conn, job.task_id, job.assignment_id, refused=job.state == JobState.DEFINED)
    return {"object": f"job {job_id}", "state": job.state, "reasons": reasons, "verdicts": verdicts}


async def task_why(conn: Connection, task_id: int) -> dict[str, Any]:
    """What holds a task up: its input, then the oldest job in each state that is not final."""
    task = await tasks.get(conn, task_id)
    reasons = []
    if task.state in TASK_FINAL and task.state != TaskState.DONE:
        reasons += await _failures(conn, task_id) or [reason(f"it is {task.state}: {task.reason}")]
    elif not task.generated and task.input_id is not None:
        reasons.append(await _input(conn, task.input_id, task.numbers))
    oldest = await conn.fetch(
        """
        SELECT DISTINCT ON (state) id, state, n.jobs FROM job JOIN (
            SELECT state, sum(jobs)::int AS jobs FROM job_count WHERE task_id = $1 GROUP BY state
        ) AS n USING (state)
        WHERE task_id = $1 AND state <> ALL($2) ORDER BY state, id
        """,
        task_id,
        [JobState.FINISHED, JobState.FAILED, JobState.CANCELLED, JobState.CLOSED],
    )
    for row in oldest:
        job = await jobs.get(conn, row["id"])
        for item in await _job_reasons(conn, job):
            reasons.append(
                reason(f"{row['jobs']} {job.state}, e.g. job {job.id}: {item['what']}", item["remedy"], row["jobs"])
            )
    if not reasons:
        reasons.append(reason(f"it is {task.state}: {task.reason}"))
    return {
        "object": f"task {task_id}",
        "state": task.state,
        "reasons": reasons,
        "verdicts": await _verdicts(conn, task_id, refused=any(row["state"] == JobState.DEFINED for row in oldest)),
    }


async def _job_reasons(conn: Connection, job: Job) -> list[dict[str, Any]]:
    if job.state == JobState.DEFINED:
        return [await _unplaced(conn, job)]
    if job.state == JobState.ASSIGNED:
        return await _missing(conn, jobs.release_holder(job.id or 0), "its input")
    if job.state == JobState.ACTIVATED:
        return [await _in_queue(conn, job)]
    if job.state in ON_PILOT:
        return [await _on_pilot(conn, job)]
    if job.state == JobState.TRANSFERRING:
        return await _missing(conn, jobs.deliver_holder(job.id or 0), "its output")
    return [reason(f"it is {job.state}: {job.reason}", f"prodchain job log {job.id}" if job.pilot else "")]


async def _unplaced(conn: Connection, job: Job) -> dict[str, Any]:
    state = await conn.fetchval("SELECT state FROM task WHERE id = $1", job.task_id)
    if state == TaskState.PAUSED:
        return reason("its task is paused")
    if state in TASK_FINAL:
        return reason(f"its task is {state}: it is about to be cancelled")
    last = await conn.fetchrow(
        "SELECT reason, verdicts FROM assignment WHERE task_id = $1 AND queue_id IS NULL AND until >= $2"
        " ORDER BY until DESC LIMIT 1",
        job.task_id,
        job.created_at,
    )
    if last is None:
        return reason("the brokerage has not looked at it yet", "if this lasts, see `prodchain status`: agents")
    remedies = dict.fromkeys(verdict["remedy"] for verdict in last["verdicts"] if not verdict["passed"])
    return reason(last["reason"], "; or ".join(remedies))


async def _missing(conn: Connection, holder: str, what: str) -> list[dict[str, Any]]:
    rows = await conn.fetch(
        """
        SELECT f.scope || ':' || f.name AS file, s.name AS storage, h.missing, t.state, t.error, t.attempts,
               t.lease_until > now() AS moving, f.lost_at IS NOT NULL AS lost,
               extract(epoch FROM t.not_before - now())::int AS next_s
        FROM hold h JOIN hold_file m ON m.hold_id = h.id JOIN file f ON f.id = m.file_id
        JOIN storage s ON s.id = m.storage_id
        LEFT JOIN transfer t ON t.file_id = m.file_id AND t.storage_id = m.storage_id
        WHERE h.holder = $1 ORDER BY f.lost_at, t.error NULLS LAST, f.name LIMIT 10
        """,
        holder,
    )
    reasons = []
    for row in rows:
        where = f"{what} {row['file']} is not at {row['storage']} yet"
        if row["lost"]:
            kind, _, job = holder.partition(":")
            kill = f", or `prodchain job kill {job}`" if kind == "release" else ""
            remedy = f"bring a good copy, and it goes on by itself{kill}"
            reasons.append(reason(f"{where}: it is lost, no good copy is left anywhere", remedy))
        elif row["error"]:
            then = f", next try in {row['next_s']} s" if (row["next_s"] or 0) > 0 else ""
            reasons.append(
                reason(
                    f"{where}: {row['error']} ({row['attempts']} tries{then})",
                    "mend the storage that the error names",
                )
            )
        elif row["moving"]:
            reasons.append(reason(f"{where}: it is being copied"))
        else:
            reasons.append(reason(f"{where}: its copy is queued", "if this lasts, see `prodchain status`: agents"))
    return reasons or [reason("all files are in place; it goes on at once")]


async def _in_queue(conn: Connection, job: Job) -> dict[str, Any]:
    row = await one(
        conn,
        """
        SELECT q.name, q.slots,
               (SELECT count(*) FROM ready r WHERE r.queue_id = q.id
                  AND (r.priority > $2 OR (r.priority = $2 AND r.job_id < $3))) AS ahead,
               (SELECT count(*) FROM pilot p WHERE p.queue_id = q.id
                  AND p.last_seen > now() - make_interval(secs => $4)) AS pilots
        FROM queue q WHERE q.id = $1
        """,
        job.queue_id,
        job.priority,
        job.id,
        PILOT_SILENCE_S,
    )
    if row["pilots"] == 0:
        return reason(
            f"no pilot of {row['name']} has called for {PILOT_SILENCE_S} s",
            f"start pilots for {row['name']}: `prodchain up`, or `prodchain pilot --help` for another machine",
        )
    return reason(
        f"it waits for a pilot of {row['name']}: {row['ahead']} jobs are ahead of it, {row['pilots']} pilots work",
        "more pilots, or a higher priority, would start it earlier",
    )


async def _on_pilot(conn: Connection, job: Job) -> dict[str, Any]:
    left = await conn.fetchval("SELECT extract(epoch FROM until - now())::int FROM lease WHERE job_id = $1", job.id)
    if left is not None and left < 0:
        return reason(f"pilot {job.pilot} does not call any more", "its work gets a new attempt by itself")
    return reason(f"pilot {job.pilot} has it ({job.state}); the lease runs {left} s more")


async def _input(conn: Connection, input_id: int, numbers: int) -> dict[str, Any]:
    row = await one(
        conn,
        """
        SELECT d.scope || ':' || d.name AS did, d.files, d.state, t.id AS task, t.state AS task_state
        FROM dataset d LEFT JOIN task t ON t.output_id = d.id WHERE d.id = $1
        """,
        input_id,
    )
    if row["task"] is None:
        return reason(
            f"its input {row['did']} is open with {row['files']} files; {numbers} jobs were made of them",
            f"prodchain dataset close {row['did']}  (if no more files will come)",
        )
    remedy = f"prodchain task why {row['task']}" if row["task_state"] != TaskState.RUNNING else ""
    return reason(
        f"its input {row['did']} is still being made by task {row['task']} ({row['task_state']}):"
        f" {row['files']} files so far",
        remedy,
    )


async def _failures(conn: Connection, task_id: int) -> list[dict[str, Any]]:
    rows = await conn.fetch(
        """
        SELECT error, count(*)::int AS jobs, max(id) AS example FROM job
        WHERE task_id = $1 AND state = 'failed' GROUP BY error ORDER BY jobs DESC LIMIT 5
        """,
        task_id,
    )
    return [
        reason(
            f"{row['jobs']} failed: {row['error']}",
            f"prodchain job log {row['example']}; when mended: prodchain task retry {task_id}",
            row["jobs"],
        )
        for row in rows
    ]


async def _verdicts(
    conn: Connection, task_id: int, assignment_id: int | None = None, *, refused: bool
) -> list[dict[str, Any]]:
    """The verdicts of an assignment; else of the task's refusal if something is ``refused``, or of its last one."""
    rows = await conn.fetch(
        """
        SELECT q.name AS queue, v.passed, v.criterion, v.reason, v.remedy, v.weight, v.missing_bytes
        FROM assignment a CROSS JOIN jsonb_to_recordset(a.verdicts) AS v (queue smallint, passed bool, criterion text,
            reason text, remedy text, weight float, missing_bytes bigint)
        JOIN queue q ON q.id = v.queue
        WHERE a.id = coalesce(
            $2,
            (SELECT id FROM assignment WHERE task_id = $1 AND queue_id IS NULL AND $3 ORDER BY until DESC LIMIT 1),
            (SELECT max(id) FROM assignment WHERE task_id = $1))
        ORDER BY v.passed DESC, v.weight DESC, q.name
        """,
        task_id,
        assignment_id,
        refused,
    )
    return [dict(row) for row in rows]
