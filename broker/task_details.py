"""What the page of a task shows beside its view: what was learnt and ordered, its data, its decisions, its pace."""

from datetime import datetime

from . import merging, tasks
from .asks import ask_of
from .database import Connection
from .models import USING_SLOTS, Task
from .states import JOB_FINAL, TASK_FINAL, TaskState
from .task_views import View

DATASETS = 20
DECISIONS = 5
NEWEST = 5000
"""Changes of the task that are looked at for its pace."""
ENDS = 200

_DATASETS = """
SELECT x.role, d.scope || ':' || d.name || CASE WHEN d.latest THEN '' ELSE '@' || d.version END AS did,
       d.state, d.files, d.events, d.bytes
FROM {table} x JOIN dataset d ON d.id = x.dataset_id WHERE x.task_id = $1 ORDER BY x.role, d.id LIMIT $2
"""
_COUNTS = f"""
SELECT state, sum(jobs)::bigint AS jobs, sum(cores) FILTER (WHERE state IN {USING_SLOTS})::int AS cores
FROM job_count WHERE task_id = $1 GROUP BY state HAVING sum(jobs) <> 0 ORDER BY state
"""  # noqa: S608
_SCOUTS = """
SELECT at, reason FROM event WHERE task_id = $1 AND job_id IS NULL AND actor = 'scouting' ORDER BY id DESC LIMIT 1
"""
_DECISIONS = """
SELECT a.at, a.until, q.name AS queue, a.jobs, a.reason FROM assignment a LEFT JOIN queue q ON q.id = a.queue_id
WHERE a.task_id = $1 ORDER BY a.id DESC LIMIT $2
"""
_ENDS = """
SELECT count(*)::int AS jobs, min(at) AS first, max(at) AS last FROM (
    SELECT at FROM newest_events($1, $2)
    WHERE state = 'finished' AND job_id IS NOT NULL ORDER BY id DESC LIMIT $3) ends
"""


async def details(conn: Connection, task_id: int) -> View:
    task = await tasks.get(conn, task_id)
    counts = await conn.fetch(_COUNTS, task_id)
    scouts = await conn.fetchrow(_SCOUTS, task_id)
    orders = await conn.fetch("SELECT verb, after, actor FROM open_order WHERE task_id = $1", task_id)
    ends = await conn.fetchrow(_ENDS, task_id, NEWEST, ENDS)
    assert ends is not None
    return {
        "throttled": task.throttled,
        "ending": task.ending,
        "orders": [dict(row) for row in orders],
        "group": task.group_name,
        "activity": task.activity,
        "share": await conn.fetchval("SELECT name FROM share WHERE id = $1", task.share_id),
        "cores": sum(row["cores"] or 0 for row in counts),
        "sizes": sizes(task),
        "scouts": None if scouts is None else dict(scouts),
        "inputs": [dict(row) for row in await conn.fetch(_DATASETS.format(table="task_input"), task_id, DATASETS)],
        "outputs": [dict(row) for row in await conn.fetch(_DATASETS.format(table="task_output"), task_id, DATASETS)],
        "parent": task.parent_id,
        "merging": await _child(conn, task),
        "decisions": [dict(row) for row in await conn.fetch(_DECISIONS, task_id, DECISIONS)],
        "pace": {
            "ends": ends["jobs"],
            "first": ends["first"],
            "last": ends["last"],
        },
    }


async def _child(conn: Connection, task: Task) -> View | None:
    child = await merging.child_of(conn, task)
    if child is None:
        return None
    counts = await conn.fetch(_COUNTS, child.id)
    return {
        "id": child.id,
        "state": child.state,
        "reason": child.reason,
        "jobs": {row["state"]: row["jobs"] for row in counts},
    }


def sizes(task: Task) -> list[View]:
    """What is asked for otherwise than it was submitted: by the scouts, by people, and what holds now."""
    now = ask_of(task).model_dump()
    return [
        {
            "name": name,
            "submitted": task.request.get(name),
            "scouts": task.sizing.get(name),
            "ordered": task.changes.get(name),
            "now": now.get(name),
        }
        for name in sorted({*task.sizing, *task.changes})
    ]


def expected_end(task: View, details: View) -> datetime | None:
    """When it will be over if its jobs go on ending as they did of late; none where nothing tells.

    Work that has no jobs yet counts by its events, as much as the jobs had that finished.
    """
    pace, jobs = details["pace"], task["jobs"]
    if task["state"] in (*TASK_FINAL, TaskState.PAUSED, TaskState.EXHAUSTED) or details["throttled"]:
        return None
    if pace["ends"] < 2 or pace["last"] <= pace["first"]:
        return None
    first, last = pace["first"], pace["last"]
    end: datetime = last + _left(task, jobs) * (last - first) / (pace["ends"] - 1)
    return end


def _left(task: View, jobs: dict[str, int]) -> float:
    """Jobs that have to end yet."""
    open_jobs = sum(number for state, number in jobs.items() if state not in JOB_FINAL)
    finished = jobs.get("finished", 0)
    if task["generated"] or not finished or not task["events_done"]:
        return float(open_jobs)
    left: float = (task["events_total"] - task["events_done"]) * finished / task["events_done"]
    return max(float(open_jobs), left)
