"""The first page of the monitor, and whether the broker's agents live."""

from .database import Connection
from .error_views import errors
from .queue_views import troubled
from .site_views import jobs_by_site, pilots
from .task_views import View, current_tasks
from .transfer_views import transfer_summary

ERRORS = 10


async def overview(conn: Connection) -> View:
    seen, _ = await pilots(conn, limit=200)
    return {
        "tasks": await current_tasks(conn),
        "jobs_by_site": await jobs_by_site(conn),
        "pilots": [pilot for pilot in seen if pilot["alive"]],
        "transfers": await transfer_summary(conn),
        "errors": (await errors(conn))["items"][:ERRORS],
        "queues": await troubled(conn),
        "agents_seen_s": await agents_seen_s(conn),
    }


async def agents_seen_s(conn: Connection) -> float | None:
    """Seconds since the agents' last sign of life; none if there never was one."""
    seen: float | None = await conn.fetchval(
        "SELECT extract(epoch FROM now() - max(seen_at))::float8 FROM agent WHERE name <> 'server'"
    )
    return seen
