"""Jobs from tasks: as input files appear while the input is open, the rest when it closes."""

from . import requirements
from .asks import ask_of
from .database import Connection
from .errors import BadRequest
from .jobs import define
from .models import Task
from .requests import TaskRequest
from .splitting import InputFile, Work, split_events, split_files
from .states import TaskState
from .tasks import get, move

BUNCH = 5000
"""Pieces or files taken in one transaction."""
FILE_PIECES = 50_000
"""Pieces that one file may be cut into: they are made in one transaction."""
ACTOR = "generation"
OPEN = (TaskState.REGISTERED, TaskState.READY, TaskState.RUNNING)


async def growing_tasks(conn: Connection) -> list[int]:
    """Tasks that may have work to make: found by what there is, so that no news can be lost."""
    rows = await conn.fetch(
        """
        SELECT t.id FROM task t LEFT JOIN dataset d ON d.id = t.input_id
        WHERE t.state = ANY($1) AND NOT t.generated AND (
            t.state = 'registered' OR d.id IS NULL OR d.state = 'closed'
            OR EXISTS (SELECT FROM task_file f WHERE f.task_id = t.id AND NOT f.used))
        ORDER BY t.priority DESC, t.id LIMIT 1000
        """,
        OPEN,
    )
    return [row["id"] for row in rows]


async def generate(conn: Connection, task_id: int) -> int:
    """Make the jobs that the task's input allows now; returns their number. One transaction of the caller."""
    task = await get(conn, task_id, lock=True)
    if task.state not in OPEN or task.generated:
        return 0
    request = ask_of(task)
    try:
        works, generated = await _from_input(conn, task, request) if task.input_id else _from_nothing(task, request)
    except BadRequest as error:  # it would be so at every try
        await move(conn, task_id, TaskState.FAILED, ACTOR, str(error))
        return 0
    if task.state == TaskState.REGISTERED:
        await move(conn, task_id, TaskState.READY, ACTOR, "accepted")
    if works:
        await define(
            conn,
            task_id,
            [(work, 1) for work in works],
            requirement=await requirements.find(conn, requirements.of_ask(request)),
            priority=task.priority,
            actor=ACTOR,
            reason="work to do",
        )
        if task.state != TaskState.RUNNING:
            await move(conn, task_id, TaskState.RUNNING, ACTOR, "first jobs made")
    if works or generated:
        await conn.execute(
            "UPDATE task SET numbers = $2, generated = $3 WHERE id = $1",
            task_id,
            task.numbers + len(works),
            generated,
        )
    if generated:
        await conn.execute("SELECT pg_notify('prodchain_work', 'close')")
    return len(works)


def _from_nothing(task: Task, request: TaskRequest) -> tuple[list[Work], bool]:
    assert request.events is not None and request.events_per_job is not None  # the request was validated
    works = split_events(
        request.events,
        request.events_per_job,
        first_event=request.first_event,
        seed=request.seed,
        start=task.numbers,
        limit=BUNCH,
    )
    return works, len(works) < BUNCH


async def _from_input(conn: Connection, task: Task, request: TaskRequest) -> tuple[list[Work], bool]:
    # The state is read first: files seen after a dataset was seen closed are all its files.
    closed = await conn.fetchval("SELECT state = 'closed' FROM dataset WHERE id = $1", task.input_id)
    limit = max(BUNCH, request.files_per_job or 1)
    rows = await conn.fetch(
        """
        SELECT f.id, f.name, f.events FROM task_file u JOIN file f ON f.id = u.file_id
        WHERE u.task_id = $1 AND NOT u.used ORDER BY u.file_id LIMIT $2
        """,
        task.id,
        limit,
    )
    files = [InputFile(row["id"], row["events"]) for row in sorted(rows, key=lambda row: str(row["name"]))]
    if request.events_per_job is not None:
        files = _few_pieces(files, request.events_per_job)
    whole = closed and len(files) == len(rows) < limit
    works = split_files(
        files,
        start=task.numbers,
        seed=request.seed,
        files_per_job=request.files_per_job,
        events_per_job=request.events_per_job,
        closed=whole,
    )
    await conn.execute(
        "UPDATE task_file SET used = true WHERE task_id = $1 AND file_id = ANY($2)",
        task.id,
        sorted({file for work in works for file in work.files}),
    )
    return works, whole


def _few_pieces(files: list[InputFile], events_per_job: int) -> list[InputFile]:
    """The first files, as many as make a bunch of pieces; one at least."""
    taken: list[InputFile] = []
    room = BUNCH
    for file in files:
        pieces = -(-max(file.events, 1) // events_per_job)
        if pieces > FILE_PIECES:
            raise BadRequest(
                f"file {file.id} has {file.events} events: {pieces} jobs of {events_per_job}, {FILE_PIECES} at most",
                object=f"file {file.id}",
                hint="submit the task again with a larger events_per_job and another output name",
            )
        if taken and pieces > room:
            break
        taken.append(file)
        room -= pieces
    return taken
