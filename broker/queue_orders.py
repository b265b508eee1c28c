"""What operators order of queues: drained, taken offline, brought back. Their word wins over the sites file's."""

from . import journal
from .database import Connection, wake
from .journal import Outcome
from .models import Health, QueueStatus
from .namesakes import no_such
from .orders import words
from .states import AT_QUEUE, ON_PILOT


async def order(conn: Connection, name: str, status: QueueStatus, actor: str, reason: str = "") -> Outcome:
    """Let a queue get jobs or none; ``online`` also forgets what the broker held against it."""
    queue = await conn.fetchrow(
        """
        SELECT q.id, q.status AS declared, h.ordered, coalesce(h.health, 'good') AS health,
               coalesce(h.reason, '') AS reason
        FROM queue q LEFT JOIN queue_health h ON h.queue_id = q.id WHERE q.name = $1 FOR NO KEY UPDATE OF q
        """,
        name,
    )
    if queue is None:
        raise await no_such(conn, "queue", name)
    health = Health.GOOD if status is QueueStatus.ONLINE else Health(queue["health"])
    before = queue["ordered"] or queue["declared"]
    changes = {
        field: [old, new]
        for field, old, new in (("status", before, status), ("health", queue["health"], health))
        if old != new
    }
    if not changes:
        return Outcome(status, f"queue {name}", note=f"the status of queue {name} is {status} already")
    # Where the file says the same there is no word to keep: what the file says later holds.
    ordered = None if status == queue["declared"] else status
    await conn.execute(
        """
        INSERT INTO queue_health AS h (queue_id, ordered, health, reason) VALUES ($1, $2, $3, $4)
        ON CONFLICT (queue_id) DO UPDATE SET ordered = $2, health = $3, since = now(),
            reason = CASE WHEN $3 = 'good' THEN $4 ELSE h.reason END,
            strikes = CASE WHEN $3 = 'good' THEN 0 ELSE h.strikes END,
            canary = CASE WHEN $3 = 'good' THEN NULL ELSE h.canary END,
            next_at = CASE WHEN $3 = 'good' THEN NULL ELSE h.next_at END
        """,
        queue["id"],
        ordered,
        health,
        words(f"{status}, ordered", actor, reason),
    )
    await wake(conn, "place")
    jobs = await _jobs(conn, queue["id"]) if "status" in changes else {}
    note = "" if status is QueueStatus.ONLINE else "jobs with pilots run on"
    return await journal.enter(conn, Outcome(status, f"queue {name}", changes, jobs, note), actor, reason)


async def _jobs(conn: Connection, queue_id: int) -> dict[str, int]:
    rows = await conn.fetch(
        """
        SELECT state, sum(jobs)::int AS jobs FROM job_count WHERE queue_id = $1 AND state = ANY($2)
          AND state IN ('assigned', 'activated', 'sent', 'starting', 'running', 'holding')
        GROUP BY state HAVING sum(jobs) > 0 ORDER BY state
        """,
        queue_id,
        [*AT_QUEUE, *ON_PILOT],
    )
    return {row["state"]: row["jobs"] for row in rows}
