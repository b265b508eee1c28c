"""Jobs as API, monitor and CLI show them, with the decision that placed them, and their logs."""

import re
from collections.abc import AsyncIterator
from typing import Any

from .database import Connection, Pool
from .errors import unknown
from .models import JOB_FAILED
from .namesakes import refuse_unknown
from .states import ON_PILOT, JobState
from .task_views import View

_JOBS = """
SELECT j.id, j.task_id AS task, t.step, j.number, j.attempt, j.state, q.name AS queue, q.site, j.pilot, j.priority,
       j.events, j.exit_code, j.error, j.metrics, j.spec, j.assignment_id, j.created_at, j.changed_at,
       j.actor, j.reason, t.request->'command' AS template
FROM job j
JOIN task t ON t.id = j.task_id
LEFT JOIN queue q ON q.id = j.queue_id
"""

_INPUTS = """
SELECT i.job_id, f.name FROM job_input i JOIN file f ON f.id = i.file_id
WHERE i.job_id = ANY($1) ORDER BY i.job_id, f.id
"""

_ASSIGNMENTS = """
SELECT a.id, a.at, a.reason AS choice, c.name AS chosen,
       q.name AS queue, v.passed, v.criterion, v.reason, v.remedy, v.weight, v.missing_bytes
FROM assignment a
LEFT JOIN queue c ON c.id = a.queue_id
LEFT JOIN jsonb_to_recordset(a.verdicts) AS v (queue smallint, passed bool, criterion text, reason text, remedy text,
    weight float, missing_bytes bigint) ON true
LEFT JOIN queue q ON q.id = v.queue
WHERE a.id = ANY($1) ORDER BY a.id, v.passed DESC, v.weight DESC, q.name
"""


_FILTERS = {
    "task": "j.task_id = ${}",
    "state": "j.state = ${}",
    "queue": "q.name = ${}",
    "site": "q.site = ${}",
    "after": "j.id < ${}",
}
# A task's jobs in these states are found beside its others, which may be many; what is leased is never very much.
_BESIDE = {
    JobState.DEFINED: "j.id IN (SELECT job_id FROM unplaced WHERE task_id = ${task})",
    JobState.FAILED: "j.id IN (SELECT job_id FROM event WHERE " + JOB_FAILED + " AND task_id = ${task})",  # noqa: S608
    **dict.fromkeys(ON_PILOT, "j.id = ANY(ARRAY(SELECT job_id FROM lease))"),
}


def _where(filters: list[str], state: str | None) -> str:
    """Only the filters that are set, so that the plan is one for them; $1 is the limit."""
    terms = [_FILTERS[name].format(place) for place, name in enumerate(filters, 2)]
    if "task" in filters and state in _BESIDE:
        terms.append(_BESIDE[JobState(state)].format(task=filters.index("task") + 2))
    return f"{'WHERE ' if terms else ''}{' AND '.join(terms)} ORDER BY j.id DESC LIMIT $1"


async def jobs(
    conn: Connection,
    *,
    task: int | None = None,
    state: str | None = None,
    queue: str | None = None,
    site: str | None = None,
    limit: int = 100,
    after: int | None = None,
) -> tuple[list[View], int | None]:
    """Jobs, newest first; the second value continues the list (``after``), none at its end.

    NotFound for a task, queue or site that does not exist.
    """
    wanted = {"task": task, "state": state, "queue": queue, "site": site, "after": after}
    filters = {name: value for name, value in wanted.items() if value is not None}
    rows = await conn.fetch(_JOBS + _where(list(filters), state), limit + 1, *filters.values())
    if not rows:
        await refuse_unknown(conn, task=task, queue=queue, site=site)
    views = await _views(conn, rows[:limit])
    return views, views[-1]["id"] if len(rows) > limit else None


async def job(conn: Connection, job_id: int) -> View:
    rows = await conn.fetch(_JOBS + "WHERE j.id = $1", job_id)
    if not rows:
        raise unknown("job", job_id)
    return (await _views(conn, rows))[0]


async def _views(conn: Connection, rows: list[Any]) -> list[View]:
    inputs: dict[int, list[str]] = {}
    for row in await conn.fetch(_INPUTS, [row["id"] for row in rows]):
        inputs.setdefault(row["job_id"], []).append(row["name"])
    assignments = await _assignments(conn, {row["assignment_id"] for row in rows} - {None})
    return [_view(dict(row), inputs.get(row["id"], []), assignments) for row in rows]


def _view(row: View, inputs: list[str], assignments: dict[int, View]) -> View:
    spec, template, assignment = row.pop("spec"), row.pop("template"), row.pop("assignment_id")
    return row | {
        "command": spec.get("command") or template,  # the template until a queue is chosen
        "inputs": inputs,
        "outputs": [output["lfn"] for output in spec.get("outputs", [])],
        "assignment": assignments.get(assignment),
    }


async def _assignments(conn: Connection, ids: set[int]) -> dict[int, View]:
    found: dict[int, View] = {}
    for row in await conn.fetch(_ASSIGNMENTS, sorted(ids)):
        verdict = dict(row)
        key, at, choice, chosen = (verdict.pop(name) for name in ("id", "at", "choice", "chosen"))
        view = found.setdefault(key, {"at": at, "queue": chosen, "reason": choice, "verdicts": []})
        if verdict["queue"] is not None:
            view["verdicts"].append(verdict)
    return found


async def log_pieces(pool: Pool, job_id: int, start: int = 0) -> AsyncIterator[str]:
    """The job's log from character ``start`` on; each piece takes a connection only while it is fetched.

    Pieces may overlap where a pilot repeated a report with more in it.
    """
    position, known = start, -1
    while rows := await pool.fetch(
        "SELECT start, text FROM job_log WHERE job_id = $1 AND start > $2 AND start + length(text) > $3"
        " ORDER BY start LIMIT 20",
        job_id,
        known,
        position,
    ):
        for row in rows:
            known = row["start"]
            piece = row["text"][max(0, position - known) :]
            if piece:
                yield piece
                position = max(position, known) + len(piece)


_VARYING = (
    (re.compile(r"[\w.+-]+://\S+"), "URL"),
    (re.compile(r"(?<!\w)/[^\s:,;'\"()]+"), "PATH"),
    (re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"), "ID"),
    (re.compile(r"\b(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{8,}\b"), "ID"),
    (re.compile(r"\b[\w-]+(?:\.[\w-]+){3,}\b"), "NAME"),
    (re.compile(r"\d+(?:\.\d+)?"), "N"),
)


def normalised(message: str) -> str:
    """The message without what differs from job to job, so that like errors count as one."""
    for pattern, word in _VARYING:
        message = pattern.sub(word, message)
    return message[:300]
