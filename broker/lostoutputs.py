"""Outputs that are lost on their way to their destination: their jobs fail, and the work is done again."""

from collections.abc import Sequence

from prodchain.catalog import files, holds, purging

from . import failing, jobs
from .database import Connection
from .states import JobState

ACTOR = "catalog"

_WAITING = """
SELECT DISTINCT j.id, f.scope || ':' || f.name AS file
FROM hold_file w JOIN hold h ON h.id = w.hold_id AND h.holder LIKE 'deliver:%'
JOIN job j ON j.id = split_part(h.holder, ':', 2)::bigint JOIN file f ON f.id = w.file_id
WHERE w.file_id = ANY($1::bigint[]) AND j.state = 'transferring' ORDER BY j.id
"""
# All that the job made, as it is made again under other names: in the task's dataset, and in what gathered it.
_MADE = """
SELECT m.dataset_id, m.file_id
FROM job j JOIN task_output t ON t.task_id = j.task_id JOIN dataset d ON d.id = t.dataset_id
CROSS JOIN json_array_elements(j.spec -> 'outputs') AS o
JOIN file f ON f.scope = d.scope AND f.name = o ->> 'lfn'
JOIN dataset_file m ON m.file_id = f.id JOIN dataset each ON each.id = m.dataset_id
WHERE j.id = $1 AND each.state = 'open'
  AND (each.id = d.id OR each.kind = 'sub' AND each.scope = d.scope AND starts_with(each.name, d.name || '_sub.'))
ORDER BY m.dataset_id, m.file_id
"""
_LOCK = "SELECT FROM dataset WHERE id = ANY($1::bigint[]) ORDER BY id FOR NO KEY UPDATE"
_FAIL = """
UPDATE job SET state = 'failed', actor = $2, reason = $3, error = $3, changed_at = now()
WHERE id = $1 AND state = 'transferring'
"""


async def lost(conn: Connection, file_ids: Sequence[int], why: str) -> None:
    """The last copies of these files are gone: jobs that wait for their delivery would wait for ever."""
    waiting = {row["id"]: row["file"] for row in await conn.fetch(_WAITING, file_ids)}
    locked = await jobs.lock(conn, list(waiting))
    for job_id, job in sorted(locked.items()):
        if job.state == JobState.TRANSFERRING:
            await holds.drop(conn, [jobs.deliver_holder(job_id)])
            await _take_out(conn, job_id)
            reason = f"its output {waiting[job_id]} is lost before it was at its destination: {why}"
            await conn.execute(_FAIL, job_id, ACTOR, reason)
            await failing.fail(
                conn, job, ACTOR, reason
            )  # it has ended: this defines the next attempt, if there is one


async def _take_out(conn: Connection, job_id: int) -> None:
    """What it made leaves the datasets that it was made for, or its events would be in them twice."""
    made = await conn.fetch(_MADE, job_id)
    datasets, members = sorted({row["dataset_id"] for row in made}), sorted({row["file_id"] for row in made})
    await files.lock(conn, members)
    await conn.execute(_LOCK, datasets)
    await purging.leave(conn, datasets, members)
