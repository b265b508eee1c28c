"""Decisions of the brokerage as API and CLI show them: replayed from their round, or of a submission on trial."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from . import generation, tasks
from .brokerage.facts import Decision, Need, Offer
from .brokerage.record import decision_of
from .brokerage.replay import replay
from .brokerage.weights import ahead_s, bunch_s
from .bunches import Pace
from .database import Connection
from .decisions import documents, in_force
from .errors import NotFound
from .models import Task
from .moments import past
from .placement import preview
from .task_views import View


async def replayed(conn: Connection, task_id: int, at: datetime | None = None) -> View:
    """What the round that spoke last at that time decides from its recorded facts, and whether it is what was stored.

    ``at`` is now if not given. BadRequest if it is to come, NotFound if nothing was decided by then, or the round is
    gone by age.
    """
    await tasks.get(conn, task_id)
    at = await past(conn, at)
    stored = await in_force(conn, task_id, at)
    if not stored or stored[0]["facts"] is None:
        why = "its round is not kept any more" if stored else f"nothing was decided about it by {at:%F %T %Z}"
        raise NotFound(
            f"no decision about task {task_id} can be replayed: {why}",
            object=f"task {task_id}",
            hint="name a later time with --at; rounds are kept for the setting decisions_days",
        )
    again = replay(stored[0]["facts"])
    kept = [(row["jobs"], decision_of(row["queue_id"], row["reason"], row["verdicts"]).key()) for row in stored]
    made = [(len(decision.jobs), decision.key()) for decision in again.decisions]
    # A refusal that repeated an earlier one was not stored again.
    same = all(row in made for row in kept) and all(
        row in kept or decision.queue is None for row, decision in zip(made, again.decisions, strict=True)
    )
    return {
        "task": task_id,
        "at": at,
        "round": stored[0]["round_id"],
        "decided_at": stored[0]["at"],
        "same": same,
        "notes": list(again.notes),
        "decisions": [_decision(decision, again.names) for decision in again.decisions],
        "stored": [{"queue": row["queue"], "jobs": row["jobs"], "reason": row["reason"]} for row in stored],
    }


async def trial(conn: Connection, task: Task, pace: Pace, *, new: bool) -> View:
    """What would become of a task that was just submitted: its first jobs are made, for the caller to undo."""
    assert task.id is not None
    await generation.generate(conn, task.id)
    task = await tasks.get(conn, task.id)
    outcome = await preview(conn, task, pace)
    offers = {offer.queue: offer for offer in outcome.before}
    return {
        "dry_run": True,
        "new": new,
        "output": task.key,
        "state": task.state,
        "jobs": task.numbers,
        "all_jobs": task.generated,
        "waits": await generation.waits_for(conn, task) or "",
        "decisions": [
            _decision(decision, {queue: offer.name for queue, offer in offers.items()})
            | _moves(need, decision, offers)
            for need, decision in outcome.decisions
        ],
    }


def _moves(need: Need, decision: Decision, offers: Mapping[int, Offer]) -> View:
    """What would be copied for it: files, bytes, and about how many seconds that takes."""
    if decision.queue is None:
        return {"files": 0, "bytes": 0, "seconds": 0.0}
    offer = offers[decision.queue]
    missing = need.missing(offer.storage)
    part = len(decision.jobs) / len(need.jobs)
    seconds = part * bunch_s(need, offer) + ahead_s(need, offer)
    return {"files": round(part * missing.files), "bytes": round(part * missing.bytes), "seconds": round(seconds, 1)}


def _decision(decision: Decision, names: Mapping[int, str]) -> dict[str, Any]:
    return {
        "queue": None if decision.queue is None else names[decision.queue],
        "jobs": len(decision.jobs),
        "reason": decision.reason,
        "verdicts": [document | {"queue": names[document["queue"]]} for document in documents(decision)],
    }
