"""The runs of one piece of work: what each was given, how it ended, and why there was another."""

from .database import Connection
from .errors import unknown
from .task_views import View

MOST = 50

_ATTEMPTS = """
SELECT j.id AS job, j.attempt, j.state, q.name AS queue, q.site, j.exit_code, j.error, j.spared,
       j.created_at, j.started_at, j.changed_at, r.memory_mb, r.walltime_s,
       (SELECT e.reason FROM events_of(j.id) e ORDER BY e.id LIMIT 1) AS reason
FROM job o JOIN job j ON (j.task_id, j.number) = (o.task_id, o.number)
JOIN requirement r ON r.id = j.requirement_id LEFT JOIN queue q ON q.id = j.queue_id
WHERE o.id = $1 ORDER BY j.attempt DESC LIMIT $2
"""


async def attempts(conn: Connection, job_id: int) -> View:
    """All runs of the piece of work that the job is one of, the newest first; ``reason``: why the run was made."""
    rows = await conn.fetch(_ATTEMPTS, job_id, MOST)
    if not rows:
        raise unknown("job", job_id)
    return {"items": [dict(row) for row in rows]}
