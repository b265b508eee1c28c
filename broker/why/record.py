"""Decisions of the brokerage as they are on record: what was said of a job, and what was known then."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from .. import requirements
from ..brokerage.facts import Decision, Need
from ..brokerage.record import Round, decision_of, decode
from ..brokerage.replay import replay
from ..database import Connection
from ..models import Job
from .cures import Cure, of_verdicts
from .reasons import View

EVER = datetime(1970, 1, 1, tzinfo=UTC)
LOOKED_AT = 12
"""Refusals that may be the one for a job: a task's jobs fall into few kinds, and each has its own."""

_KEPT = """
SELECT a.task_id, a.at, a.until, a.queue_id, q.name AS queue, a.reason, a.verdicts, r.at AS known_at, r.facts
FROM assignment a LEFT JOIN round r ON r.id = a.round_id LEFT JOIN queue q ON q.id = a.queue_id
"""
_REFUSALS = f"""{_KEPT}
WHERE a.task_id = $1 AND a.queue_id IS NULL AND a.until >= $2 AND a.at <= $3
ORDER BY least(a.until, $3) DESC, a.id DESC LIMIT $4
"""
# What was written with the job's change of state: decisions of a task differ in their sentences, or not at all.
_CHOSEN = f"""{_KEPT}
WHERE a.task_id = $1 AND a.queue_id IS NOT NULL AND a.at <= $2 AND a.reason = $3 ORDER BY a.id DESC LIMIT 1
"""
_LAST = f"""{_KEPT}
WHERE a.task_id = $1 AND a.at <= $2 ORDER BY a.id DESC LIMIT 1
"""
_ONE = f"{_KEPT} WHERE a.id = $1"


@dataclass(frozen=True)
class Kept:
    """A decision, from ``at`` until it was last repeated; ``known``: what its round rested on, while that is kept."""

    task: int
    at: datetime
    until: datetime
    queue_id: int | None
    queue: str | None
    reason: str
    decision: Decision
    known: Round | None
    document: Mapping[str, Any] | None
    """The same as it was recorded."""

    def need(self, job: Job | None, kind: Mapping[str, Any]) -> Need | None:
        """What the round knew of the job, or of jobs like it."""
        needs = self.known.needs if self.known else ()
        own = (need for need in needs if job is not None and job.id in need.jobs)
        alike = (need for need in needs if all(getattr(need, name) == value for name, value in kind.items()))
        return next(own, None) or next(alike, None)

    def is_for(self, need: Need | None) -> bool:
        """Whether it was said of those jobs: of all that the round decided, as it is decided again."""
        if need is None or self.document is None:
            return False
        jobs = set(need.jobs)
        return any(
            decision.queue is None and not jobs.isdisjoint(decision.jobs) and decision.answer() == self._answer
            for decision in replay(self.document).decisions
        )

    @property
    def _answer(self) -> Any:
        return self.decision.answer()


async def refusal(conn: Connection, job: Job, since: datetime, at: datetime) -> tuple[Kept | None, Need | None]:
    """What was last said of a job that waits since then, and what was judged; of like jobs if it had no turn."""
    rows = [_kept(row) for row in await conn.fetch(_REFUSALS, job.task_id, since, at, LOOKED_AT)]
    needs = await requirements.get(conn, job.requirement_id)
    kind = asdict(needs) | {"avoid": tuple(job.avoid)}
    for kept in rows:
        need = kept.need(job, kind)
        if len(rows) == 1 or kept.is_for(need):
            return kept, need
    return (rows[0], rows[0].need(job, kind)) if rows else (None, None)


async def chosen(conn: Connection, task_id: int, reason: str, at: datetime) -> Kept | None:
    """The decision that gave jobs of the task to a queue with these words, the last one until then."""
    row = await conn.fetchrow(_CHOSEN, task_id, at, reason)
    return None if row is None else _kept(row)


async def one(conn: Connection, assignment_id: int) -> Kept | None:
    row = await conn.fetchrow(_ONE, assignment_id)
    return None if row is None else _kept(row)


async def last(conn: Connection, task_id: int, at: datetime, *, refused: bool) -> Kept | None:
    """The task's last decision; if something is ``refused``, the one that says so."""
    if refused:
        rows = await conn.fetch(_REFUSALS, task_id, EVER, at, 1)
        if rows:
            return _kept(rows[0])
    row = await conn.fetchrow(_LAST, task_id, at)
    return None if row is None else _kept(row)


async def kept_since(conn: Connection) -> datetime | None:
    """From when on rounds are on record; none if there are none."""
    at: datetime | None = await conn.fetchval("SELECT at FROM round ORDER BY id LIMIT 1")
    return at


async def queue_names(conn: Connection) -> dict[int, str]:
    return {row["id"]: row["name"] for row in await conn.fetch("SELECT id, name FROM queue")}


def cures(kept: Kept, need: Need | None, names: Mapping[int, str]) -> list[Cure]:
    offers = kept.known.offers if kept.known else ()
    return of_verdicts(kept.decision.verdicts, names, kept.task, need, offers)


def verdict_views(kept: Kept | None, names: Mapping[int, str]) -> list[View]:
    """The verdict on each queue as people see it: those that pass first, the heaviest before."""
    if kept is None:
        return []
    views = [
        {
            "queue": names.get(verdict.queue, f"queue {verdict.queue}"),
            "passed": verdict.passed,
            "criterion": verdict.criterion,
            "reason": verdict.reason,
            "remedy": verdict.remedy,
            "weight": verdict.weight,
            "missing_bytes": verdict.missing_bytes,
            "failures": [
                {
                    "criterion": failure.criterion,
                    "reason": failure.reason,
                    "remedies": [
                        {"who": each.who, "text": each.text, "change": dict(each.change)} for each in failure.remedies
                    ],
                }
                for failure in verdict.failures
            ],
        }
        for verdict in kept.decision.verdicts
    ]
    return sorted(views, key=lambda view: (not view["passed"], -float(str(view["weight"])), view["queue"]))


def _kept(row: Mapping[str, Any]) -> Kept:
    facts: Mapping[str, Any] | None = row["facts"]
    return Kept(
        row["task_id"],
        row["at"],
        row["until"],
        row["queue_id"],
        row["queue"],
        row["reason"],
        decision_of(row["queue_id"], row["reason"], row["verdicts"]),
        None if facts is None else decode(facts),
        facts,
    )
