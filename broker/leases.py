"""Leases: a pilot's hold on its job, kept by its reports; a silent pilot loses it."""

from collections import defaultdict
from collections.abc import Sequence

from .database import Connection, Pool
from .failing import fail_all
from .jobs import lock
from .models import Job

ACTOR = "watch"
SERVER = "server"
SERVER_SILENCE_S = 5.0
BUNCH = 200
"""Runs reclaimed in one transaction."""
KEPT = 0.9
"""A lease that has more than this part left is not touched: it was just given, or just kept."""

KEEP = f"""
    WITH due AS MATERIALIZED (
        SELECT ctid AS at FROM lease
        WHERE job_id = ANY($1::bigint[]) AND until < now() + make_interval(secs => $2 * {KEPT})
        FOR UPDATE SKIP LOCKED
    ), kept AS (
        UPDATE lease l SET until = now() + make_interval(secs => $2) FROM due WHERE l.ctid = due.at
    )
    SELECT job FROM (SELECT unnest($1) EXCEPT SELECT job_id FROM lease WHERE job_id = ANY($1)) AS gone (job)
    WHERE (SELECT count(*) FROM lease WHERE job_id = ANY($1)) < cardinality($1)
"""  # noqa: S608
"""What somebody else has locked ends just now, or is just being kept. A lease is found once and renewed where it was
found; which ones are gone is looked for only where the count says that some are."""


async def server_starts(conn: Connection, lease_s: float) -> None:
    """Give all pilots time to find the server again: while none was there, they could not report.

    Where another server is at work, it locks leases in the same order (reports.PROGRESS), or waits for none (KEEP).
    """
    await conn.execute(
        """
        UPDATE lease SET until = greatest(until, now() + make_interval(secs => $1))
        WHERE job_id IN (SELECT job_id FROM lease ORDER BY job_id FOR UPDATE)
        """,
        lease_s,
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


async def keep(conn: Connection, jobs: Sequence[int], lease_s: float) -> set[int]:
    """Renew leases of which less than most is left; the jobs that have none, as they are over."""
    return {row["job"] for row in await conn.fetch(KEEP, jobs, lease_s)}


async def reclaim(conn: Connection) -> int:
    """Fail the runs whose pilots were not heard of within the lease, while a server could have heard them.

    A bunch of those that are due in one transaction of the caller; their work gets another run. Returns their number.
    """
    due = await conn.fetch(
        """
        SELECT job_id FROM lease
        WHERE until < now()
          AND EXISTS (SELECT FROM agent WHERE name = $1 AND seen_at > now() - make_interval(secs => $2))
        ORDER BY until LIMIT $3
        """,
        SERVER,
        SERVER_SILENCE_S,
        BUNCH,
    )
    locked = await lock(conn, [row["job_id"] for row in due])
    # A pilot may have called while its job was being locked.
    still = await conn.fetch("SELECT job_id, until FROM lease WHERE job_id = ANY($1) AND until < now()", list(locked))
    alike: dict[str, list[Job]] = defaultdict(list)
    for row in still:
        job = locked[row["job_id"]]
        alike[f"lost heartbeat: pilot {job.pilot} was silent until {row['until']:%H:%M:%S} UTC"].append(job)
    for reason, jobs in alike.items():
        await fail_all(conn, jobs, ACTOR, reason)
    return len(still)
