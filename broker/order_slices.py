"""Orders for the jobs of a task, however many: the first slice with the order itself, the rest by an agent.

A task's jobs are walked by the number of their pieces, so that each slice costs the same wherever the order has come
to; the task's lock keeps slices, generation and placement of one task apart.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from . import jobs, requirements
from .asks import ask_of
from .database import Connection, wake
from .jobs import Kind
from .models import Task
from .requirements import NEEDS
from .splitting import Work
from .states import AT_QUEUE, JOB_FINAL, MADE, ON_PILOT, WAITING, JobState
from .tasks import get

SLICE = 2000
"""Pieces of one task that one transaction walks through."""
LOST = [state for state in JOB_FINAL if state not in MADE]
"""States in which a piece of work has no run any more and has made nothing."""
OPPOSED = {
    "kill": ("pause", "set", "reassign", "retry", "finish"),
    "finish": ("retry", "pause"),
    "retry": ("kill", "finish"),
    "resume": ("pause",),
}
"""Orders whose rest is not done any more when this one comes."""
Walk: TypeAlias = Callable[[Connection, Task, Any, Sequence[Any]], Awaitable[None]]


async def begin(
    conn: Connection, task: Task, verb: str, actor: str, reason: str, detail: dict[str, Any] | None = None
) -> None:
    """Give the order: its first slice is done now. The caller has locked the task, and set what others look at."""
    await end(conn, task, OPPOSED.get(verb, ()))
    await conn.execute(
        """
        INSERT INTO open_order AS o (task_id, verb, actor, reason, detail) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (task_id, verb) DO UPDATE SET after = 0, actor = excluded.actor, reason = excluded.reason,
            detail = o.detail || excluded.detail
        """,
        task.id,
        verb,
        actor,
        reason,
        detail or {},
    )
    await _slice(conn, task, verb)


async def end(conn: Connection, task: Task, verbs: Sequence[str]) -> None:
    """Forget the rest of orders that another one overtook."""
    await conn.execute("DELETE FROM open_order WHERE task_id = $1 AND verb = ANY($2)", task.id, verbs)


async def unfinished(conn: Connection) -> list[int]:
    """Tasks with orders that want another slice, and those that finish while a run failed and was to be repeated."""
    rows = await conn.fetch(
        """
        SELECT task_id FROM open_order UNION
        SELECT t.id FROM task t WHERE t.state NOT IN ('done', 'finished', 'failed', 'aborted') AND t.ending
          AND EXISTS (SELECT FROM unplaced u WHERE u.task_id = t.id)
        ORDER BY 1 LIMIT 1000
        """
    )
    return [row["task_id"] for row in rows]


async def busy(conn: Connection, task_id: int) -> bool:
    found: bool = await conn.fetchval("SELECT EXISTS (SELECT FROM open_order WHERE task_id = $1)", task_id)
    return found


async def carry_on(conn: Connection, task_id: int) -> int:
    """Do the next slice of each of the task's orders; returns how much there was to do."""
    task = await get(conn, task_id, lock=True)
    verbs = [row["verb"] for row in await conn.fetch("SELECT verb FROM open_order WHERE task_id = $1", task_id)]
    for verb in sorted(verbs):
        await _slice(conn, task, verb)
    if not task.ending:
        return len(verbs)
    # Attempts that were defined after it was ordered to finish are not run.
    reason = f"task {task_id} finishes with what there is"
    return len(verbs) + await jobs.cancel_unplaced(conn, task_id, SLICE, "orders", reason)


async def _slice(conn: Connection, task: Task, verb: str) -> None:
    order = await conn.fetchrow("SELECT * FROM open_order WHERE task_id = $1 AND verb = $2", task.id, verb)
    assert order is not None and task.id is not None
    until = order["after"] + SLICE
    rows = await conn.fetch(
        """
        SELECT id, number, attempt, state, requirement_id FROM job
        WHERE task_id = $1 AND number > $2 AND number <= $3 ORDER BY number, attempt
        """,
        task.id,
        order["after"],
        until,
    )
    await WALKS[verb](conn, task, order, rows)
    if until >= task.numbers:
        await end(conn, task, [verb])
    else:
        await conn.execute("UPDATE open_order SET after = $3 WHERE task_id = $1 AND verb = $2", task.id, verb, until)
        await wake(conn, "orders")


async def _kill(conn: Connection, task: Task, order: Any, rows: Sequence[Any]) -> None:
    await jobs.cancel(conn, _in(rows, (*WAITING, *ON_PILOT)), order["actor"], order["reason"])


async def _finish(conn: Connection, task: Task, order: Any, rows: Sequence[Any]) -> None:
    """What waits is not run; those that pilots take at this moment run on."""
    waiting = _in(rows, WAITING)
    locked = await jobs.lock_waiting(conn, waiting)
    still = [job for job in waiting if locked[job] in WAITING]
    await jobs.cancel(conn, still, order["actor"], order["reason"])


async def _back(conn: Connection, task: Task, order: Any, rows: Sequence[Any]) -> None:
    await jobs.send_back(conn, _in(rows, AT_QUEUE), order["actor"], order["reason"])


async def _set(conn: Connection, task: Task, order: Any, rows: Sequence[Any]) -> None:
    """Jobs that wait take the new values; those whose queue may not suit any more go back to the brokerage.

    Each job keeps what else it needs: what a rule gave to its work after a failure, for one.
    """
    detail = order["detail"]
    needs = {name: detail[name] for name in NEEDS if name in detail}
    waiting, alive = _in(rows, WAITING), _in(rows, (*WAITING, *ON_PILOT))
    await jobs.lock_waiting(conn, alive)  # all at once, in the order that everybody has
    if "priority" in detail:
        await jobs.reprioritise(conn, alive, detail["priority"])
    if needs or "sites" in detail:
        await jobs.send_back(conn, _in(rows, AT_QUEUE), order["actor"], order["reason"])
    if needs:
        await _renew(conn, waiting, needs)


async def _renew(conn: Connection, ids: Sequence[int], needs: dict[str, Any]) -> None:
    """Give new requirements to those of the jobs, which are locked, that wait for brokerage."""
    if "software" in needs:
        needs = needs | {"software": tuple(sorted(set(needs["software"])))}
    rows = await conn.fetch(
        "SELECT id, requirement_id FROM job WHERE id = ANY($1) AND state = 'defined' ORDER BY id", ids
    )
    kinds: dict[int, list[int]] = defaultdict(list)
    for row in rows:
        kinds[row["requirement_id"]].append(row["id"])
    for before, alike in sorted(kinds.items()):
        after = await requirements.find(conn, replace(await requirements.get(conn, before), **needs))
        await jobs.require(conn, alike, after)


async def _retry(conn: Connection, task: Task, order: Any, rows: Sequence[Any]) -> None:
    """A new attempt for each piece whose last one was lost: one that counts, whatever runs the system loses."""
    assert task.id is not None
    last = {row["number"]: row for row in rows}  # by attempt: the last one wins
    lost = [row["id"] for row in last.values() if row["state"] in LOST]
    found = await conn.fetch("SELECT attempt, work, scout FROM job WHERE id = ANY($1) ORDER BY number", lost)
    ask = ask_of(task)
    requirement = await requirements.find(conn, requirements.of_ask(ask))
    kinds: dict[Kind, list[tuple[Work, int]]] = defaultdict(list)
    for row in found:
        attempt = row["attempt"] + 1
        kind = Kind(task.id, requirement, task.priority, row["scout"], spared=max(0, attempt - ask.max_attempts))
        kinds[kind].append((Work.load(row["work"]), attempt))
    for kind, works in kinds.items():
        await jobs.define(conn, kind, works, order["actor"], order["reason"])


def _in(rows: Sequence[Any], states: Sequence[JobState]) -> list[int]:
    return [row["id"] for row in rows if row["state"] in states]


WALKS: dict[str, Walk] = {
    "kill": _kill,
    "finish": _finish,
    "pause": _back,
    "reassign": _back,
    "set": _set,
    "retry": _retry,
}
