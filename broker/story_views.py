"""Stories as pages show them: what happened to a task or job, and what people ordered, together."""

from operator import itemgetter
from typing import Any

from . import journal
from .database import Connection
from .errors import unknown
from .task_views import View

NEWEST = 200
ORDERS = 50

_OF_TASK = """
SELECT at, state, before, actor, reason FROM event WHERE task_id = $1 AND job_id IS NULL ORDER BY id DESC LIMIT $2
"""
_OF_JOB = "SELECT at, state, before, actor, reason FROM events_of($1) ORDER BY id DESC LIMIT $2"


async def of_task(conn: Connection, task_id: int) -> View:
    """The newest of the task's own events and of the orders for it, in order; its jobs have stories of their own."""
    if not await conn.fetchval("SELECT EXISTS (SELECT FROM task WHERE id = $1)", task_id):
        raise unknown("task", task_id)
    return await _story(conn, _OF_TASK, task_id, f"task {task_id}")


async def of_job(conn: Connection, job_id: int) -> View:
    if not await conn.fetchval("SELECT EXISTS (SELECT FROM job WHERE id = $1)", job_id):
        raise unknown("job", job_id)
    return await _story(conn, _OF_JOB, job_id, f"job {job_id}")


async def _story(conn: Connection, statement: str, key: int, about: str) -> View:
    """Each item is a change of state or an order (``verb``); ``cut`` says that there is more before them."""
    rows = await conn.fetch(statement, key, NEWEST + 1)
    orders, more = await journal.entries(conn, object=about, limit=ORDERS)
    items = [dict(row) | {"verb": "", "changes": {}, "jobs": {}} for row in reversed(rows[:NEWEST])]
    items += [_ordered(order) for order in reversed(orders)]
    return {
        "items": sorted(items, key=itemgetter("at")),  # an order is entered as of the begin of what it does
        "cut": len(rows) > NEWEST or more is not None,
    }


def _ordered(order: View) -> dict[str, Any]:
    return {
        "at": order["at"],
        "state": "",
        "before": None,
        "actor": order["actor"],
        "reason": order["reason"],
        "verb": order["verb"],
        "changes": order["detail"].get("changes", {}),
        "jobs": order["detail"].get("jobs", {}),
    }
