"""What nobody reports: tasks that are complete, jobs that their task left behind, counters that want folding."""

from prodchain.catalog import datasets

from .database import Connection
from .jobs import cancel
from .states import JOB_FINAL, TaskState
from .tasks import move

ACTOR = "watch"
FOLD_ABOVE = 64
"""Rows of job_count per task that are worth folding into one per state."""


async def sweep(conn: Connection) -> int:
    """Cancel jobs that a retry defined while their task was being killed."""
    rows = await conn.fetch(
        """
        SELECT u.job_id FROM unplaced u JOIN task t ON t.id = u.task_id
        WHERE t.state IN ('aborted', 'failed', 'finished') ORDER BY u.job_id LIMIT 1000
        """
    )
    if rows:
        await cancel(conn, [row["job_id"] for row in rows], ACTOR, "its task has ended")
    return len(rows)


async def complete(conn: Connection) -> int:
    """End the tasks that have made all their jobs and whose jobs are all final; close what they completed."""
    rows = await conn.fetch(
        """
        SELECT t.id, t.numbers, t.output_id, n.finished FROM task t CROSS JOIN LATERAL (
            SELECT coalesce(sum(c.jobs) FILTER (WHERE c.state = 'finished'), 0)::int AS finished,
                   coalesce(sum(c.jobs) FILTER (WHERE NOT c.state = ANY($1)), 0)::int AS alive
            FROM job_count c WHERE c.task_id = t.id
        ) AS n
        WHERE t.state IN ('ready', 'running') AND t.generated AND n.alive = 0
        ORDER BY t.id FOR UPDATE OF t
        """,
        list(JOB_FINAL),
    )
    for row in rows:
        finished, numbers = row["finished"], row["numbers"]
        if finished == numbers:
            state, reason = TaskState.DONE, f"all {numbers} jobs finished"
        elif finished:
            state, reason = TaskState.FINISHED, f"{finished} of {numbers} jobs finished, the others failed for good"
        else:
            state, reason = TaskState.FAILED, f"none of {numbers} jobs finished"
        await move(conn, row["id"], state, ACTOR, reason)
        if state == TaskState.DONE:
            await _close(conn, row["output_id"])
    return len(rows)


async def _close(conn: Connection, output_id: int) -> None:
    """Close a task's output dataset and the sub-datasets that gathered it."""
    subs = await conn.fetch(
        """
        SELECT s.id FROM dataset d JOIN dataset s ON s.scope = d.scope AND s.kind = 'sub'
             AND s.name LIKE replace(replace(replace(d.name, '\\', '\\\\'), '_', '\\_'), '%', '\\%') || '\\_sub.%'
        WHERE d.id = $1
        """,
        output_id,
    )
    for dataset_id in (*(row["id"] for row in subs), output_id):
        await datasets.close(conn, dataset_id)


async def fold(conn: Connection) -> int:
    """Sum up the counters of tasks that have gathered many rows; readers see the same numbers at any moment."""
    tasks = await conn.fetch(
        "SELECT task_id FROM job_count GROUP BY task_id HAVING count(*) > $1 LIMIT 200", FOLD_ABOVE
    )
    await conn.execute(
        """
        WITH old AS (DELETE FROM job_count WHERE task_id = ANY($1) RETURNING task_id, queue_id, state, jobs, events)
        INSERT INTO job_count (task_id, queue_id, state, jobs, events)
        SELECT task_id, queue_id, state, sum(jobs), sum(events) FROM old GROUP BY task_id, queue_id, state
        HAVING sum(jobs) <> 0
        """,
        [row["task_id"] for row in tasks],
    )
    return len(tasks)
