"""Decisions as they are kept: a round with all it knew, an assignment with its verdicts; and how long.

A refusal that says what the task's last one said only makes that one last longer: its story has each answer once.
"""

from collections.abc import Sequence
from typing import Any

from .brokerage.facts import Decision
from .brokerage.record import Round, decision_of, encode, verdict_document
from .database import Connection

KINDS = 100
"""Refusals of a task's last round that are looked at."""
OLD = 1000
"""Rounds, and refusals, that one transaction looks at."""


class Keeper:
    """Keeps the decisions of one round; the round itself when one of them is new."""

    def __init__(self, conn: Connection, task_id: int, known: Round) -> None:
        self._conn = conn
        self._task = task_id
        self._known = known
        self._round: int | None = None

    async def keep(self, decision: Decision) -> int:
        """The assignment's number."""
        if decision.queue is None and (last := await self._repeated(decision)) is not None:
            return last
        if self._round is None:
            self._round = await self._conn.fetchval(
                "INSERT INTO round (task_id, facts) VALUES ($1, $2) RETURNING id", self._task, encode(self._known)
            )
        assignment: int = await self._conn.fetchval(
            """
            INSERT INTO assignment (task_id, queue_id, round_id, jobs, reason, verdicts)
            VALUES ($1, $2, $3, $4, $5, $6) RETURNING id
            """,
            self._task,
            decision.queue,
            self._round,
            len(decision.jobs),
            decision.reason,
            documents(decision),
        )
        return assignment

    async def _repeated(self, decision: Decision) -> int | None:
        """The refusal of the round before that it repeats, which lasts longer now; each kind of jobs has its own."""
        rows = await self._conn.fetch(
            """
            SELECT id, reason, verdicts FROM assignment
            WHERE task_id = $1 AND queue_id IS NULL AND until >= coalesce((
                SELECT max(until) FROM assignment WHERE task_id = $1 AND queue_id IS NULL AND until < now()), now())
            ORDER BY id LIMIT $2
            """,
            self._task,
            KINDS,
        )
        for row in rows:
            if decision_of(None, row["reason"], row["verdicts"]).answer() == decision.answer():
                await self._conn.execute("UPDATE assignment SET until = now() WHERE id = $1", row["id"])
                return int(row["id"])
        return None


def documents(decision: Decision) -> list[dict[str, Any]]:
    return [verdict_document(verdict) for verdict in decision.verdicts]


async def forget(conn: Connection, days: float) -> int:
    """Remove rounds and refusals that are older, a slice of each; returns 0 when those were all."""
    gone = await conn.fetch(
        """
        WITH old AS (SELECT id, at FROM round ORDER BY id LIMIT $2)
        DELETE FROM round WHERE id IN (SELECT id FROM old WHERE at < now() - $1 * interval '1 day') RETURNING 1
        """,
        days,
        OLD,
    )
    over = await conn.fetch(
        """
        DELETE FROM assignment WHERE id IN (
            SELECT id FROM assignment WHERE queue_id IS NULL AND until < now() - $1 * interval '1 day'
            ORDER BY until LIMIT $2) RETURNING 1
        """,
        days,
        OLD,
    )
    return max(len(gone), len(over)) // OLD


async def in_force(conn: Connection, task_id: int, at: Any) -> Sequence[Any]:
    """The task's decisions of the round that spoke last at that time, with the round; none if there was none yet."""
    return await conn.fetch(
        """
        SELECT a.id, a.at, a.until, a.queue_id, q.name AS queue, a.jobs, a.reason, a.verdicts, a.round_id, r.facts
        FROM assignment a LEFT JOIN queue q ON q.id = a.queue_id LEFT JOIN round r ON r.id = a.round_id
        WHERE a.task_id = $1 AND a.round_id = (
            SELECT round_id FROM assignment WHERE task_id = $1 AND at <= $2 AND round_id IS NOT NULL
            ORDER BY least(until, $2) DESC, id DESC LIMIT 1)
        ORDER BY a.id
        """,
        task_id,
        at,
    )
