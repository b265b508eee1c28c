"""Leases: a pilot's hold on its job, kept by its reports; a silent pilot loses it."""

from .database import Connection, Pool
from .jobs import fail
from .models import Job

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


async def reclaim(conn: Connection) -> int:
    """Fail the jobs whose pilots were not heard of within the lease; their work gets a new attempt."""
    rows = await conn.fetch(
        """
        SELECT j.*, l.until FROM job j JOIN lease l ON l.job_id = j.id
        WHERE l.until < now()
          AND EXISTS (SELECT FROM agent WHERE name = $1 AND seen_at > now() - make_interval(secs => $2))
        ORDER BY j.id LIMIT 500 FOR UPDATE OF j, l SKIP LOCKED
        """,
        SERVER,
        SERVER_SILENCE_S,
    )
    for row in rows:
        job = Job.model_validate(dict(row))
        await fail(
            conn, job, ACTOR, f"lost heartbeat: pilot {job.pilot} was silent until {row['until']:%H:%M:%S} UTC"
        )
    return len(rows)
