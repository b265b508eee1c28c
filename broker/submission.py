"""Tasks from requests: once whatever is repeated, with the datasets that they read and fill."""

from collections.abc import Sequence

from prodchain.catalog import containers, datasets
from prodchain.catalog.models import BOOKKEEPING, Dataset, DatasetKind
from prodchain.catalog.names import Did, parse_did, parse_versioned

from . import bytequotas, merging, shares
from .database import Connection, wake
from .errors import BadRequest, TaskConflict
from .models import Task
from .requests import TEMPLATE_FIELDS, TaskRequest, check_command
from .workquotas import SYSTEM

CANARY = "canary"
"""The step of tasks that try queues out: they are judged by themselves, and stand in no list."""

_INSERT = """
INSERT INTO task (key, step, owner, request, run, priority, input_id, output_id, destination_id, group_name, activity,
                  actor, reason, parent_id, share_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)
ON CONFLICT (key) DO NOTHING RETURNING *
"""
_PLACES = "SELECT name FROM site UNION SELECT name FROM queue ORDER BY 1"


async def submit(
    conn: Connection, request: TaskRequest, owner: str, kind: DatasetKind = DatasetKind.PRODUCTION
) -> tuple[Task, bool]:
    """Make the task, or find the one that was made of the same request before; says which.

    Raises TaskConflict where an output dataset belongs to other work, DatasetNotFound for an unknown input.
    """
    output = parse_did(request.output)
    known = await _known(conn, output, request)
    if known is not None:
        return known, False
    if request.step == CANARY and owner != SYSTEM:
        raise BadRequest(
            f"the step {CANARY} is the system's own: its tasks try queues out",
            object="step",
            hint="give the step another name; `prodchain queue test QUEUE` tries a queue out",
        )
    _refuse_nameless(request)
    source, parts = await _input(conn, request.input) if request.input else (None, [])
    beside = {name: await _secondary(conn, name, wanted.dataset) for name, wanted in request.secondary.items()}
    destination = await _destination(conn, request.destination)
    await known_places(conn, request.sites)
    charged = bytequotas.account_of(owner, request.group) if request.group else None
    target = await _output_dataset(conn, output, output, owner, kind, charged)
    task = await _insert(
        conn,
        request,
        key=str(output),
        owner=owner,
        source=source,
        target=target,
        destination=destination,
        actor=f"user:{owner}",
        reason="submitted",
        share=await shares.leaf_of(conn, request, owner),
    )
    if task is None:  # another submission of the same key was faster
        known = await _known(conn, output, request)
        assert known is not None  # the conflict showed it
        return known, False
    filled = {"": await merging.unmerged(conn, target) if request.merge else target}
    for name, text in request.outputs.items():
        filled[name] = await _output_dataset(conn, parse_did(text), output, owner, kind, charged)
    await fills(conn, task, filled)
    await reads(conn, task, parts)
    for name, dataset in beside.items():
        await reads(conn, task, [dataset], name)
    if request.merge:
        await _merge(conn, task, request, filled[""], target)
    await wake(conn, "generate")
    return task, True


def _refuse_nameless(request: TaskRequest) -> None:
    """Asked of new tasks only: what was taken before is still read."""
    if "output" not in check_command(request.command, (*TEMPLATE_FIELDS, *request.outputs, *request.secondary)):
        raise BadRequest(
            f"the command of {request.step} does not name {{output}}: each attempt of a job writes another file",
            object="command",
            hint="put {output} where the program gets the name of the file that it is to write",
        )


async def _merge(conn: Connection, parent: Task, request: TaskRequest, small: Dataset, target: Dataset) -> None:
    """The task that makes larger files of its parent's small outputs."""
    child = merging.request_of(request, small)
    task = await _insert(
        conn,
        child,
        key=merging.key_of(parent),
        owner=parent.owner,
        source=small,
        target=target,
        destination=parent.destination_id,
        actor=parent.actor,
        reason=f"merges the outputs of task {parent.id}",
        share=parent.share_id,
        parent=parent.id,
    )
    assert task is not None  # the key has the parent's in it, which is new
    await fills(conn, task, {"": target})
    await reads(conn, task, [small])


async def _insert(
    conn: Connection,
    request: TaskRequest,
    *,
    key: str,
    owner: str,
    source: Dataset | None,
    target: Dataset,
    destination: int,
    actor: str,
    reason: str,
    share: int,
    parent: int | None = None,
) -> Task | None:
    """The task of the request; None if there is one of that key."""
    row = await conn.fetchrow(
        _INSERT,
        key,
        request.step,
        owner,
        request.model_dump(),
        request.run,
        request.priority,
        source.id if source else None,
        target.id,
        destination,
        request.group,
        request.activity,
        actor,
        reason,
        parent,
        share,
    )
    return None if row is None else Task.model_validate(dict(row))


async def fills(conn: Connection, task: Task, filled: dict[str, Dataset]) -> None:
    """Note which datasets the task's jobs fill from now on, by role."""
    await conn.execute(
        """
        INSERT INTO task_output (task_id, role, dataset_id) SELECT $1, * FROM unnest($2::text[], $3::bigint[])
        ON CONFLICT (task_id, role) DO UPDATE SET dataset_id = excluded.dataset_id
        """,
        task.id,
        list(filled),
        [dataset.id for dataset in filled.values()],
    )


async def reads(conn: Connection, task: Task, sources: Sequence[Dataset], role: str = "") -> None:
    """Note datasets that the task's jobs read, and the files that are in what is worked through.

    Files that come later are noted by hooks.consume.
    """
    ids = sorted(dataset.id for dataset in sources if dataset.id is not None)
    await conn.execute(
        """
        INSERT INTO task_input (task_id, role, dataset_id) SELECT $1, $2, * FROM unnest($3::bigint[])
        ON CONFLICT DO NOTHING
        """,
        task.id,
        role,
        ids,
    )
    if role:
        return
    for dataset_id in ids:
        # Whoever adds a file holds the dataset: either the file is seen here, or the task is seen there. Whoever
        # deletes the dataset, too.
        datasets.refuse_deleted(await datasets.by_id(conn, dataset_id, lock=True))
        await conn.execute(
            """
            INSERT INTO task_file (task_id, file_id, dataset_id)
            SELECT $1, file_id, $2 FROM dataset_file WHERE dataset_id = $2 ORDER BY file_id ON CONFLICT DO NOTHING
            """,
            task.id,
            dataset_id,
        )


async def parts_of(conn: Connection, source: Dataset) -> list[Dataset]:
    """The datasets whose files are worked through: the one itself, or all that a container has at any depth."""
    if source.kind != DatasetKind.CONTAINER:
        return [source]
    assert source.id is not None
    parts = [await datasets.by_id(conn, part) for part in await containers.below(conn, source.id)]
    for part in parts:
        datasets.refuse_deleted(part)
    if not parts:
        raise BadRequest(
            f"the container {datasets.versioned(source)} has no datasets",
            object=datasets.versioned(source),
            hint=f"put some in: `prodchain container add {datasets.versioned(source)} DATASET`",
        )
    return parts


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


async def _input(conn: Connection, text: str) -> tuple[Dataset, list[Dataset]]:
    source = await _readable(conn, text)
    return source, await parts_of(conn, source)


async def _secondary(conn: Connection, name: str, text: str) -> Dataset:
    dataset = await _readable(conn, text)
    if dataset.kind == DatasetKind.CONTAINER:
        raise BadRequest(
            f"the secondary input {name} is the container {text}",
            object=text,
            hint="name one dataset, whose files are handed out in turn",
        )
    return dataset


async def _readable(conn: Connection, text: str) -> Dataset:
    dataset = await datasets.get(conn, *parse_versioned(text))
    datasets.refuse_deleted(dataset)
    if dataset.kind in BOOKKEEPING:
        raise BadRequest(
            f"{text} is a {dataset.kind} dataset, which the system removes when it is over",
            object=text,
            hint="name the dataset whose files it has",
        )
    return dataset


async def _output_dataset(
    conn: Connection, output: Did, key: Did, owner: str, kind: DatasetKind, charged: str | None
) -> Dataset:
    """A dataset that no task fills, and that has nothing in it, for the task of that key."""
    dataset = await datasets.create(conn, output, kind, owner)
    assert dataset.id is not None
    dataset = await datasets.by_id(conn, dataset.id, lock=True)
    # A task that has the key already is this one: another submission of it was faster.
    maker = await conn.fetchval(
        "SELECT min(id) FROM task WHERE key <> $2 AND id IN (SELECT task_id FROM task_output WHERE dataset_id = $1)",
        dataset.id,
        str(key),
    )
    if maker is not None or dataset.state != "open" or dataset.files:
        raise TaskConflict(
            f"the dataset {output} exists, "
            + (f"task {maker} fills it" if maker else f"with {dataset.files} files that no task made"),
            object=str(output),
            hint="give the output another name (a new tag)",
        )
    return await datasets.charge(conn, dataset, charged)


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


async def known_places(conn: Connection, names: Sequence[str]) -> None:
    """Raises BadRequest for a name that is neither a site nor a queue."""
    if not names:
        return
    known = [row["name"] for row in await conn.fetch(_PLACES)]
    strange = [name for name in names if name not in known]
    if strange:
        raise BadRequest(
            f"there is no site or queue {strange[0]}",
            object=f"site {strange[0]}",
            hint=f"known are {', '.join(known) or 'none'}; see `prodchain site ls`",
        )
