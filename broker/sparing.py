"""Runs that failed because of their queue do not count as attempts of the work: a queue that goes bad loses none."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from . import jobs, merging
from .database import Connection
from .failing import avoiding
from .models import Task
from .recovery.rules import FREE_AT_MOST
from .splitting import Work
from .states import TASK_OPEN, WAITING, JobState, TaskState
from .tasks import move

_PIECES = """
SELECT DISTINCT ON (j.task_id, j.number) j.* FROM job j JOIN job f USING (task_id, number)
WHERE f.id = ANY($1) AND f.task_id = ANY($2) ORDER BY j.task_id, j.number, j.attempt DESC
"""


async def spare(conn: Connection, queue_id: int, name: str, failed: Sequence[int], actor: str) -> int:
    """Give back what runs that failed at a queue cost their work, which avoids it from now on; returns of how many.

    Work whose attempts were used up there gets another one, if its task is not over.
    """
    tasks = await conn.fetch(
        """
        SELECT * FROM task WHERE id IN (SELECT task_id FROM job WHERE id = ANY($1)) AND state = ANY($2)
        ORDER BY id FOR NO KEY UPDATE
        """,
        failed,
        list(TASK_OPEN),
    )
    open_ = [row["id"] for row in tasks]
    newest = await conn.fetch(_PIECES, failed, open_)
    locked = await jobs.lock(conn, [row["id"] for row in newest])
    runs = await _runs(conn, failed)
    pieces = [row for row in newest if locked[row["id"]].state == row["state"]]
    waiting = [row["id"] for row in pieces if row["state"] in WAITING]
    await conn.execute(
        """
        UPDATE job j SET spared = least($3, spared + w.runs),
               avoid = CASE WHEN avoid @> to_jsonb($4::int) THEN avoid ELSE avoid || to_jsonb($4::int) END
        FROM unnest($1::bigint[], $2::int[]) AS w (id, runs) WHERE j.id = w.id
        """,
        waiting,
        [runs[row["task_id"], row["number"]] for row in pieces if row["state"] in WAITING],
        FREE_AT_MOST,
        queue_id,
    )
    lost = [row for row in pieces if row["state"] == JobState.FAILED and row["spared"] < FREE_AT_MOST]
    reason = f"it failed at {name}, which was drained: that does not count"
    await _back_to_work(
        conn, [row for row in tasks if row["id"] in {each["task_id"] for each in lost}], actor, reason
    )
    await _again(conn, queue_id, lost, runs, actor, reason)
    return len(waiting) + len(lost)


async def _back_to_work(conn: Connection, tasks: Sequence[Any], actor: str, reason: str) -> None:
    """A task whose outputs are merged already has jobs of its own again."""
    for row in tasks:
        if row["state"] == TaskState.MERGING:
            if (child := await merging.child_of(conn, Task.model_validate(dict(row)))) is not None:
                await merging.go_on(conn, child, reason)
            await move(conn, row["id"], TaskState.RUNNING, actor, reason)


async def _runs(conn: Connection, failed: Sequence[int]) -> dict[tuple[int, int], int]:
    """By piece, how many of these runs were its own and counted: those that rules spared already do not."""
    rows = await conn.fetch(
        """
        SELECT f.task_id, f.number, count(*) FILTER (WHERE n.spared IS NULL OR n.spared = f.spared)::int AS runs
        FROM job f LEFT JOIN job n ON (n.task_id, n.number, n.attempt) = (f.task_id, f.number, f.attempt + 1)
        WHERE f.id = ANY($1) GROUP BY f.task_id, f.number
        """,
        failed,
    )
    return {(row["task_id"], row["number"]): row["runs"] for row in rows}


async def _again(
    conn: Connection,
    queue_id: int,
    lost: Sequence[Any],
    runs: dict[tuple[int, int], int],
    actor: str,
    reason: str,
) -> None:
    kinds: dict[jobs.Kind, list[tuple[Work, int]]] = defaultdict(list)
    for row in lost:
        spared = min(FREE_AT_MOST, row["spared"] + runs[row["task_id"], row["number"]])
        avoid = avoiding(row["avoid"], queue_id)
        kind = jobs.Kind(row["task_id"], row["requirement_id"], row["priority"], row["scout"], avoid, spared)
        kinds[kind].append((Work.load(row["work"]), row["attempt"] + 1))
    for kind, works in kinds.items():
        await jobs.define(conn, kind, works, actor, reason)
