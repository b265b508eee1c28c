"""Leases: a pilot's hold on its job, kept by its reports; a silent pilot loses it."""

from .database import Connection, Pool
from .failing import fail
from .jobs import lock

ACTOR = "watch"
SERVER = "server"
SERVER_SILENCE_S = 5.0


async def server_starts(conn: Connection, lease_s: float) -> None:
    """Give all pilots time to find the server again: while none was there, they could not report."""
    await conn.execute(
        "UPDATE lease SET until = greatest(until, now() + make_interval(secs => $1)) WHERE true", lease_s
    )
    await server_lives(conn)


async def server_lives(conn: "Connection | Pool") -> None:
    """A server's sign of life: without one, the silence of pilots means nothing."""
    await conn.execute(
        "INSERT INTO agent (name) VALUES ($1) ON CONFLICT (name) DO UPDATE SET seen_at = now()", SERVER
    )


async def extend(conn: Connection, job_id: int, lease_s: float) -> None:
    await conn.execute(
        "UPDATE lease SET until = now() + make_interval(secs => $2) WHERE job_id = $1", job_id, lease_s
    )


async def expired(conn: Connection) -> list[int]:
    """Jobs whose pilots were not heard of within the lease, while a server could have heard them."""
    rows = await conn.fetch(
        """
        SELECT job_id FROM lease
        WHERE until < now()
          AND EXISTS (SELECT FROM agent WHERE name = $1 AND seen_at > now() - make_interval(secs => $2))
        ORDER BY job_id LIMIT 500
        """,
        SERVER,
        SERVER_SILENCE_S,
    )
    return [row["job_id"] for row in rows]


async def reclaim(conn: Connection, job_id: int) -> int:
    """Fail a job whose pilot is silent, unless it has called meanwhile; its work gets a new attempt."""
    job = (await lock(conn, [job_id]))[job_id]
    until = await conn.fetchval("SELECT until FROM lease WHERE job_id = $1 AND until < now()", job_id)
    if until is None:
        return 0
    await fail(conn, job, ACTOR, f"lost heartbeat: pilot {job.pilot} was silent until {until:%H:%M:%S} UTC")
    return 1
