"""Tasks and stories as API, monitor and CLI show them: one dict per thing."""

from typing import Any

from .database import Connection
from .errors import unknown

View = dict[str, Any]

_TASKS = """
SELECT t.id, t.step, t.state, t.owner, t.run, t.priority, t.numbers, t.generated, t.created_at, t.changed_at,
       t.actor, t.reason, t.request, s.name AS destination,
       i.scope || ':' || i.name || CASE WHEN i.latest THEN '' ELSE '@' || i.version END AS input,
       o.scope || ':' || o.name || CASE WHEN o.latest THEN '' ELSE '@' || o.version END AS output,
       CASE WHEN t.input_id IS NOT NULL THEN (
           SELECT coalesce(sum(events), 0)::bigint FROM (
               SELECT DISTINCT ON (d.scope, d.name) d.events FROM task_input n JOIN dataset d ON d.id = n.dataset_id
               WHERE n.task_id = t.id AND n.role = '' ORDER BY d.scope, d.name, d.version DESC
           ) parts) END AS input_events
FROM task t
JOIN dataset o ON o.id = t.output_id
JOIN storage s ON s.id = t.destination_id
LEFT JOIN dataset i ON i.id = t.input_id
"""

# The states are spelt out, as the partial index task_open has them.
_CURRENT = """
WHERE t.id IN (
    (SELECT id FROM task WHERE state NOT IN ('done', 'finished', 'failed', 'aborted') AND step <> 'canary'
     ORDER BY id DESC LIMIT $1)
    UNION ALL
    (SELECT id FROM task WHERE state IN ('done', 'finished', 'failed', 'aborted') AND step <> 'canary'
     ORDER BY id DESC LIMIT $2))
ORDER BY t.id DESC
"""

_COUNTS = """
SELECT task_id, state, sum(jobs)::bigint AS jobs, sum(events)::bigint AS events
FROM job_count WHERE task_id = ANY($1) GROUP BY task_id, state HAVING sum(jobs) <> 0 ORDER BY state
"""


async def tasks(
    conn: Connection,
    *,
    state: str | None = None,
    step: str | None = None,
    run: str | None = None,
    limit: int = 100,
    after: int | None = None,
) -> tuple[list[View], int | None]:
    """Tasks, newest first; the second value continues the list (``after``), none at its end.

    Canaries are shown where their step is asked for: there are many, and they are nobody's work.
    """
    rows = await conn.fetch(
        _TASKS + "WHERE ($1::text IS NULL OR t.state = $1) AND t.step = coalesce($2::text, nullif(t.step, 'canary'))"
        " AND ($3::text IS NULL OR t.run = $3) AND ($4::bigint IS NULL OR t.id < $4) ORDER BY t.id DESC LIMIT $5",
        state,
        step,
        run,
        after,
        limit + 1,
    )
    views = await _views(conn, rows[:limit])
    return views, views[-1]["id"] if len(rows) > limit else None


async def current_tasks(conn: Connection, *, unfinished: int = 100, finished: int = 20) -> list[View]:
    """What an overview shows: the tasks at work, and the newest of the others."""
    rows = await conn.fetch(_TASKS + _CURRENT, unfinished, finished)
    return await _views(conn, rows)


async def task(conn: Connection, task_id: int) -> View:
    rows = await conn.fetch(_TASKS + "WHERE t.id = $1", task_id)
    if not rows:
        raise unknown("task", task_id)
    return (await _views(conn, rows))[0]


async def _views(conn: Connection, rows: list[Any]) -> list[View]:
    counts: dict[int, list[Any]] = {}
    for count in await conn.fetch(_COUNTS, [row["id"] for row in rows]):
        counts.setdefault(count["task_id"], []).append(count)
    return [_view(dict(row), counts.get(row["id"], [])) for row in rows]


def _view(row: View, counts: list[Any]) -> View:
    """``events_total`` is what the input has so far, or what was asked for: retries do not add to it."""
    input_events = row.pop("input_events")
    total = row["request"].get("events") if input_events is None else input_events
    return row | {
        "jobs": {count["state"]: count["jobs"] for count in counts},
        "events_done": sum(count["events"] for count in counts if count["state"] == "finished"),
        "events_total": total or 0,
    }


_EVENTS = "SELECT id, at, task_id AS task, job_id AS job, before, state, actor, reason FROM event "
_AFTER = " AND ($2::bigint IS NULL OR id > $2) ORDER BY id LIMIT $3"
_OF_TASK = _EVENTS + "WHERE task_id = $1" + _AFTER
_OF_JOB = _EVENTS + "WHERE job_id = $1" + _AFTER


async def task_story(
    conn: Connection, task_id: int, *, limit: int = 1000, after: int | None = None
) -> tuple[list[View], int | None]:
    """What happened to the task and to its jobs, in order."""
    if not await conn.fetchval("SELECT EXISTS (SELECT FROM task WHERE id = $1)", task_id):
        raise unknown("task", task_id)
    return await _story(conn, _OF_TASK, task_id, limit, after)


async def job_story(
    conn: Connection, job_id: int, *, limit: int = 1000, after: int | None = None
) -> tuple[list[View], int | None]:
    """What happened to the job, in order."""
    if not await conn.fetchval("SELECT EXISTS (SELECT FROM job WHERE id = $1)", job_id):
        raise unknown("job", job_id)
    return await _story(conn, _OF_JOB, job_id, limit, after)


async def _story(
    conn: Connection, statement: str, key: int, limit: int, after: int | None
) -> tuple[list[View], int | None]:
    rows = await conn.fetch(statement, key, after, limit + 1)
    page = [dict(row) for row in rows[:limit]]
    following = page[-1]["id"] if len(rows) > limit else None
    for event in page:
        del event["id"]  # a page's mark, not part of the story
    return page, following
