"""Jobs from tasks: as input files appear while the input is open, the rest when it closes."""

from typing import NamedTuple

from . import jobs, requirements, standins
from .asks import ask_of
from .database import Connection, wake
from .errors import BadRequest
from .models import Task
from .requests import MAX_JOBS, TaskRequest
from .splitting import FILES, InputFile, Limits, Split, Work, in_turn, split_events, split_files
from .states import TaskState
from .tasks import get, move

BUNCH = 5000
"""Pieces made in one transaction, and files looked at."""
LEFT = 50_000
"""Files looked at in one transaction where each dataset is split for itself and may keep some back."""
ACTOR = "generation"
OPEN = (TaskState.REGISTERED, TaskState.READY, TaskState.SCOUTING, TaskState.RUNNING)

# The states are spelt out, so that the partial index task_open serves.
_GROWING = """
SELECT t.id FROM task t LEFT JOIN task p ON p.id = t.parent_id
WHERE t.state IN ('registered', 'ready', 'scouting', 'running') AND NOT t.generated AND NOT t.ending
  AND t.throttled = '' AND (
    t.state = 'registered'
    OR NOT (t.state = 'scouting' AND t.numbers >= (t.request ->> 'scouts')::int)
    AND NOT EXISTS (SELECT FROM task_input i JOIN dataset d ON d.id = i.dataset_id
                    WHERE i.task_id = t.id AND i.role <> '' AND d.state = 'open')
    AND (p.state IN ('merging', 'done', 'finished', 'failed', 'aborted')
         OR NOT EXISTS (SELECT FROM task_input i JOIN dataset d ON d.id = i.dataset_id
                        WHERE i.task_id = t.id AND i.role = '' AND d.state = 'open')
         OR EXISTS (SELECT FROM task_file f WHERE f.task_id = t.id AND NOT f.used)))
ORDER BY t.priority DESC, t.id
"""
_SOURCES = """
SELECT i.dataset_id, d.state = 'open' AND (
    p.id IS NULL OR p.state NOT IN ('merging', 'done', 'finished', 'failed', 'aborted')) AS growing
FROM task_input i JOIN dataset d ON d.id = i.dataset_id
JOIN task t ON t.id = i.task_id LEFT JOIN task p ON p.id = t.parent_id
WHERE i.task_id = $1 AND i.role = ''
"""
# Of what has left its dataset (an output that was lost on its way) no pieces are made.
_THERE = "EXISTS (SELECT FROM dataset_file m WHERE m.dataset_id = u.dataset_id AND m.file_id = u.file_id)"
_NEW = f"""
SELECT f.id, f.events, f.bytes, u.dataset_id, f.name, u.taken, {_THERE}
FROM (SELECT * FROM task_file WHERE task_id = $1 AND NOT used ORDER BY dataset_id, file_id LIMIT $2) u
JOIN file f ON f.id = u.file_id
"""  # noqa: S608
# Datasets that are closed first: of the others a part may be kept back, and must not be all that is looked at.
_NEW_BY_DATASET = f"""
SELECT f.id, f.events, f.bytes, u.dataset_id, f.name, u.taken, {_THERE}
FROM (
    SELECT u.* FROM task_input i JOIN dataset d ON d.id = i.dataset_id CROSS JOIN LATERAL (
        SELECT * FROM task_file WHERE task_id = $1 AND dataset_id = i.dataset_id AND NOT used
        ORDER BY file_id LIMIT $2
    ) u
    WHERE i.task_id = $1 AND i.role = '' ORDER BY d.state = 'open', i.dataset_id, u.file_id LIMIT $3
) u JOIN file f ON f.id = u.file_id
"""  # noqa: S608
_USED = """
UPDATE task_file u SET used = new.taken IS NULL, taken = coalesce(new.taken, u.taken)
FROM unnest($2::bigint[], $3::bigint[]) AS new (file_id, taken) WHERE u.task_id = $1 AND u.file_id = new.file_id
"""
_BESIDE = """
SELECT i.role, array_agg(m.file_id ORDER BY f.name, f.id) FILTER (WHERE m.file_id IS NOT NULL) AS files
FROM task_input i LEFT JOIN dataset_file m ON m.dataset_id = i.dataset_id LEFT JOIN file f ON f.id = m.file_id
WHERE i.task_id = $1 AND i.role <> '' GROUP BY i.role
"""


class _Made(NamedTuple):
    """Pieces, whether there will be more, and how far the events of a task without input are made."""

    works: list[Work]
    generated: bool
    position: int


async def growing_tasks(conn: Connection) -> list[int]:
    """Tasks that may have work to make: found by what there is, so that no news can be lost."""
    return [row["id"] for row in await conn.fetch(_GROWING)]


async def waits_for(conn: Connection, task: Task) -> str | None:
    """Why no jobs are made for now, as a sentence; none if it is for other reasons or they are made."""
    if task.generated or task.ending or task.state not in OPEN:
        return None
    if task.throttled:
        return task.throttled
    if task.state == TaskState.SCOUTING and task.numbers >= ask_of(task).scouts:
        return f"its {task.numbers} scouts are measured first: the other jobs are made as large as they teach"
    names = await conn.fetch(
        """
        SELECT i.role, d.scope || ':' || d.name AS did, d.files
        FROM task_input i JOIN dataset d ON d.id = i.dataset_id
        WHERE i.task_id = $1 AND d.state = 'open' ORDER BY i.role DESC, d.name
        """,
        task.id,
    )
    for row in names:
        if row["role"]:
            return (
                f"its secondary input {row['role']} ({row['did']}, {row['files']} files) is open: its files are"
                f" handed out when it is closed (`prodchain dataset close {row['did']}`)"
            )
        if task.parent_id is not None:
            return f"not enough small outputs wait in {row['did']} for one more merged file"
        return f"its input {row['did']} has {row['files']} files and is open: jobs are made as files join it"
    return None


async def generate(conn: Connection, task_id: int) -> int:
    """Make the jobs that the task's input allows now; returns their number. One transaction of the caller."""
    task = await _kept(conn, task_id)
    if task is None or task.state not in OPEN or task.generated or task.ending or task.throttled:
        return 0
    ask = ask_of(task)
    if task.state == TaskState.REGISTERED:
        task = await move(conn, task_id, TaskState.READY, ACTOR, "accepted")
    try:
        made = await _make(conn, task, ask)
    except BadRequest as error:  # it would be so at every try
        await move(conn, task_id, TaskState.FAILED, ACTOR, str(error))
        return 0
    if made.works:
        await _define(conn, task, ask, made.works)
    if made.works or made.generated:
        await conn.execute(
            "UPDATE task SET numbers = $2, generated = $3, position = $4 WHERE id = $1",
            task_id,
            task.numbers + len(made.works),
            made.generated,
            made.position,
        )
    if made.generated:
        await wake(conn, "close")
    return len(made.works)


async def _kept(conn: Connection, task_id: int) -> Task | None:
    """The task, kept to this transaction; none if another one makes its jobs.

    Without input its jobs are made while those before them are placed, which only its row's last update waits for;
    with input pieces that are not placed yet may be changed (standins).
    """
    if not await conn.fetchval("SELECT pg_try_advisory_xact_lock(hashtext($1))", f"prodchain generate {task_id}"):
        return None
    row = await conn.fetchrow("SELECT * FROM task WHERE id = $1 AND input_id IS NULL FOR SHARE", task_id)
    return Task.model_validate(dict(row)) if row else await get(conn, task_id, lock=True)


async def _make(conn: Connection, task: Task, ask: TaskRequest) -> _Made:
    """The next pieces; of a task with scouts only these, until they have been measured."""
    most = BUNCH
    if task.state == TaskState.SCOUTING or (task.state == TaskState.READY and ask.scouts):
        most = min(BUNCH, ask.scouts - task.numbers)
    secondary = await _secondary(conn, task, ask)
    if most <= 0 or secondary is None:
        return _Made([], False, task.position)
    made = await _from_input(conn, task, ask, most) if task.input_id else _from_nothing(task, ask, most)
    if not secondary:
        return made
    works = [_with(work, ask, secondary) for work in made.works]
    return made._replace(works=works)


def _with(work: Work, ask: TaskRequest, secondary: dict[str, list[int]]) -> Work:
    beside = {
        name: in_turn(files, ask.secondary[name].files_per_job, work.number) for name, files in secondary.items()
    }
    return work._replace(secondary=beside)


async def _secondary(conn: Connection, task: Task, ask: TaskRequest) -> dict[str, list[int]] | None:
    """The files of each secondary input; none while one of them may still grow."""
    if not ask.secondary:
        return {}
    if await conn.fetchval(
        """
        SELECT EXISTS (SELECT FROM task_input i JOIN dataset d ON d.id = i.dataset_id
                       WHERE i.task_id = $1 AND i.role <> '' AND d.state = 'open')
        """,
        task.id,
    ):
        return None
    files = {row["role"]: row["files"] or [] for row in await conn.fetch(_BESIDE, task.id)}
    for name, wanted in ask.secondary.items():
        if len(files[name]) < wanted.files_per_job:
            raise BadRequest(
                f"its secondary input {name} ({wanted.dataset}) has {len(files[name])} files, and each job wants"
                f" {wanted.files_per_job}",
                object=wanted.dataset,
                hint="submit the task again with fewer files for each job, and another output name",
            )
    return files


def _from_nothing(task: Task, ask: TaskRequest, most: int) -> _Made:
    works = split_events(
        ask.events,
        events_per_job=ask.events_per_job,
        jobs=ask.jobs,
        first_event=ask.first_event,
        seed=ask.seed,
        start=task.numbers,
        position=task.position,
        most=most,
    )
    if ask.events is None:
        position, end = task.position + len(works), ask.jobs or 0
    else:
        position, end = task.position + sum(work.events for work in works), ask.events
    return _Made(works, position >= end, position)


async def _from_input(conn: Connection, task: Task, ask: TaskRequest, most: int) -> _Made:
    limits = Limits.of(ask.files_per_job, ask.bytes_per_job, ask.events_per_job, ask.boundary)
    # The states are read first: files seen after a dataset was seen closed are all its files.
    sources = {row["dataset_id"]: row["growing"] for row in await conn.fetch(_SOURCES, task.id)}
    look = max(BUNCH, FILES + 1 if (limits.files, limits.events) == (None, None) else limits.files or 1)
    rows = await _new_files(conn, task, limits, look)
    if await standins.stand_in(conn, task.id or 0, [file for file, _ in rows]):
        rows = await _new_files(conn, task, limits, look)
    files = [file for file, there in rows if there]
    _refuse_too_many(task, files, ask.events_per_job)
    growing, all_seen = _growing([file for file, _ in rows], sources, limits, look)
    split = split_files(files, limits, seed=ask.seed, start=task.numbers, growing=growing, most=most)
    await _note_used(conn, task, split)
    whole = all_seen and not any(sources.values()) and len(split.used) == len(files)
    return _Made(split.works, whole, task.position)


async def _new_files(conn: Connection, task: Task, limits: Limits, look: int) -> list[tuple[InputFile, bool]]:
    """Files that are in no piece to their last event, each with whether it is in its dataset still."""
    if limits.boundary == "dataset":
        rows = await conn.fetch(_NEW_BY_DATASET, task.id, look, LEFT)
    else:
        rows = await conn.fetch(_NEW, task.id, look)
    return [(InputFile(*file), there) for *file, there in rows]


def _refuse_too_many(task: Task, files: list[InputFile], events_per_job: int | None) -> None:
    """Raises BadRequest where the pieces would fill the database."""
    if events_per_job is None or not files:
        return
    largest = max(files, key=lambda file: file.events)
    pieces = -(-largest.events // events_per_job)
    if task.numbers + pieces > MAX_JOBS:
        raise BadRequest(
            f"file {largest.id} has {largest.events} events: {pieces} jobs of {events_per_job}, and a task has"
            f" {MAX_JOBS} at most",
            object=f"file {largest.id}",
            hint="submit the task again with a larger events_per_job and another output name",
        )


def _growing(files: list[InputFile], sources: dict[int, bool], limits: Limits, look: int) -> tuple[set[int], bool]:
    """The datasets that may have more files than these, and whether these are all that there are now.

    Raises BadRequest if a piece of unlimited length has too many.
    """
    growing = {dataset for dataset, grows in sources.items() if grows}
    seen: dict[int, int] = {}
    for file in files:
        key = file.dataset if limits.boundary == "dataset" else 0
        seen[key] = seen.get(key, 0) + 1
    cut = {dataset for dataset, number in seen.items() if number >= look}
    if cut and (limits.files, limits.events) == (None, None):
        raise BadRequest(
            f"one job would read more than {FILES} files",
            object="boundary",
            hint="submit the task again with files_per_job or bytes_per_job, and another output name",
        )
    if limits.boundary != "dataset":
        return (set(sources) if cut else growing), not cut
    if len(files) >= LEFT:  # of the last one a part may be missing, of others all
        cut.add(files[-1].dataset)
    return growing | cut, not cut


async def _note_used(conn: Connection, task: Task, split: Split) -> None:
    await conn.execute(
        _USED,
        task.id,
        [*split.used, *split.taken],
        [*([None] * len(split.used)), *split.taken.values()],
    )


async def _define(conn: Connection, task: Task, ask: TaskRequest, works: list[Work]) -> None:
    assert task.id is not None
    scouts = bool(ask.scouts) and task.state != TaskState.RUNNING
    requirement = await requirements.find(conn, requirements.of_ask(ask))
    kind = jobs.Kind(task.id, requirement, task.priority, scouts)
    reason = "a scout: it is measured" if scouts else "work to do"
    await jobs.define(conn, kind, [(work, 1) for work in works], ACTOR, reason)
    if task.state == TaskState.READY:
        if scouts:
            await move(conn, task.id, TaskState.SCOUTING, ACTOR, f"{ask.scouts} jobs run first and are measured")
        else:
            await move(conn, task.id, TaskState.RUNNING, ACTOR, "first jobs made")
