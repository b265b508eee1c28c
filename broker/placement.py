"""From decisions to facts: assignments with their verdicts, dispatch datasets, holds, and what the pilot will get."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from prodchain.catalog import datasets, files, holds, subscriptions
from prodchain.catalog.models import DatasetKind
from prodchain.catalog.names import Did, dispatch_name, parse_did

from . import requirements, workquotas
from .asks import ask_of
from .brokerage import plugins
from .brokerage.decide import decide
from .brokerage.facts import Decision, Need, Offer
from .brokerage.record import Round
from .bunches import Bunch, Pace
from .database import Connection, one, wake
from .decisions import Keeper
from .jobs import release_holder
from .models import Task
from .offers import offers
from .states import TaskState
from .texts import array, lines

BUNCH = 2000
"""Jobs of one task placed in one transaction."""
DISPATCH_FILES = 500
"""Files of a dispatch dataset: few enough that its progress says something, and that it is over soon."""
DISPATCH_BYTES = 200 * 10**9
"""Its bytes: minutes to hours on a link of a grid. Jobs do not wait for all of it, but start file by file."""
PLACING = (TaskState.READY, TaskState.SCOUTING, TaskState.RUNNING)


@dataclass
class Outcome:
    """What became of a task's jobs: how many were placed, what was decided, the queues before and after it."""

    placed: int = 0
    decisions: list[tuple[Need, Decision]] = field(default_factory=list)
    before: list[Offer] = field(default_factory=list)
    offers: list[Offer] = field(default_factory=list)


class Waiting(NamedTuple):
    """A task with jobs to place: the newest of them, and a mark that changes with the task's row."""

    id: int
    newest: int
    version: str


async def waiting(conn: Connection) -> list[Waiting]:
    """Tasks that the brokerage may be asked about; throttled ones wait on, for their owner has no room for them."""
    return await _unplaced(conn, PLACING, throttled=False)


async def tasks_with_unplaced(conn: Connection, states: Sequence[TaskState]) -> list[int]:
    """Tasks in one of the states that have jobs to place."""
    return [task.id for task in await _unplaced(conn, states, throttled=True)]


async def _unplaced(conn: Connection, states: Sequence[TaskState], *, throttled: bool) -> list[Waiting]:
    """Hops over the index, however many jobs each task has.

    All of them: the first thousand may wait for what does not come, and others could run.
    """
    rows = await conn.fetch(
        """
        WITH RECURSIVE waiting AS (
            SELECT min(task_id) AS id FROM unplaced
            UNION ALL
            SELECT (SELECT min(u.task_id) FROM unplaced u WHERE u.task_id > w.id) FROM waiting w
            WHERE w.id IS NOT NULL
        )
        SELECT t.id, (SELECT max(job_id) FROM unplaced u WHERE u.task_id = t.id) AS newest, t.xmin::text AS version
        FROM waiting JOIN task t USING (id)
        WHERE t.state = ANY($1) AND ($2 OR NOT t.ending AND t.throttled = '')
        ORDER BY t.priority DESC, t.id
        """,
        states,
        throttled,
    )
    return [Waiting(**dict(row)) for row in rows]


async def place(conn: Connection, task_id: int, pace: Pace) -> Outcome:
    """Give the task's unplaced jobs to queues. One transaction of the caller."""
    # The task first: a kill either sees the jobs placed here, or is seen here.
    row = await conn.fetchrow(
        "SELECT * FROM task WHERE id = $1 AND state = ANY($2) AND throttled = '' AND NOT ending FOR SHARE",
        task_id,
        PLACING,
    )
    if row is None:
        return Outcome()
    task = Task.model_validate(dict(row))
    bunch = await _bunch(conn, task, pace)
    if not bunch.jobs:
        return Outcome()
    outcome, known = await _decided(conn, bunch, task)
    keeper = Keeper(conn, task_id, known)
    for _, decision in outcome.decisions:
        assignment = await keeper.keep(decision)
        if decision.queue is not None:
            await _assign(conn, bunch, decision, assignment)
            outcome.placed += len(decision.jobs)
    return outcome


async def preview(conn: Connection, task: Task, pace: Pace) -> Outcome:
    """Where the task's first jobs would go; nothing is done."""
    bunch = await _bunch(conn, task, pace)
    if not bunch.jobs:
        return Outcome()
    return (await _decided(conn, bunch, task))[0]


async def _decided(conn: Connection, bunch: Bunch, task: Task) -> tuple[Outcome, Round]:
    """The decisions, and all that they rest on."""
    start = await offers(conn)
    rules, names = plugins.installed()
    cores = await workquotas.room(conn, task.owner, task.group_name)
    outcome = Outcome(before=start, offers=start)
    needs = []
    for need in bunch.needs(task):
        if cores is not None:
            need = replace(need, room=cores // need.cores)  # noqa: PLW2901
        needs.append(need)
        decisions, outcome.offers = decide(need, outcome.offers, rules)
        outcome.decisions += [(need, decision) for decision in decisions]
        if cores is not None:
            cores -= need.cores * sum(len(made.jobs) for made in decisions if made.queue is not None)
    return outcome, Round(tuple(needs), tuple(start), names)


async def _bunch(conn: Connection, task: Task, pace: Pace) -> Bunch:
    """The task's next jobs, kept to this transaction; no copy of their inputs arrives until it is over."""
    rows = await conn.fetch(
        "SELECT job_id FROM unplaced WHERE task_id = $1 ORDER BY job_id LIMIT $2 FOR UPDATE SKIP LOCKED",
        task.id,
        BUNCH,
    )
    ids = [row["job_id"] for row in rows]
    if ids and _reads(task):
        used = await conn.fetch("SELECT DISTINCT file_id FROM job_input WHERE job_id = ANY($1)", ids)
        await files.lock(conn, [row["file_id"] for row in used])
    return await bunch_of(conn, task, ids, pace)


def _reads(task: Task) -> bool:
    """Whether its jobs read files; those of others are not looked for, job by job."""
    return task.input_id is not None or bool(ask_of(task).secondary)


async def bunch_of(conn: Connection, task: Task, ids: Sequence[int], pace: Pace) -> Bunch:
    """Jobs of the task as the brokerage sees them."""
    rows = await conn.fetch(
        """
        SELECT id, number, attempt, (work ->> 'events')::bigint AS events, (work ->> 'seed')::bigint AS seed,
               (work ->> 'skip')::bigint AS skip, (work ->> 'first_event')::bigint AS first_event,
               nullif(work -> 'files', '[]') AS files, work -> 'secondary' AS secondary,
               requirement_id, nullif(avoid, '[]') AS avoid
        FROM job WHERE id = ANY($1::text::bigint[]) ORDER BY id
        """,
        array(ids),
    )
    inputs = await _inputs(conn, ids) if rows and _reads(task) else {}
    needs = await requirements.get_many(conn, {row["requirement_id"] for row in rows})
    jobs = {row["id"]: row for row in rows}
    assert task.id is not None
    return Bunch(task.id, ask_of(task), jobs, needs, inputs, await _outputs(conn, task), pace)


async def _outputs(conn: Connection, task: Task) -> dict[str, str]:
    """By role: the name of the dataset that the jobs fill."""
    rows = await conn.fetch(
        "SELECT o.role, d.name FROM task_output o JOIN dataset d ON d.id = o.dataset_id WHERE o.task_id = $1"
        " ORDER BY o.role",
        task.id,
    )
    return {row["role"]: row["name"] for row in rows}


async def _inputs(conn: Connection, ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    """By job: its input files, each with the storages that have it."""
    rows = await conn.fetch(
        """
        SELECT i.job_id, f.id, f.scope, f.name, f.bytes, f.adler32,
               array(SELECT storage_id FROM replica r WHERE r.file_id = f.id ORDER BY 1) AS storages
        FROM job_input i JOIN file f ON f.id = i.file_id WHERE i.job_id = ANY($1) ORDER BY f.name
        """,
        ids,
    )
    result: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        result[row["job_id"]].append(dict(row))
    return result


async def _assign(conn: Connection, bunch: Bunch, decision: Decision, assignment: int) -> None:
    storage = await one(
        conn,
        "SELECT s.id, s.name, s.url FROM queue q JOIN storage s ON s.id = q.storage_id WHERE q.id = $1",
        decision.queue,
    )
    waits: dict[int, holds.NewHold] = {}
    for jobs, dispatch in await _dispatch(conn, bunch, decision, assignment, storage["id"]):
        waits |= {
            job: holds.NewHold(
                release_holder(job), storage["id"], [file["id"] for file in bunch.inputs[job]], dispatch
            )
            for job in jobs
        }
    missing = await holds.place_many(conn, list(waits.values())) if waits else {}
    late = {job for job, hold in waits.items() if missing.get(hold.holder)}
    # One row version for each job: where nothing is missing, its story has been assigned and activated all the same.
    await conn.execute(
        """
        UPDATE job j SET state = CASE WHEN new.waits THEN 'assigned' ELSE 'activated' END,
               reason = CASE WHEN new.waits THEN $3 ELSE 'all inputs are at ' || $4 END,
               queue_id = $1, assignment_id = $2, spec = new.spec::json, actor = 'brokerage', changed_at = now()
        FROM unnest($5::text::bigint[], $6::text::bool[], string_to_array($7, E'\\n')) AS new (id, waits, spec)
        WHERE j.id = new.id
        """,
        decision.queue,
        assignment,
        decision.reason,
        storage["name"],
        array(decision.jobs),
        array(job in late for job in decision.jobs),
        lines(bunch.specs(decision.jobs, storage["url"])),
    )


async def _dispatch(
    conn: Connection, bunch: Bunch, decision: Decision, assignment: int, storage: int
) -> list[tuple[list[int], int | None]]:
    """The jobs with inputs in parts, each with the dataset of what the storage lacks for it, subscribed there."""
    output = parse_did(bunch.request.output)
    parts: list[tuple[list[int], int | None]] = []
    for jobs, lacking in _parts(bunch, decision.jobs, storage):
        if not lacking:
            parts.append((jobs, None))
            continue
        # The first is named after its assignment, further ones after numbers that no assignment will have.
        number = assignment if not any(known for _, known in parts) else await _number(conn)
        did = Did(output.scope, dispatch_name(output.name, number))
        dataset = await datasets.create(conn, did, DatasetKind.DISPATCH, "prodchain")
        assert dataset.id is not None
        await datasets.add_files(conn, dataset.id, sorted(lacking))
        await datasets.close(conn, dataset.id)
        await subscriptions.subscribe(conn, dataset.id, storage)
        parts.append((jobs, dataset.id))
    if any(dataset for _, dataset in parts):
        await wake(conn, "move")
    return parts


async def _number(conn: Connection) -> int:
    number: int = await conn.fetchval("SELECT nextval(pg_get_serial_sequence('assignment', 'id'))")
    return number


def _parts(bunch: Bunch, jobs: Sequence[int], storage: int) -> Iterator[tuple[list[int], dict[int, int]]]:
    """Successive jobs, and the files with their bytes that the storage lacks for them, as many as a dataset takes."""
    taken: list[int] = []
    lacking: dict[int, int] = {}
    total = 0
    for job in jobs:
        if job not in bunch.inputs:
            continue
        needs = {file["id"]: file["bytes"] for file in bunch.inputs[job] if storage not in file["storages"]}
        new = {file: size for file, size in needs.items() if file not in lacking}
        if lacking and (len(lacking) + len(new) > DISPATCH_FILES or total + sum(new.values()) > DISPATCH_BYTES):
            yield taken, lacking
            taken, lacking, total, new = [], {}, 0, needs
        taken.append(job)
        lacking |= new
        total += sum(new.values())
    if taken:
        yield taken, lacking
