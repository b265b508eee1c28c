"""What nobody reports: tasks that are complete, jobs that their task left behind, counters that want folding."""

from prodchain.catalog import datasets

from .database import Connection, one
from .jobs import cancel
from .placement import tasks_with_unplaced
from .states import JOB_FINAL, TASK_FINAL, TaskState
from .tasks import get, move

ACTOR = "watch"
SWEEP = 1000
"""Jobs that one sweep of a task cancels."""
FOLD_TASKS = 200


async def left_behind(conn: Connection) -> list[int]:
    """Ended tasks with jobs that wait: more than a kill cancelled, or defined by a report while it went on."""
    return await tasks_with_unplaced(conn, TASK_FINAL)


async def sweep(conn: Connection, task_id: int) -> int:
    """Cancel such jobs, unless a retry has made them the task's own again."""
    task = await get(conn, task_id, lock=True)
    if task.state not in TASK_FINAL:
        return 0
    rows = await conn.fetch("SELECT job_id FROM unplaced WHERE task_id = $1 ORDER BY job_id LIMIT $2", task_id, SWEEP)
    await cancel(conn, [row["job_id"] for row in rows], ACTOR, f"its task is {task.state}")
    return len(rows)


_COUNTS = """
    SELECT coalesce(sum(c.jobs) FILTER (WHERE c.state = 'finished'), 0)::int AS finished,
           coalesce(sum(c.jobs) FILTER (WHERE NOT c.state = ANY($1)), 0)::int AS alive
    FROM job_count c WHERE c.task_id = """


async def ending(conn: Connection) -> list[int]:
    """Tasks that have made all their jobs and whose jobs are all final."""
    rows = await conn.fetch(
        f"""
        SELECT t.id FROM task t CROSS JOIN LATERAL ({_COUNTS} t.id) AS n
        WHERE t.state IN ('ready', 'running') AND t.generated AND n.alive = 0 ORDER BY t.id LIMIT 1000
        """,  # noqa: S608
        list(JOB_FINAL),
    )
    return [row["id"] for row in rows]


async def complete(conn: Connection, task_id: int) -> int:
    """End a task and close what it completed; nothing if it was tried again meanwhile."""
    task = await get(conn, task_id, lock=True)
    # Counted after the lock, which a retry must have had to define jobs.
    counts = await one(conn, f"{_COUNTS} $2", list(JOB_FINAL), task_id)
    if task.state not in (TaskState.READY, TaskState.RUNNING) or not task.generated or counts["alive"]:
        return 0
    finished, numbers = counts["finished"], task.numbers
    if finished == numbers:
        state, reason = TaskState.DONE, f"all {numbers} jobs finished"
    elif finished:
        state, reason = TaskState.FINISHED, f"{finished} of {numbers} jobs finished, the others failed for good"
    else:
        state, reason = TaskState.FAILED, f"none of {numbers} jobs finished"
    await move(conn, task_id, state, ACTOR, reason)
    if state == TaskState.DONE:
        await _close(conn, task.output_id)
    return 1


async def _close(conn: Connection, output_id: int) -> None:
    """Close a task's output dataset and the sub-datasets that gathered it."""
    subs = await conn.fetch(
        """
        SELECT s.id FROM dataset d CROSS JOIN storage at
        JOIN dataset s ON s.scope = d.scope AND s.name = d.name || '_sub.' || at.name AND s.kind = 'sub' AND s.latest
        WHERE d.id = $1 ORDER BY s.id
        """,
        output_id,
    )
    for dataset_id in (output_id, *(row["id"] for row in subs)):
        await datasets.close(conn, dataset_id)


async def fold(conn: Connection) -> int:
    """Sum up the counters of tasks whose jobs moved; readers see the same numbers at any moment.

    Looks at what is new only. Returns 0 when that was all.
    """
    if not await conn.fetchval("SELECT pg_try_advisory_xact_lock(hashtext('prodchain fold'))"):
        return 0
    tasks = await conn.fetch("SELECT DISTINCT task_id FROM job_count WHERE NOT folded LIMIT $1", FOLD_TASKS)
    await conn.execute(
        """
        WITH old AS (DELETE FROM job_count WHERE task_id = ANY($1) RETURNING *)
        INSERT INTO job_count (task_id, queue_id, share_id, state, jobs, events, cores, folded)
        SELECT task_id, queue_id, share_id, state, sum(jobs), sum(events), sum(cores), true
        FROM old GROUP BY task_id, queue_id, share_id, state
        HAVING sum(jobs) <> 0
        """,
        [row["task_id"] for row in tasks],
    )
    return len(tasks) // FOLD_TASKS
