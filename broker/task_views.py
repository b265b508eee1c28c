"""Tasks and stories as API, monitor and CLI show them: one dict per thing."""

from typing import Any

from .database import Connection
from .errors import unknown
from .marks import numbers

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


_FIELDS = "id, at, task_id AS task, job_id AS job, before, state, actor, reason"
_OF_JOB = f"SELECT {_FIELDS} FROM events_of($1) WHERE id > $2 ORDER BY id LIMIT $3"  # noqa: S608
# A page may end within an event of many jobs: its jobs have numbers, too.
_OF_TASK = f"""
(SELECT {_FIELDS} FROM event WHERE task_id = $1 AND id > $2 ORDER BY id LIMIT $4)
UNION ALL
(SELECT {_FIELDS} FROM (
    SELECT *, generate_series(lower(run), upper(run) - 1) AS job_id FROM (
        SELECT *, unnest(jobs) AS run FROM mass_event WHERE task_id = $1 AND id >= $2 ORDER BY id) AS runs) AS each
 WHERE id > $2 OR job_id > $3 LIMIT $4)
ORDER BY id, job LIMIT $4
"""  # noqa: S608


async def task_story(
    conn: Connection, task_id: int, *, limit: int = 1000, after: str | None = None
) -> tuple[list[View], str | None]:
    """What happened to the task and to its jobs, in order."""
    if not await conn.fetchval("SELECT EXISTS (SELECT FROM task WHERE id = $1)", task_id):
        raise unknown("task", task_id)
    rows = await conn.fetch(_OF_TASK, task_id, *numbers(after, 2), limit + 1)
    last = rows[limit - 1] if len(rows) > limit else None
    return _page(rows[:limit]), last and f"{last['id']}~{last['job'] or 0}"


async def job_story(
    conn: Connection, job_id: int, *, limit: int = 1000, after: int | None = None
) -> tuple[list[View], int | None]:
    """What happened to the job, in order."""
    if not await conn.fetchval("SELECT EXISTS (SELECT FROM job WHERE id = $1)", job_id):
        raise unknown("job", job_id)
    rows = await conn.fetch(_OF_JOB, job_id, after or 0, limit + 1)
    return _page(rows[:limit]), rows[limit - 1]["id"] if len(rows) > limit else None


def _page(rows: list[Any]) -> list[View]:
    """Without the events' own numbers: they are marks of pages, not part of the story."""
    return [{name: value for name, value in row.items() if name != "id"} for row in rows]
