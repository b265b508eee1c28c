"""Jobs from tasks: as input files appear while the input is open, the rest when it closes."""

from .database import Connection
from .jobs import define
from .models import Task
from .requests import TaskRequest
from .splitting import InputFile, Work, split_events, split_files
from .states import TaskState
from .tasks import move

BUNCH = 5000
"""Pieces or files taken in one transaction."""
ACTOR = "generation"


async def dirty_tasks(conn: Connection) -> list[int]:
    rows = await conn.fetch(
        "SELECT id FROM task WHERE dirty AND state = ANY($1) ORDER BY id LIMIT 1000",
        [TaskState.REGISTERED, TaskState.READY, TaskState.RUNNING],
    )
    return [row["id"] for row in rows]


async def generate(conn: Connection, task_id: int) -> int:
    """Make the jobs that the task's input allows now; returns their number. One transaction of the caller."""
    row = await conn.fetchrow("SELECT * FROM task WHERE id = $1 AND dirty FOR UPDATE", task_id)
    if row is None:
        return 0
    task = Task.model_validate(dict(row))
    request = TaskRequest.model_validate(task.request)
    works, generated, again = await (
        _from_input(conn, task, request) if task.input_id else _from_nothing(task, request)
    )
    await conn.execute("UPDATE task SET dirty = $2 WHERE id = $1", task_id, again)
    if task.state == TaskState.REGISTERED:
        await move(conn, task_id, TaskState.READY, ACTOR, "accepted")
    if works:
        await define(
            conn, task_id, [(work, 1) for work in works], priority=task.priority, actor=ACTOR, reason="work to do"
        )
        if task.state != TaskState.RUNNING:
            await move(conn, task_id, TaskState.RUNNING, ACTOR, "first jobs made")
    await conn.execute(
        "UPDATE task SET numbers = $2, generated = $3 WHERE id = $1", task_id, task.numbers + len(works), generated
    )
    return len(works)


async def _from_nothing(task: Task, request: TaskRequest) -> tuple[list[Work], bool, bool]:
    assert request.events is not None and request.events_per_job is not None  # the request was validated
    works = split_events(
        request.events,
        request.events_per_job,
        first_event=request.first_event,
        seed=request.seed,
        start=task.numbers,
        limit=BUNCH,
    )
    again = len(works) == BUNCH
    return works, not again, again


async def _from_input(conn: Connection, task: Task, request: TaskRequest) -> tuple[list[Work], bool, bool]:
    # The state is read first: files seen after a dataset was seen closed are all its files.
    closed = await conn.fetchval("SELECT state = 'closed' FROM dataset WHERE id = $1", task.input_id)
    rows = await conn.fetch(
        """
        SELECT f.id, f.events FROM dataset_file m JOIN file f ON f.id = m.file_id
        WHERE m.dataset_id = $1 AND NOT EXISTS (SELECT FROM task_file u WHERE u.task_id = $2 AND u.file_id = f.id)
        ORDER BY f.name LIMIT $3
        """,
        task.input_id,
        task.id,
        BUNCH,
    )
    again = len(rows) == BUNCH
    works = split_files(
        [InputFile(row["id"], row["events"]) for row in rows],
        start=task.numbers,
        seed=request.seed,
        files_per_job=request.files_per_job,
        events_per_job=request.events_per_job,
        closed=closed and not again,
    )
    await conn.execute(
        "INSERT INTO task_file (task_id, file_id) SELECT $1, unnest($2::bigint[])",
        task.id,
        sorted({file for work in works for file in work.files}),
    )
    return works, closed and not again, again
