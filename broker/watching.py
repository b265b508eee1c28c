"""What nobody reports: tasks that are complete, jobs that their task left behind, counters that want folding."""

from prodchain.catalog import datasets

from . import merging, order_slices, scouting
from .asks import ask_of
from .database import Connection, one, wake
from .jobs import cancel_unplaced
from .models import Task
from .placement import tasks_with_unplaced
from .states import JOB_FINAL, TASK_FINAL, TaskState
from .tasks import get, move

ACTOR = "watch"
SWEEP = 1000
"""Jobs that one sweep of a task cancels."""
FOLD_ROWS = 20_000


async def left_behind(conn: Connection) -> list[int]:
    """Ended tasks with jobs that wait: more than a kill cancelled, or defined by a report while it went on."""
    return await tasks_with_unplaced(conn, TASK_FINAL)


async def sweep(conn: Connection, task_id: int) -> int:
    """Cancel such jobs, unless a retry has made them the task's own again."""
    task = await get(conn, task_id, lock=True)
    if task.state not in TASK_FINAL:
        return 0
    return await cancel_unplaced(conn, task_id, SWEEP, ACTOR, f"its task is {task.state}")


_COUNTS = """
    SELECT coalesce(sum(c.jobs) FILTER (WHERE c.state = 'finished'), 0)::int AS finished,
           coalesce(sum(c.jobs) FILTER (WHERE NOT c.state = ANY($1)), 0)::int AS alive
    FROM job_count c WHERE c.task_id = """
# The states are spelt out, so that the partial index task_open serves.
_ENDING = f"""
SELECT t.id FROM task t CROSS JOIN LATERAL ({_COUNTS} t.id) AS n
WHERE n.alive = 0 AND NOT EXISTS (SELECT FROM open_order o WHERE o.task_id = t.id) AND (
    t.state IN ('ready', 'running') AND (t.generated OR t.ending)
    OR t.state = 'scouting' AND (t.generated OR t.numbers >= (t.request ->> 'scouts')::int)
    OR t.state = 'merging' AND EXISTS (
        SELECT FROM task c WHERE c.key = 'merge:' || t.key AND c.parent_id = t.id AND c.state = ANY($2)))
ORDER BY t.id LIMIT 1000
"""  # noqa: S608


async def ending(conn: Connection) -> list[int]:
    """Tasks whose jobs are all final where no more are made, whose scouts are over, or whose outputs are merged."""
    return [row["id"] for row in await conn.fetch(_ENDING, list(JOB_FINAL), list(TASK_FINAL))]


async def complete(conn: Connection, task_id: int) -> int:
    """Take a task on whose jobs are over: to its other jobs, to merging, or to its end; and close what it completed.

    Does nothing if it was tried again meanwhile.
    """
    task = await get(conn, task_id, lock=True)
    # Counted after the lock, which a retry must have had to define jobs.
    counts = await one(conn, f"{_COUNTS} $2", list(JOB_FINAL), task_id)
    if counts["alive"] or task.state not in (*_AT_WORK, TaskState.SCOUTING, TaskState.MERGING):
        return 0
    if await order_slices.busy(conn, task_id):  # a retry, say, that has not come to all of its pieces
        return 0
    if task.state == TaskState.SCOUTING:
        if not (task.generated or task.numbers >= ask_of(task).scouts):
            return 0
        await scouting.conclude(conn, task, counts["finished"])
        return 1
    if not (task.generated or task.ending):
        return 0
    state, reason = _end(task, counts["finished"])
    child = await merging.child_of(conn, task)
    if child is not None:
        if task.state in _AT_WORK and counts["finished"]:
            await move(conn, task_id, TaskState.MERGING, ACTOR, f"{reason}; task {child.id} merges what they made")
            await wake(conn, "generate")
            return 1
        if (merged := merging.ending(state, child)) is None and counts["finished"]:
            return 0
        state, reason = merged or (state, reason)
    await move(conn, task_id, state, ACTOR, reason)
    if child is not None and child.state not in TASK_FINAL:  # there is nothing to merge
        await move(conn, child.id or 0, TaskState.ABORTED, ACTOR, f"task {task_id} made nothing")
    if state == TaskState.DONE and task.parent_id is None:
        await _close(conn, task_id, task.output_id)
    return 1


_AT_WORK = (TaskState.READY, TaskState.RUNNING)


def _end(task: Task, finished: int) -> tuple[TaskState, str]:
    """How a task ends by its own jobs."""
    if finished == task.numbers and task.generated:
        return TaskState.DONE, f"all {task.numbers} jobs finished"
    if not finished:
        return TaskState.FAILED, f"none of {task.numbers} jobs finished"
    if not task.generated:
        return TaskState.FINISHED, f"{finished} of {task.numbers} jobs finished, and it was ended before it made all"
    return (
        TaskState.FINISHED,
        f"{finished} of {task.numbers} jobs finished, the others failed for good or were cancelled",
    )


async def _close(conn: Connection, task_id: int, output_id: int) -> None:
    """Close what a task completed: its outputs, and the sub-datasets that gathered them."""
    rows = await conn.fetch(
        """
        WITH filled AS (SELECT dataset_id AS id FROM task_output WHERE task_id = $1 UNION SELECT $2)
        SELECT id FROM filled
        UNION
        SELECT s.id FROM filled JOIN dataset d USING (id) CROSS JOIN storage at
        JOIN dataset s ON s.scope = d.scope AND s.kind = 'sub' AND s.latest
         AND s.name = d.name || '_sub.' || at.name || CASE WHEN d.version > 1 THEN '_v' || d.version ELSE '' END
        ORDER BY id
        """,
        task_id,
        output_id,
    )
    for row in rows:
        await datasets.close(conn, row["id"])


async def fold(conn: Connection) -> int:
    """Add what moved to the sums; readers see the same numbers at any moment. Returns 0 when that was all."""
    if not await conn.fetchval("SELECT pg_try_advisory_xact_lock(hashtext('prodchain fold'))"):
        return 0
    found = await one(
        conn,
        """
        WITH moved AS (
            DELETE FROM job_move WHERE id IN (SELECT id FROM job_move ORDER BY id LIMIT $1) RETURNING *
        ), change AS (
            SELECT task_id, queue_id, share_id, state, jobs, cores, events FROM moved
            UNION ALL
            SELECT task_id, old_queue_id, old_share_id, before, -jobs, -old_cores, -old_events FROM moved
            WHERE before IS NOT NULL
        ), used AS (
            INSERT INTO work_sum AS s (day, owner, group_name, share_id, queue_id, state, jobs, core_s)
            SELECT m.day, t.owner, t.group_name, m.share_id, m.queue_id, m.state, sum(m.jobs), sum(m.core_s)
            FROM moved m JOIN task t ON t.id = m.task_id WHERE m.core_s IS NOT NULL
            GROUP BY m.day, t.owner, t.group_name, m.share_id, m.queue_id, m.state
            ON CONFLICT (day, owner, group_name, share_id, queue_id, state) DO UPDATE SET
                jobs = s.jobs + excluded.jobs, core_s = s.core_s + excluded.core_s
        ), added AS (
            INSERT INTO job_sum AS s (task_id, queue_id, share_id, state, jobs, cores, events)
            SELECT task_id, queue_id, share_id, state, sum(jobs), sum(cores), sum(events) FROM change
            GROUP BY task_id, queue_id, share_id, state
            ON CONFLICT (task_id, state, queue_id, share_id) DO UPDATE SET
                jobs = s.jobs + excluded.jobs, cores = s.cores + excluded.cores, events = s.events + excluded.events
            RETURNING id, (jobs, cores, events) = (0, 0, 0) AS empty
        )
        SELECT (SELECT count(*) FROM moved) AS moved, array_agg(id) FILTER (WHERE empty) AS empty FROM added
        """,
        FOLD_ROWS,
    )
    await conn.execute("DELETE FROM job_sum WHERE id = ANY($1)", found["empty"])
    moved: int = found["moved"]
    return moved // FOLD_ROWS
