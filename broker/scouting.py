"""Scouts: a task's first jobs are measured before the others are made."""

from .asks import ask_of
from .database import Connection, wake
from .models import Task
from .sizing import Measured, enough, size
from .states import TaskState
from .tasks import move

ACTOR = "scouting"

_MEASURED = """
SELECT events, jsonb_array_length(work -> 'files') AS files, metrics FROM job
WHERE task_id = $1 AND state = 'finished' ORDER BY id LIMIT 1000
"""
_ERROR = """
SELECT error, count(*) AS jobs FROM job WHERE task_id = $1 AND error <> ''
GROUP BY error ORDER BY count(*) DESC, error LIMIT 1
"""


async def conclude(conn: Connection, task: Task, finished: int) -> None:
    """All scouts are over: size the other jobs by them, or give up if too few finished. The caller holds the task."""
    assert task.id is not None
    if not enough(finished, task.numbers):
        await move(conn, task.id, TaskState.EXHAUSTED, ACTOR, await _given_up(conn, task, finished))
        return
    rows = await conn.fetch(_MEASURED, task.id)
    sizing = size(ask_of(task), [_measured(row["metrics"], row["events"], row["files"]) for row in rows])
    await conn.execute("UPDATE task SET sizing = $2 WHERE id = $1", task.id, sizing.fields)
    await move(conn, task.id, TaskState.RUNNING, ACTOR, sizing.reason)
    await wake(conn, "generate", "close")


def _measured(metrics: dict[str, float], events: int, files: int) -> Measured:
    names = ("wall_s", "cpu_s", "max_rss_mb", "scratch_mb")
    return Measured(**{name: float(metrics.get(name, 0)) for name in names}, events=events, files=files)


async def _given_up(conn: Connection, task: Task, finished: int) -> str:
    words = f"{finished} of {task.numbers} scouts finished, too few to tell what the other jobs need"
    worst = await conn.fetchrow(_ERROR, task.id)
    return words if worst is None else f"{words}; most often: {worst['error']}"
