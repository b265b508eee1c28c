"""What the broker does when the catalog's facts change, inside the transaction that changes them."""

from collections.abc import Mapping, Sequence

from prodchain.catalog import holds, hooks

from . import lostoutputs
from .database import Connection, wake
from .jobs import deliver_holder, lock, release_holder
from .states import ON_PILOT, TASK_FINAL, JobState


async def release(conn: Connection, holders: Sequence[str]) -> None:
    """All files of these holds are in place: such jobs are activated, or finish if it was their outputs."""
    await conn.execute(
        """
        UPDATE job SET state = 'activated', actor = 'catalog', reason = 'all inputs are in place', changed_at = now()
        WHERE id = ANY($1) AND state = 'assigned'
        """,
        _jobs(holders, "release:"),
    )
    delivered = _jobs(holders, "deliver:")
    await conn.execute(
        """
        UPDATE job SET state = 'finished', actor = 'catalog', reason = 'all outputs are at their destination',
               changed_at = now()
        WHERE id = ANY($1) AND state = 'transferring'
        """,
        delivered,
    )
    await holds.drop(conn, [deliver_holder(job) for job in delivered])


async def consume(conn: Connection, grown: Mapping[int, Sequence[int]]) -> None:
    """The datasets grew or closed: tasks that read them have new work, or know that there will be no more.

    Only adds rows: a report that makes a dataset grow never waits for the tasks that read it, nor they for it.
    """
    await conn.execute(
        """
        WITH work AS (
            INSERT INTO task_file (task_id, file_id, dataset_id)
            SELECT t.id, new.file_id, new.dataset_id
            FROM unnest($1::bigint[], $2::bigint[]) AS new (dataset_id, file_id)
            JOIN task_input i ON i.dataset_id = new.dataset_id AND i.role = '' JOIN task t ON t.id = i.task_id
            WHERE NOT t.generated ORDER BY t.id, new.file_id ON CONFLICT DO NOTHING
        )
        SELECT pg_notify('prodchain_work', 'generate')
        WHERE EXISTS (SELECT FROM task_input WHERE dataset_id = ANY($3))
        """,
        [dataset_id for dataset_id, file_ids in grown.items() for _ in file_ids],
        [file_id for file_ids in grown.values() for file_id in file_ids],
        list(grown),
    )


async def closed(conn: Connection, dataset_id: int) -> None:
    await consume(conn, {dataset_id: []})


_NEEDED = """
WITH part (id, task_id, how) AS (
    SELECT dataset_id, task_id, 'reads' FROM task_input WHERE dataset_id = ANY($1::bigint[])
    UNION SELECT input_id, id, 'reads' FROM task WHERE input_id = ANY($1::bigint[])
    UNION SELECT dataset_id, task_id, 'fills' FROM task_output WHERE dataset_id = ANY($1::bigint[])
    UNION SELECT output_id, id, 'fills' FROM task WHERE output_id = ANY($1::bigint[])
)
SELECT p.id, 'task ' || t.id || ' (' || t.state || '), which ' || p.how || ' it' AS who
FROM part p JOIN task t ON t.id = p.task_id WHERE t.state <> ALL($2)
UNION ALL
SELECT s.id, 'task ' || t.id || ' (' || t.state || '), which fills it'
FROM dataset s
JOIN dataset d ON d.scope = s.scope AND d.name = regexp_replace(s.name, '_sub[.][^.]+$', '')
JOIN task_output o ON o.dataset_id = d.id JOIN task t ON t.id = o.task_id
WHERE s.id = ANY($1::bigint[]) AND s.kind = 'sub' AND t.state <> ALL($2)
ORDER BY 1, 2
"""


async def needed(conn: Connection, dataset_ids: Sequence[int]) -> dict[int, list[str]]:
    """The tasks that read a dataset or fill it (or the one it is a part of) and are not over."""
    who: dict[int, list[str]] = {}
    for row in await conn.fetch(_NEEDED, dataset_ids, list(TASK_FINAL)):
        who.setdefault(row["id"], []).append(row["who"])
    return who


_READS = """
SELECT i.file_id, 'job ' || min(j.id) || ' reads it there' AS who
FROM job_input i JOIN job j ON j.id = i.job_id JOIN queue q ON q.id = j.queue_id
WHERE i.file_id = ANY($2::bigint[]) AND q.storage_id = $1 AND j.state = ANY($3) GROUP BY i.file_id
UNION ALL
SELECT m.file_id, 'there is where task ' || min(t.id) || ' puts it'
FROM dataset_file m JOIN dataset d ON d.id = m.dataset_id
JOIN task_output o ON o.dataset_id = d.id JOIN task t ON t.id = o.task_id
WHERE m.file_id = ANY($2::bigint[]) AND t.destination_id = $1 AND d.deleted_at IS NULL GROUP BY m.file_id
"""
_READERS = [JobState.ASSIGNED, JobState.ACTIVATED, *ON_PILOT]


async def reads(conn: Connection, storage_id: int, file_ids: Sequence[int]) -> dict[int, str]:
    """Copies that a job was sent to, and results at their destination."""
    rows = await conn.fetch(_READS, storage_id, file_ids, _READERS)
    return {row["file_id"]: row["who"] for row in rows}


_WAITS = """
SELECT 'release:' || j.id AS holder, i.file_id
FROM job_input i JOIN job j ON j.id = i.job_id JOIN queue q ON q.id = j.queue_id
WHERE i.file_id = ANY($2::bigint[]) AND q.storage_id = $1 AND j.state = 'assigned'
UNION ALL
SELECT h.holder, f.id
FROM file f JOIN dataset_file m ON m.file_id = f.id
JOIN hold h ON h.dataset_id = m.dataset_id AND h.storage_id = $1 AND h.holder LIKE 'deliver:%'
JOIN job j ON j.id = split_part(h.holder, ':', 2)::bigint
WHERE f.id = ANY($2::bigint[])
  AND (j.spec -> 'outputs')::jsonb @> jsonb_build_array(jsonb_build_object('lfn', f.name))
"""
_RELEASED = """
SELECT DISTINCT j.id FROM job_input i JOIN job j ON j.id = i.job_id JOIN queue q ON q.id = j.queue_id
WHERE i.file_id = ANY($2::bigint[]) AND q.storage_id = $1 AND j.state = 'activated'
"""


async def removed(conn: Connection, storage_id: int, file_ids: Sequence[int]) -> list[tuple[str, int]]:
    """Copies are gone: jobs that wait there for others wait for these again, released ones go back to the brokerage.

    A job that is with a pilot fails when it fetches its inputs, and its work gets a new attempt.
    """
    waits = [(row["holder"], row["file_id"]) for row in await conn.fetch(_WAITS, storage_id, file_ids)]
    released = [row["id"] for row in await conn.fetch(_RELEASED, storage_id, file_ids)]
    if released:
        jobs = await lock(conn, released)
        back = [job for job in jobs if jobs[job].state == JobState.ACTIVATED]
        await holds.drop(conn, [release_holder(job) for job in back])
        await conn.execute(
            """
            UPDATE job SET state = 'defined', queue_id = NULL, assignment_id = NULL, spec = '{}', actor = 'catalog',
                   reason = 'a copy of its input is gone: the brokerage decides anew', changed_at = now()
            WHERE id = ANY($1)
            """,
            back,
        )
        await wake(conn, "place")
    return waits


def _jobs(holders: Sequence[str], prefix: str) -> list[int]:
    return [int(holder.removeprefix(prefix)) for holder in holders if holder.startswith(prefix)]


def install() -> None:
    """Every process that writes to the catalog calls this before it does."""
    hooks.satisfied = release
    hooks.files_added = consume
    hooks.closed = closed
    hooks.needed = needed
    hooks.reads = reads
    hooks.removed = removed
    hooks.lost = lostoutputs.lost
