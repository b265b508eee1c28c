"""Errors of jobs, like ones together: how many, where, since when, and what the rules for failed jobs say of them."""

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from .database import Connection
from .job_views import normalised
from .namesakes import refuse_unknown
from .recovery import book
from .recovery.rules import Failure, Rule, ruling
from .task_views import View

LOOKED_AT = 2000
"""Failures that are looked at, the newest: however many there were, a page costs the same."""
TASKS = 5
"""Tasks that are named of each error."""

# The partial indexes event_failed and event_failed_task hold nothing but failures, in this order.
_FAILURES = """
SELECT j.task_id AS task, t.step, t.owner, q.name AS queue, q.site, j.exit_code,
       coalesce(nullif(j.error, ''), e.reason) AS error,
       count(*)::int AS jobs, max(j.id) AS example, min(e.at) AS first_seen, max(e.at) AS last_seen
FROM (SELECT at, job_id, reason FROM event
      WHERE state = 'failed' AND job_id IS NOT NULL{of_task} ORDER BY id DESC LIMIT $1) e
JOIN job j ON j.id = e.job_id JOIN task t ON t.id = j.task_id LEFT JOIN queue q ON q.id = j.queue_id
WHERE $2::text IS NULL OR q.site = $2
GROUP BY 1, 2, 3, 4, 5, 6, 7
"""
_kind = lru_cache(LOOKED_AT)(normalised)


async def errors(conn: Connection, *, task: int | None = None, site: str | None = None) -> View:
    """Errors of the newest failures, the commonest first; if ``looked_at`` is the limit, there may be more.

    ``rule`` decides on such a failure now, ``remedy`` is what it tells people; none fits: both are empty.
    """
    statement = _FAILURES.format(of_task="" if task is None else " AND task_id = $3")
    rows = await conn.fetch(statement, LOOKED_AT, site, *([] if task is None else [task]))
    if not rows:
        await refuse_unknown(conn, task=task, site=site)
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["example"], reverse=True):
        kinds.setdefault(_kind(row["error"]), []).append(row)
    rules = (await book.current(conn)).rules
    items = [_view(message, found, rules) for message, found in kinds.items()]
    return {
        "items": sorted(items, key=lambda item: (-item["jobs"], item["message"])),
        "looked_at": sum(row["jobs"] for row in rows),
        "limit": LOOKED_AT,
    }


def _view(message: str, found: list[Mapping[str, Any]], rules: tuple[Rule, ...]) -> View:
    newest = found[0]
    tasks = list(dict.fromkeys(row["task"] for row in found))
    failure = Failure(newest["error"], newest["exit_code"], newest["step"], newest["owner"])
    rule, passive = ruling(failure, rules)
    return {
        "message": message,
        "jobs": sum(row["jobs"] for row in found),
        "task": newest["task"],
        "tasks": tasks[:TASKS],
        "more_tasks": len(tasks[TASKS:]),
        "sites": _numbers(found, "site"),
        "queues": _numbers(found, "queue"),
        "example_job": newest["example"],
        "example": newest["error"],
        "exit_code": newest["exit_code"],
        "first_seen": min(row["first_seen"] for row in found),
        "last_seen": max(row["last_seen"] for row in found),
        "rule": rule.name if rule else "",
        "then": then(rule),
        "passive": [each.name for each in passive],
        "remedy": rule.remedy.replace("set ID", f"set {newest['task']}") if rule else "",
    }


def _numbers(found: list[Mapping[str, Any]], name: str) -> dict[str, int]:
    """Failures by queue or site, most first; those that were at none are left out."""
    numbers: Counter[str] = Counter()
    for row in found:
        if row[name] is not None:
            numbers[row[name]] += row["jobs"]
    return dict(numbers.most_common())


def then(rule: Rule | None) -> str:
    """What a rule does, in words."""
    if rule is None:
        return "no rule fits: tried again until the task's attempts are used up"
    if not rule.retry:
        return "not tried again"
    words = [f"tried at most {rule.limit} times"] if rule.limit else ["tried again"]
    if rule.more_memory:
        words.append(f"with {rule.more_memory:g} times the memory")
    if rule.more_walltime:
        words.append(f"with {rule.more_walltime:g} times the wall time")
    if rule.smaller:
        words.append("cut in two")
    if rule.elsewhere:
        words.append("at another queue")
    if rule.free:
        words.append("without using up an attempt")
    return ", ".join(words)
