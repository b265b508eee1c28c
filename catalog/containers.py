"""Containers: datasets of datasets, any depth, without cycles; one holds the union of the datasets below it."""

from collections.abc import Sequence
from dataclasses import dataclass

from . import datasets, history, subscriptions, withdrawals
from .connection import Connection
from .datasets import versioned
from .errors import ContainerCycle, DatasetClosed, DatasetConflict, DatasetNotFound
from .models import BOOKKEEPING, Dataset, DatasetKind, DatasetState

# The lock that the trigger dataset_child_added takes: two callers that each add half of a cycle wait here.
LOCK_TREE = "SELECT pg_advisory_xact_lock(hashtext('prodchain containers'))"
# With this lock nobody deletes them meanwhile.
LOCK_CHILDREN = "SELECT * FROM dataset WHERE id = ANY($1::bigint[]) ORDER BY id FOR KEY SHARE"
ABOVE = """
WITH RECURSIVE above (id) AS (
    SELECT $1::bigint
    UNION
    SELECT c.parent_id FROM above JOIN dataset_child c ON c.child_id = above.id
)
SELECT id FROM above WHERE id = ANY($2::bigint[])
"""
ADD = """
INSERT INTO dataset_child (parent_id, child_id) SELECT $1, child.id FROM unnest($2::bigint[]) AS child (id)
ORDER BY child.id
ON CONFLICT DO NOTHING
RETURNING child_id
"""
REMOVE = "DELETE FROM dataset_child WHERE parent_id = $1 AND child_id = ANY($2::bigint[]) RETURNING child_id"
CHILDREN = """
SELECT d.* FROM dataset_child c JOIN dataset d ON d.id = c.child_id
WHERE c.parent_id = $1 AND c.child_id > $2 ORDER BY c.child_id LIMIT $3
"""
PARENTS = """
SELECT d.* FROM dataset_child c JOIN dataset d ON d.id = c.parent_id WHERE c.child_id = $1 ORDER BY d.name, d.scope
"""
TREE = """
WITH RECURSIVE tree (id) AS (
    SELECT $1::bigint
    UNION
    SELECT c.child_id FROM tree JOIN dataset_child c ON c.parent_id = tree.id
)
"""
BELOW = f"{TREE} SELECT d.id FROM tree JOIN dataset d USING (id) WHERE d.kind <> 'container' ORDER BY d.id"  # noqa: S608
TOTALS = f"""
{TREE}
SELECT count(*) AS datasets, coalesce(sum(d.files), 0)::bigint AS files, coalesce(sum(d.bytes), 0)::bigint AS bytes,
       coalesce(sum(d.events), 0)::bigint AS events
FROM tree JOIN dataset d USING (id) WHERE d.kind <> 'container'
"""  # noqa: S608 - text of this module
COMPLETENESS = f"""
{TREE}
SELECT s.name AS storage, s.site, count(*) FILTER (WHERE r.files = d.files) AS datasets,
       sum(r.files)::bigint AS files, sum(r.bytes)::bigint AS bytes
FROM tree JOIN dataset d USING (id) JOIN dataset_replica r ON r.dataset_id = d.id
JOIN storage s ON s.id = r.storage_id
WHERE d.kind <> 'container' AND r.files > 0
GROUP BY s.name, s.site ORDER BY s.name
"""  # noqa: S608 - text of this module


@dataclass(frozen=True)
class Totals:
    """The datasets below a container and the sums over them; a file counts in each dataset that has it."""

    datasets: int
    files: int
    bytes: int
    events: int


@dataclass(frozen=True)
class ContainerCopy:
    """How much of a container a storage has; ``datasets`` counts those that are complete there."""

    storage: str
    site: str
    datasets: int
    files: int
    bytes: int
    complete: bool


async def add(conn: Connection, container_id: int, child_ids: Sequence[int], actor: str = "") -> list[int]:
    """Put datasets and containers into an open container; the ids of those that were not in it.

    Raises DatasetClosed, ContainerCycle, DatasetNotFound; DatasetConflict for what is no container, or is a child
    that goes away by itself; DatasetDeleted.
    """
    container = await _open(conn, container_id)
    rows = await conn.fetch(LOCK_CHILDREN, child_ids)
    children = {row["id"]: Dataset.model_validate(dict(row)) for row in rows}
    for child_id in child_ids:
        if child_id not in children:
            raise DatasetNotFound(
                f"there is no dataset with id {child_id}", object=str(child_id), hint="ask for it by its name"
            )
    for child in children.values():
        datasets.refuse_deleted(child)
        if child.kind in BOOKKEEPING:
            raise DatasetConflict(
                f"{versioned(child)} is a {child.kind} dataset, which the system removes when it is over",
                object=versioned(child),
                hint="put the dataset that it was made for into the container",
            )
    await conn.execute(LOCK_TREE)
    if inside := await conn.fetchval(ABOVE, container_id, child_ids):
        raise _cycle(container, children[inside])
    new = [row["child_id"] for row in await conn.fetch(ADD, container_id, list(child_ids))]
    await subscriptions.adopt(conn, container_id, new)
    await _note(conn, container, actor, "gets", [children[child_id] for child_id in new])
    return new


async def remove(conn: Connection, container_id: int, child_ids: Sequence[int], actor: str = "") -> list[int]:
    """Take children out of an open container; the ids of those that were in it. The datasets stay as they are."""
    container = await _open(conn, container_id)
    gone = [row["child_id"] for row in await conn.fetch(REMOVE, container_id, list(child_ids))]
    rows = await conn.fetch(LOCK_CHILDREN, gone)
    await _note(conn, container, actor, "loses", [Dataset.model_validate(dict(row)) for row in rows])
    await withdrawals.leave(conn, container_id)
    return gone


async def children(conn: Connection, container_id: int, limit: int = 100, after: int = 0) -> list[Dataset]:
    """What is directly in it, in the order of the ids; ``after`` is the last id of the page before."""
    return [Dataset.model_validate(dict(row)) for row in await conn.fetch(CHILDREN, container_id, after, limit)]


async def parents(conn: Connection, dataset_id: int) -> list[Dataset]:
    """The containers that it is directly in."""
    return [Dataset.model_validate(dict(row)) for row in await conn.fetch(PARENTS, dataset_id)]


async def below(conn: Connection, dataset_id: int) -> list[int]:
    """The ids of the datasets with files in it, at any depth, each once; of a plain dataset its own."""
    return [row["id"] for row in await conn.fetch(BELOW, dataset_id)]


async def totals(conn: Connection, dataset_id: int) -> Totals:
    """Sums over the distinct datasets in it, from their counters."""
    return Totals(**dict((await conn.fetch(TOTALS, dataset_id))[0]))


async def completeness(conn: Connection, dataset_id: int) -> list[ContainerCopy]:
    """How much of it each storage has, from the counters of the datasets in it."""
    whole = await totals(conn, dataset_id)
    return [
        ContainerCopy(**dict(row), complete=row["files"] == whole.files)
        for row in await conn.fetch(COMPLETENESS, dataset_id)
    ]


async def _open(conn: Connection, container_id: int) -> Dataset:
    """The container, kept to this transaction; or an error that says why its content cannot change."""
    container = await datasets.by_id(conn, container_id, lock=True)
    name = versioned(container)
    datasets.refuse_deleted(container)
    if container.kind != DatasetKind.CONTAINER:
        raise DatasetConflict(f"{name} is no container", object=name, hint="create one with --kind container")
    if container.state == DatasetState.CLOSED:
        raise DatasetClosed(f"{name} is closed", object=name, hint="begin a new version of the container")
    return container


def _cycle(container: Dataset, child: Dataset) -> ContainerCycle:
    name, inner = versioned(container), versioned(child)
    words = "that is itself" if inner == name else f"which is inside {inner}"
    return ContainerCycle(
        f"{inner} cannot be put into {name}, {words}", object=name, hint=f"take {name} out of {inner} first"
    )


async def _note(conn: Connection, container: Dataset, actor: str, verb: str, changed: Sequence[Dataset]) -> None:
    if changed:
        names = ", ".join(versioned(dataset) for dataset in changed[:3])
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        await history.note(conn, "content", versioned(container), actor, f"it {verb} {names}{more}")
