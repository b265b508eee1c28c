"""How queues do, as pages show it: what the broker holds against them, their latest runs, what comes next."""

from .database import Connection
from .health import Limits
from .models import Health, QueueStatus
from .task_views import View

ENDS = Limits().newest
ORDERS = 3

_QUEUES = """
SELECT q.name AS queue, q.site, coalesce(h.ordered, q.status) AS status, h.ordered,
       coalesce(h.health, 'good') AS health, coalesce(h.reason, '') AS reason, coalesce(h.strikes, 0) AS strikes,
       h.since, h.next_at, h.canary, t.state AS canary_state, e.runs, e.failed, e.last_end
FROM queue q LEFT JOIN queue_health h ON h.queue_id = q.id LEFT JOIN task t ON t.id = h.canary
CROSS JOIN LATERAL (
    SELECT count(*)::int AS runs, count(*) FILTER (WHERE failed)::int AS failed, max(at) AS last_end
    FROM (SELECT at, failed FROM run_end WHERE queue_id = q.id ORDER BY id DESC LIMIT $2) newest) e
WHERE $1::text IS NULL OR q.site = $1 ORDER BY q.name LIMIT 1000
"""
_ENDS = """
SELECT q.name AS queue, e.job_id AS job, e.at, e.failed, e.error FROM queue q CROSS JOIN LATERAL (
    SELECT id, job_id, at, failed, error FROM run_end WHERE queue_id = q.id ORDER BY id DESC LIMIT $2) e
WHERE q.site = $1 ORDER BY q.name, e.id
"""
_ORDERS = """
SELECT q.name AS queue, o.at, o.actor, o.verb, o.reason FROM queue q CROSS JOIN LATERAL (
    SELECT id, at, actor, verb, reason FROM journal WHERE object = 'queue ' || q.name ORDER BY id DESC LIMIT $2) o
WHERE q.site = $1 ORDER BY q.name, o.id DESC
"""


async def health(conn: Connection, site: str | None = None) -> View:
    """Of each queue, or those of a site; ``runs`` are its latest, as many as its health is judged by."""
    return {"items": [dict(row) for row in await conn.fetch(_QUEUES, site, ENDS)]}


async def troubled(conn: Connection) -> list[View]:
    """The queues that get no ordinary jobs now."""
    items = (await health(conn))["items"]
    return [item for item in items if item["status"] != QueueStatus.ONLINE or item["health"] != Health.GOOD]


async def whole_health(conn: Connection, site: str) -> View:
    """Of a site's queues, with each of their latest runs, the oldest first, and what was ordered of them."""
    ends, orders = await conn.fetch(_ENDS, site, ENDS), await conn.fetch(_ORDERS, site, ORDERS)
    items = (await health(conn, site))["items"]
    for item in items:
        item["ends"] = [dict(row) for row in ends if row["queue"] == item["queue"]]
        item["orders"] = [dict(row) for row in orders if row["queue"] == item["queue"]]
    return {"items": items}
