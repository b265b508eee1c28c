"""The agent that stops tasks whose account is over its quota, with a sentence, and lets them go on."""

from collections.abc import Sequence

from . import workquotas
from .database import Connection, wake
from .models import Task
from .workquotas import Limits

ACTOR = "throttle"


async def admit(conn: Connection, task: Task) -> str:
    """Stop a new task at once if its account is over its quota; the sentence, which its owner is told."""
    sentence = await workquotas.notice(conn, task.owner, task.group_name)
    if sentence:
        await conn.execute("UPDATE task SET throttled = $2 WHERE id = $1", task.id, sentence)
        await _tell(conn, [task.id], sentence)
    return sentence


async def throttle(conn: Connection) -> int:
    """Set or clear the sentence of each open task; returns how many tasks changed between waiting and going on."""
    subjects = [row["subject"] for row in await conn.fetch("SELECT subject FROM work_quota")]
    # The states are spelt out, so that the partial index task_open serves.
    rows = await conn.fetch(
        """
        SELECT DISTINCT owner, group_name, throttled <> '' AS stopped FROM task
        WHERE state NOT IN ('done', 'finished', 'failed', 'aborted') AND ($1 OR throttled <> '')
        """,
        bool(subjects),
    )
    if not rows:
        return 0
    stopped = {workquotas.subject_of(row["owner"], row["group_name"]) for row in rows if row["stopped"]}
    pairs = [(row["owner"], row["group_name"]) for row in rows]
    limited = workquotas.accounts(pairs, subjects)
    changed = 0
    for owner, group in limited:
        limits = await workquotas.limits_of(conn, owner, group)
        if limits is not None:
            changed += await _stop(conn, owner, group, await _sentence(conn, limits, limits.subject in stopped))
    free = {(owner if not group else "", group) for owner, group in pairs} - set(limited)
    for owner, group in sorted(free):
        changed += await _stop(conn, owner, group, "")
    if changed:
        await wake(conn, "generate", "place")
    return changed


async def _sentence(conn: Connection, limits: Limits, stopped: bool) -> str:
    use = await workquotas.use_of(conn, limits.subject, limits.days)
    return workquotas.stop(limits, use, await workquotas.today(conn), stopped=stopped)


async def _stop(conn: Connection, owner: str, group: str, sentence: str) -> int:
    """Tasks that somebody works on at the moment are passed over: the next turn comes to them."""
    rows = await conn.fetch(
        """
        UPDATE task t SET throttled = $3 FROM (
            SELECT id, throttled AS before FROM task
            WHERE state NOT IN ('done', 'finished', 'failed', 'aborted') AND throttled <> $3
              AND CASE WHEN $2 <> '' THEN group_name = $2 ELSE owner = $1 AND group_name = '' END
            ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
        ) old WHERE t.id = old.id RETURNING t.id, old.before
        """,
        owner,
        group,
        sentence,
    )
    changed = [row["id"] for row in rows if not row["before"] or not sentence]
    await _tell(conn, changed, sentence or "there is room in its quota again: it goes on")
    return len(changed)


async def _tell(conn: Connection, task_ids: Sequence[int | None], words: str) -> None:
    """Its story says from when to when a task was stopped: `why` of the past looks there. The state stays."""
    await conn.execute(
        """
        INSERT INTO event (task_id, before, state, actor, reason)
        SELECT id, state, state, $2, $3 FROM task WHERE id = ANY($1) ORDER BY id
        """,
        task_ids,
        ACTOR,
        words,
    )
