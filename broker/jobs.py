"""What happens to jobs whoever asks for it: definition, cancelling, failing with a new attempt."""

from collections.abc import Sequence
from typing import NamedTuple

from prodchain.catalog import holds

from .database import Connection, wake
from .errors import unknown
from .models import Job
from .splitting import Work
from .states import AT_QUEUE, ON_PILOT, WAITING, JobState
from .texts import array, lines

GARBAGE_AFTER_S = 900.0
"""When to delete what a lost run may have stored: a pilot that still runs has been told, or gave up, by then."""


def release_holder(job_id: int) -> str:
    """Holds the inputs of a job at its site."""
    return f"release:{job_id}"


def deliver_holder(job_id: int) -> str:
    """Holds the outputs of a job at their destination."""
    return f"deliver:{job_id}"


async def get(conn: Connection, job_id: int) -> Job:
    row = await conn.fetchrow("SELECT * FROM job WHERE id = $1", job_id)
    if row is None:
        raise unknown("job", job_id)
    return Job.model_validate(dict(row))


async def lock(conn: Connection, ids: Sequence[int], *, ends: bool = True) -> dict[int, Job]:
    """The jobs, kept to this transaction until it ends; ``ends`` for whoever may end them.

    What draws on a job comes before its row, for everybody: placement (unplaced), pilots (ready), arrivals (hold).
    """
    ids = sorted(ids)
    if ends:
        await lock_draws(conn, ids)
    rows = await conn.fetch("SELECT * FROM job WHERE id = ANY($1) ORDER BY id FOR UPDATE", ids)
    return {row["id"]: Job.model_validate(dict(row)) for row in rows}


_STATES = "SELECT id, state FROM job WHERE id = ANY($1) ORDER BY id FOR UPDATE"


async def lock_draws(conn: Connection, ids: Sequence[int]) -> set[tuple[str, int]]:
    """Lock what draws on the jobs; by the state in which it does, and job. Many come through here: no models."""
    placing = await conn.fetch("SELECT job_id FROM unplaced WHERE job_id = ANY($1) ORDER BY job_id FOR UPDATE", ids)
    asking = await conn.fetch("SELECT job_id FROM ready WHERE job_id = ANY($1) ORDER BY job_id FOR UPDATE", ids)
    held = set(await holds.lock(conn, [release_holder(job) for job in ids]))
    return {
        *((JobState.DEFINED.value, row["job_id"]) for row in placing),
        *((JobState.ACTIVATED.value, row["job_id"]) for row in asking),
        *((JobState.ASSIGNED.value, job) for job in ids if release_holder(job) in held),
    }


async def lock_waiting(conn: Connection, ids: Sequence[int]) -> dict[int, str]:
    """The same for jobs that may move between brokerage and queues meanwhile; their states as they are then.

    What began to draw on a job after it was looked for cannot be locked behind the job's row: the locks are given up,
    and taken again in their order.
    """
    ids = sorted(ids)
    while True:
        trial = conn.transaction()
        await trial.start()
        drawn = await lock_draws(conn, ids)
        states = {row["id"]: row["state"] for row in await conn.fetch(_STATES, ids)}
        if all(state not in WAITING or (state, job) in drawn for job, state in states.items()):
            await trial.commit()
            return states
        await trial.rollback()


class Kind(NamedTuple):
    """What jobs that are defined together have in common; their share is that of the task."""

    task: int
    requirement: int
    priority: int
    scout: bool = False
    avoid: tuple[int, ...] = ()
    spared: int = 0


async def define(conn: Connection, kind: Kind, works: Sequence[tuple[Work, int]], actor: str, reason: str) -> None:
    """Insert jobs for pieces of work, each with its attempt number."""
    reads = [(work.number, file) for work, _ in works if work.files or work.secondary for file in work.reads]
    await conn.execute(
        """
        WITH made AS (
            INSERT INTO job (task_id, number, attempt, priority, events, work, actor, reason,
                             share_id, requirement_id, scout, avoid, spared)
            SELECT $1, number, attempt, $2, new.events, work::jsonb, $3, $4, t.share_id, $9, $10, $11, $12
            FROM unnest($5::text::int[], $6::text::int[], $7::text::bigint[], string_to_array($8, E'\\n'))
                AS new (number, attempt, events, work)
            JOIN task t ON t.id = $1
            RETURNING id, number
        )
        INSERT INTO job_input (job_id, file_id)
        SELECT made.id, file FROM unnest($13::int[], $14::bigint[]) AS reads (number, file) JOIN made USING (number)
        """,
        kind.task,
        kind.priority,
        actor,
        reason,
        array(work.number for work, _ in works),
        array(attempt for _, attempt in works),
        array(work.events for work, _ in works),
        lines(work.text() for work, _ in works),
        kind.requirement,
        kind.scout,
        list(kind.avoid),
        kind.spared,
        [number for number, _ in reads],
        [file for _, file in reads],
    )


async def end(
    conn: Connection,
    ids: Sequence[int],
    state: JobState,
    actor: str,
    reason: str,
    exit_code: int | None = None,
    error: str | None = None,
) -> None:
    """Move jobs that have made nothing to a final state; free what they held, doom what they stored.

    The caller has locked them.
    """
    await holds.drop(conn, [release_holder(job) for job in ids])
    rows = await conn.fetch(
        """
        UPDATE job SET state = $2, actor = $3, reason = $4, exit_code = $5,
               error = coalesce($7, error), changed_at = now()
        WHERE id = ANY($1) AND state = ANY($6) RETURNING id
        """,
        list(ids),
        state,
        actor,
        reason,
        exit_code,
        [*WAITING, *ON_PILOT],
        error,
    )
    ended = [row["id"] for row in rows]
    await conn.execute("DELETE FROM lease WHERE job_id = ANY($1)", ended)
    await conn.execute(
        """
        INSERT INTO garbage (storage_id, scope, name, not_before)
        SELECT q.storage_id, d.scope, o ->> 'lfn', now() + make_interval(secs => $2)
        FROM job j JOIN queue q ON q.id = j.queue_id
        JOIN task t ON t.id = j.task_id JOIN dataset d ON d.id = t.output_id
        CROSS JOIN json_array_elements(j.spec -> 'outputs') AS o
        WHERE j.id = ANY($1) AND j.pilot IS NOT NULL
        """,
        ended,
        GARBAGE_AFTER_S,
    )


async def cancel(conn: Connection, ids: Sequence[int], actor: str, reason: str) -> None:
    """Cancel jobs that wait or are with pilots, who are told at their next call; what is made stays made."""
    await lock_waiting(conn, ids)
    await end(conn, ids, JobState.CANCELLED, actor, reason)


async def cancel_unplaced(conn: Connection, task_id: int, limit: int, actor: str, reason: str) -> int:
    """The same for jobs of the task that wait for brokerage, so many at most; their number."""
    rows = await conn.fetch("SELECT job_id FROM unplaced WHERE task_id = $1 ORDER BY job_id LIMIT $2", task_id, limit)
    await cancel(conn, [row["job_id"] for row in rows], actor, reason)
    return len(rows)


async def send_back(conn: Connection, ids: Sequence[int], actor: str, reason: str) -> int:
    """Return jobs that wait at queues to the brokerage and say how many; what pilots took stays with them."""
    locked = await lock_waiting(conn, ids)
    back = [job for job, state in locked.items() if state in AT_QUEUE]
    await holds.drop(conn, [release_holder(job) for job in back])
    await conn.execute(
        """
        UPDATE job SET state = 'defined', queue_id = NULL, assignment_id = NULL, spec = '{}', actor = $2, reason = $3,
               changed_at = now()
        WHERE id = ANY($1)
        """,
        back,
        actor,
        reason,
    )
    if back:
        await wake(conn, "place")
    return len(back)


async def reprioritise(conn: Connection, ids: Sequence[int], priority: int) -> None:
    """Give jobs another place in the order of their queue, at once for the next pilot.

    Those that pilots have keep it for the next run of their work, should they fail.
    """
    locked = await lock_waiting(conn, ids)
    alive = [job for job, state in locked.items() if state in (*WAITING, *ON_PILOT)]
    await conn.execute("UPDATE job SET priority = $2 WHERE id = ANY($1) AND priority <> $2", alive, priority)
    await conn.execute(
        """
        WITH moved AS (
            UPDATE ready SET priority = $2 WHERE job_id = ANY($1) AND priority <> $2
            RETURNING queue_id, share_id, requirement_id
        ), lane AS (SELECT DISTINCT * FROM moved)
        SELECT pg_notify('prodchain_ready', concat_ws(' ', queue_id, share_id, requirement_id)) FROM lane
        """,
        alive,
        priority,
    )


async def require(conn: Connection, ids: Sequence[int], requirement: int) -> None:
    """Give locked jobs that wait for brokerage another requirement; the counters know cores, so they are told."""
    await conn.execute(
        """
        WITH before AS (SELECT id, requirement_id FROM job WHERE id = ANY($1) AND requirement_id <> $2),
        changed AS (
            UPDATE job j SET requirement_id = $2 FROM before b WHERE j.id = b.id
            RETURNING j.task_id, j.queue_id, j.share_id, j.state, b.requirement_id AS old
        )
        INSERT INTO job_move (task_id, queue_id, share_id, state, jobs, events, cores)
        SELECT c.task_id, c.queue_id, c.share_id, c.state, 0, 0, sum(new.cores - old.cores)
        FROM changed c JOIN requirement old ON old.id = c.old JOIN requirement new ON new.id = $2
        GROUP BY c.task_id, c.queue_id, c.share_id, c.state HAVING sum(new.cores - old.cores) <> 0
        """,
        ids,
        requirement,
    )
