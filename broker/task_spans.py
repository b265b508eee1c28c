"""Who did what when: the latest jobs of a task with the copies that they waited for, for a chart of both."""

from collections.abc import Mapping, Sequence
from typing import Any

from .database import Connection
from .states import JOB_FINAL
from .task_views import View

NEWEST = 2000
"""Changes of the task that are looked at."""
RAN, WAITED = 20, 10
"""Jobs that are drawn: those that ran, and those that wait for their inputs."""
INPUTS = 5
"""Copies that are drawn of each job."""

_LATEST = """
SELECT job_id FROM newest_events($1, $2) WHERE job_id IS NOT NULL AND state = ANY($3)
GROUP BY job_id ORDER BY max(id) DESC, job_id DESC LIMIT $4
"""
_JOBS = """
SELECT j.id AS job, j.number, j.attempt, j.state, q.name AS queue
FROM job j LEFT JOIN queue q ON q.id = j.queue_id WHERE j.id = ANY($1) ORDER BY j.id
"""
_STEPS = """
SELECT e.job_id, e.at, e.state FROM unnest($1::bigint[]) AS job CROSS JOIN LATERAL events_of(job) e ORDER BY job, e.id
"""
# What was copied before the job was made was not copied for it.
_COPIES = """
SELECT j.id AS job_id, x.started_at, x.done_at, f.name, s.name AS source, d.name AS destination
FROM job j JOIN queue q ON q.id = j.queue_id JOIN storage d ON d.id = q.storage_id
CROSS JOIN LATERAL (
    SELECT x.* FROM job_input i JOIN transfer x ON x.file_id = i.file_id AND x.storage_id = q.storage_id
    WHERE i.job_id = j.id AND x.started_at IS NOT NULL AND coalesce(x.done_at, 'infinity') >= j.created_at
    ORDER BY i.file_id LIMIT $2) x
JOIN file f ON f.id = x.file_id LEFT JOIN storage s ON s.id = x.source_id
WHERE j.id = ANY($1) ORDER BY j.id, x.started_at
"""
_RUNS = ("sent", "starting", "running", "holding", "transferring")


async def spans(conn: Connection, task_id: int) -> View:
    """Jobs with their spans: ``copy`` of an input, or the state that it was in; what goes on has no end."""
    ran = await conn.fetch(_LATEST, task_id, NEWEST, [*_RUNS, "finished", "failed"], RAN)
    waited = await conn.fetch(_LATEST, task_id, NEWEST, ["assigned"], WAITED)
    ids = sorted({row["job_id"] for row in (*ran, *waited)})
    steps = await conn.fetch(_STEPS, ids)
    copies = await conn.fetch(_COPIES, ids, INPUTS)
    return {
        "items": [
            dict(row)
            | {
                "spans": [
                    *(_copy(copy) for copy in copies if copy["job_id"] == row["job"]),
                    *_states([step for step in steps if step["job_id"] == row["job"]]),
                ]
            }
            for row in await conn.fetch(_JOBS, ids)
        ]
    }


def _copy(row: Mapping[str, Any]) -> View:
    words = f"{row['name']} from {row['source'] or 'somewhere'} to {row['destination']}"
    return {"what": "copy", "from": row["started_at"], "until": row["done_at"], "words": words}


def _states(steps: Sequence[Mapping[str, Any]]) -> list[View]:
    """Each state that lasted, but for those before the job was given to a queue."""
    return [
        {"what": step["state"], "from": step["at"], "until": following["at"] if following else None, "words": ""}
        for step, following in zip(steps, [*steps[1:], None], strict=True)
        if step["state"] not in ("defined", *JOB_FINAL)
    ]
