"""Tasks as their owners see them: submitted once whatever is repeated, killed, tried again."""

from prodchain.catalog import datasets
from prodchain.catalog.models import BOOKKEEPING, Dataset, DatasetKind
from prodchain.catalog.names import Did, parse_did, parse_versioned

from . import requirements
from .asks import ask_of
from .database import Connection, one
from .errors import BadRequest, NotFound, TaskConflict, WrongState
from .jobs import cancel, define
from .models import Task
from .requests import TaskRequest
from .splitting import Work
from .states import JOB_FINAL, MADE, ON_PILOT, TASK_FINAL, WAITING, JobState, TaskState

BUNCH = 5000
"""Jobs that one statement makes or ends."""
LOST = [state for state in JOB_FINAL if state not in MADE]
"""States in which a piece of work has no run any more and has made nothing."""


async def get(conn: Connection, task_id: int, *, lock: bool = False) -> Task:
    # Not FOR UPDATE: reports that define another attempt check the task's key, and must not wait for us.
    how = "FOR NO KEY UPDATE" if lock else ""
    row = await conn.fetchrow(f"SELECT * FROM task WHERE id = $1 {how}", task_id)  # noqa: S608
    if row is None:
        raise NotFound(f"there is no task {task_id}", object=f"task {task_id}", hint="see `prodchain task ls`")
    return Task.model_validate(dict(row))


async def submit(conn: Connection, request: TaskRequest, owner: str) -> tuple[Task, bool]:
    """Make the task, or find the one that was made of the same request before; says which.

    Raises TaskConflict where the output dataset belongs to other work, DatasetNotFound for an unknown input.
    """
    output = parse_did(request.output)
    known = await _known(conn, output, request)
    if known is not None:
        return known, False
    source = await _input(conn, request.input) if request.input else None
    destination = await _destination(conn, request.destination)
    target = await _output_dataset(conn, output, owner)
    row = await conn.fetchrow(
        """
        INSERT INTO task (key, step, owner, request, run, priority, input_id, output_id, destination_id,
                          actor, reason)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        ON CONFLICT (key) DO NOTHING RETURNING *
        """,
        str(output),
        request.step,
        owner,
        request.model_dump(),
        request.run,
        request.priority,
        source.id if source else None,
        target.id,
        destination,
        f"user:{owner}",
        "submitted",
    )
    if row is None:  # another submission of the same key was faster
        known = await _known(conn, output, request)
        assert known is not None  # the conflict showed it
        return known, False
    task = Task.model_validate(dict(row))
    await conn.execute("INSERT INTO task_output (task_id, dataset_id) VALUES ($1, $2)", task.id, target.id)
    if source:
        await conn.execute("INSERT INTO task_input (task_id, dataset_id) VALUES ($1, $2)", task.id, source.id)
    await take_stock(conn, task)
    await conn.execute("SELECT pg_notify('prodchain_work', 'generate')")
    return task, True


async def take_stock(conn: Connection, task: Task) -> None:
    """Note the files that are in the input; those that come later are noted by hooks.consume."""
    if task.input_id is None:
        return
    # Whoever adds a file holds the dataset: either the file is seen here, or the task is seen there. Whoever deletes
    # the dataset, too.
    datasets.refuse_deleted(await datasets.by_id(conn, task.input_id, lock=True))
    await conn.execute(
        """
        INSERT INTO task_file (task_id, file_id)
        SELECT $1, file_id FROM dataset_file WHERE dataset_id = $2 ORDER BY file_id ON CONFLICT DO NOTHING
        """,
        task.id,
        task.input_id,
    )


async def _known(conn: Connection, output: Did, request: TaskRequest) -> Task | None:
    row = await conn.fetchrow("SELECT * FROM task WHERE key = $1", str(output))
    if row is None:
        return None
    task = Task.model_validate(dict(row))
    before, new = TaskRequest.model_validate(task.request).content(), request.content()
    different = sorted(name for name in new if new[name] != before[name])
    if different:
        what = "; ".join(f"{name}: {before[name]!r} then, {new[name]!r} now" for name in different)
        raise TaskConflict(
            f"task {task.id} makes {output} from another request ({what})",
            object=str(output),
            hint="repeat the request unchanged, or give the output another name (a new tag)",
        )
    return task


async def _input(conn: Connection, text: str) -> Dataset:
    dataset = await datasets.get(conn, *parse_versioned(text))
    datasets.refuse_deleted(dataset)
    if dataset.kind == DatasetKind.CONTAINER:
        raise BadRequest(
            f"{text} is a container",
            object=text,
            hint="submit a task for each dataset in it: `prodchain dataset show` lists them",
        )
    if dataset.kind in BOOKKEEPING:
        raise BadRequest(
            f"{text} is a {dataset.kind} dataset, which the system removes when it is over",
            object=text,
            hint="name the dataset whose files it has",
        )
    return dataset


async def _output_dataset(conn: Connection, output: Did, owner: str) -> Dataset:
    dataset = await datasets.create(conn, output, DatasetKind.PRODUCTION, owner)
    if dataset.state != "open" or dataset.files:
        raise TaskConflict(
            f"the dataset {output} exists, with {dataset.files} files that no task made",
            object=str(output),
            hint="give the output another name (a new tag)",
        )
    return dataset


async def _destination(conn: Connection, name: str | None) -> int:
    row = await conn.fetchrow("SELECT id, name, writable FROM storage WHERE name = $1 OR ($1 IS NULL AND home)", name)
    if row is None:
        names = [r["name"] for r in await conn.fetch("SELECT name FROM storage ORDER BY name")]
        raise BadRequest(
            f"there is no storage {name}" if name else "no home storage is configured",
            object=f"storage {name}" if name else "sites",
            hint=f"known storages: {', '.join(names) or 'none'}; see `prodchain site apply --help`",
        )
    if not row["writable"]:
        raise BadRequest(
            f"the storage {row['name']} takes no new files",
            object=f"storage {row['name']}",
            hint="choose another destination, or make it writable in the sites file",
        )
    return int(row["id"])


async def refuse_to_close(conn: Connection, dataset_id: int, did: str) -> None:
    """Raises WrongState while a task that is not done fills the dataset: its jobs could not register any more."""
    task = await conn.fetchrow("SELECT id, state FROM task WHERE output_id = $1 AND state <> 'done'", dataset_id)
    if task is not None:
        raise WrongState(
            f"{did} is made by task {task['id']}, which is {task['state']}",
            object=did,
            hint=f"it closes by itself when the task is done; see `prodchain task why {task['id']}`",
        )


async def kill(conn: Connection, task_id: int, actor: str, reason: str) -> Task:
    """Abort a task and cancel its jobs; a final task stays as it is.

    Jobs that wait for brokerage may be very many: those beyond a bunch are cancelled by the sweep (watching).
    """
    task = await get(conn, task_id, lock=True)
    if task.state in TASK_FINAL:
        return task
    rows = await conn.fetch(
        """
        SELECT id FROM job WHERE task_id = $1 AND state = ANY($2)
        UNION ALL (SELECT job_id FROM unplaced WHERE task_id = $1 ORDER BY job_id LIMIT $3)
        """,
        task_id,
        [state for state in (*WAITING, *ON_PILOT) if state != JobState.DEFINED],
        BUNCH,
    )
    await cancel(conn, [row["id"] for row in rows], actor, f"task {task_id} was killed: {reason}")
    return await move(conn, task_id, TaskState.ABORTED, actor, reason)


async def retry(conn: Connection, task_id: int, actor: str) -> Task:
    """Give every piece of work that failed for good (or was cancelled) a new attempt.

    What is made stays made, also what still travels: a piece has one attempt in the output dataset at most.
    """
    task = await get(conn, task_id, lock=True)
    if task.state not in (TaskState.FAILED, TaskState.FINISHED, TaskState.ABORTED):
        raise WrongState(
            f"task {task_id} is {task.state}: there is nothing to retry",
            object=f"task {task_id}",
            hint="retry works on failed, finished (partly) and aborted tasks",
        )
    for dataset_id in filter(None, (task.input_id, task.output_id)):
        datasets.refuse_deleted(await datasets.by_id(conn, dataset_id))
    rows = await conn.fetch(
        """
        SELECT DISTINCT ON (number) number, attempt, state, work, priority FROM job
        WHERE task_id = $1 ORDER BY number, attempt DESC
        """,
        task_id,
    )
    lost = [(Work.load(row["work"]), row["attempt"] + 1) for row in rows if row["state"] in LOST]
    requirement = await requirements.find(conn, requirements.of_ask(ask_of(task)))
    for start in range(0, len(lost), BUNCH):
        bunch = lost[start : start + BUNCH]
        await define(
            conn, task_id, bunch, requirement=requirement, priority=task.priority, actor=actor, reason="task retry"
        )
    await conn.execute("SELECT pg_notify('prodchain_work', 'generate')")
    return await move(conn, task_id, TaskState.RUNNING, actor, f"retry of {len(lost)} jobs")


async def move(conn: Connection, task_id: int, state: TaskState, actor: str, reason: str) -> Task:
    """Change the state; the event is written by the database."""
    row = await one(
        conn,
        "UPDATE task SET state = $2, actor = $3, reason = $4, changed_at = now() WHERE id = $1 RETURNING *",
        task_id,
        state,
        actor,
        reason,
    )
    return Task.model_validate(dict(row))
