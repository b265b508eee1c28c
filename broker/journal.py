"""What people ordered: the outcome of each order, and the journal that keeps those that changed something."""

from dataclasses import dataclass, field
from typing import Any

from .database import Connection

View = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What an order did, or would do: ``changes`` by field [before, after], ``jobs`` that it acts on by their state.

    Without changes and jobs all was so already, which ``note`` says; a note may also say what else is to know.
    """

    verb: str
    object: str
    changes: dict[str, list[Any]] = field(default_factory=dict)
    jobs: dict[str, int] = field(default_factory=dict)
    note: str = ""

    @property
    def changed(self) -> bool:
        return bool(self.changes or self.jobs)

    def document(self, dry_run: bool) -> View:
        """As the API answers."""
        return {
            "verb": self.verb,
            "object": self.object,
            "dry_run": dry_run,
            "changes": self.changes,
            "jobs": self.jobs,
            "note": self.note,
        }


async def enter(conn: Connection, outcome: Outcome, actor: str, reason: str) -> Outcome:
    """Keep the order, unless it changed nothing; to be called once, at the end of each order's function."""
    if outcome.changed:
        await conn.execute(
            "INSERT INTO journal (actor, verb, object, reason, detail) VALUES ($1, $2, $3, $4, $5)",
            actor,
            outcome.verb,
            outcome.object,
            reason,
            {"changes": outcome.changes, "jobs": outcome.jobs},
        )
    return outcome


async def entries(
    conn: Connection,
    *,
    object: str | None = None,  # noqa: A002
    by: str | None = None,
    verb: str | None = None,
    limit: int = 100,
    after: int | None = None,
) -> tuple[list[View], int | None]:
    """Orders, newest first; ``by`` a user's name. The second value continues the list (``after``)."""
    rows = await conn.fetch(
        """
        SELECT id, at, actor, verb, object, reason, detail FROM journal
        WHERE ($1::text IS NULL OR object = $1) AND ($2::text IS NULL OR actor IN ($2, 'user:' || $2))
          AND ($3::text IS NULL OR verb = $3) AND ($4::bigint IS NULL OR id < $4) ORDER BY id DESC LIMIT $5
        """,
        object,
        by,
        verb,
        after,
        limit + 1,
    )
    views = [dict(row) for row in rows[:limit]]
    return views, views[-1]["id"] if len(rows) > limit else None
