"""The sites file becomes the tables: what is declared is made so, and every difference is told."""

from collections.abc import Sequence
from typing import Any

from prodchain.catalog import sites as catalog_sites
from prodchain.catalog.models import StorageKind

from .database import Connection, wake
from .errors import WrongState
from .models import QueueStatus
from .sitespecs import Queue, SiteFile


async def apply(
    conn: Connection, file: SiteFile, *, actor: str = "", text: str = "", dry_run: bool = False
) -> list[str]:
    """Make sites, storages, queues and links as the declaration says; returns each difference as a line.

    A queue that the file does not name any more goes offline; storages stay, since they hold files.
    """
    changes = _difference(await _declared(conn), _wanted(file))
    await _refuse_moves(conn, file)
    if dry_run or not changes:
        return changes
    await catalog_sites.upsert(
        conn,
        file.sites,
        [
            catalog_sites.StorageSpec(
                kind=StorageKind(s.kind),
                home=s.name == file.home,
                **{name: getattr(s, name) for name in ("name", "site", "url", *_STORAGE)},
            )
            for s in file.storages
        ],
    )
    await catalog_sites.limit_links(conn, file.links)
    await catalog_sites.revise(conn, actor, text, changes)
    await conn.execute(_DECLARE_QUEUES, [_values(queue) | {"name": queue.name} for queue in file.queues])
    await conn.execute(
        "UPDATE queue SET status = $2 WHERE name <> ALL($1)",
        [queue.name for queue in file.queues],
        QueueStatus.OFFLINE,
    )
    await wake(conn, "place")
    return changes


async def _refuse_moves(conn: Connection, file: SiteFile) -> None:
    """Jobs at a queue count on the copies at its storage, and store theirs there: it may change when none is left."""
    row = await conn.fetchrow(
        """
        SELECT q.name, s.name AS before, w.storage AS after
        FROM unnest($1::text[], $2::text[]) AS w (name, storage)
        JOIN queue q USING (name) JOIN storage s ON s.id = q.storage_id
        WHERE s.name <> w.storage AND 0 < (
            SELECT sum(jobs) FROM job_count c WHERE c.queue_id = q.id
               AND state IN ('assigned', 'activated', 'sent', 'starting', 'running', 'holding'))
        LIMIT 1
        """,
        [queue.name for queue in file.queues],
        [queue.storage for queue in file.queues],
    )
    if row is not None:
        raise WrongState(
            f"queue {row['name']} has jobs that use {row['before']}: it cannot move to {row['after']} now",
            object=f"queue {row['name']}",
            hint="declare a new queue for the other storage, or wait until its jobs have ended",
        )


_STORAGE = (
    *("readable", "writable", "deletable", "capacity_bytes", "min_free_bytes", "max_transfers", "attributes"),
    "tape_api",
)
_PLAIN = (
    *("site", "status", "slots", "local_pilots", "cores", "memory_mb", "walltime_s", "scratch_mb", "gpus"),
    *("architecture", "software", "allow", "max_jobs", "analysis_percent"),
)
"""What a queue's declaration says, apart from its name and storage; columns have the same names."""
_DECLARE_QUEUES = f"""
INSERT INTO queue (name, storage_id, {", ".join(_PLAIN)})
SELECT w ->> 'name', s.id, {", ".join(f"r.{name}" for name in _PLAIN)}
FROM jsonb_array_elements($1::jsonb) AS w
CROSS JOIN LATERAL jsonb_populate_record(NULL::queue, w) AS r
JOIN storage s ON s.name = w ->> 'storage' ORDER BY 1
ON CONFLICT (name) DO UPDATE
SET storage_id = excluded.storage_id, {", ".join(f"{name} = excluded.{name}" for name in _PLAIN)}
"""  # noqa: S608


def _values(queue: Queue) -> dict[str, Any]:
    """As the database has them: lists, not tuples."""
    values = {name: getattr(queue, name) for name in ("storage", *_PLAIN)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _wanted(file: SiteFile) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {f"site {site.name}": {"description": site.description} for site in file.sites}
    for storage in file.storages:
        found[f"storage {storage.name}"] = {
            "site": storage.site,
            "url": storage.url,
            "kind": storage.kind,
            "home": storage.name == file.home,
        } | {name: getattr(storage, name) for name in _STORAGE}
    for queue in file.queues:
        found[f"queue {queue.name}"] = _values(queue)
    for link in file.links:
        found[f"link {link.source} -> {link.target}"] = {"max_transfers": link.max_transfers}
    return found


async def _declared(conn: Connection) -> dict[str, dict[str, Any]]:
    sites = await conn.fetch("SELECT name, description FROM site")
    storages = [
        storage.model_dump(exclude={"id"}) | {"attributes": storage.attributes or {}}
        for storage in await catalog_sites.storages(conn)
    ]
    links = await conn.fetch(
        """
        SELECT source.name || ' -> ' || target.name AS name, l.max_transfers
        FROM link_limit l JOIN storage source ON source.id = l.source_id
        JOIN storage target ON target.id = l.storage_id
        """
    )
    queues = await conn.fetch(
        f"""
        SELECT q.name, s.name AS storage, {", ".join(f"q.{name}" for name in _PLAIN)}
        FROM queue q JOIN storage s ON s.id = q.storage_id
        """  # noqa: S608
    )
    return {
        **_keyed("site", sites),
        **_keyed("storage", storages),
        **_keyed("queue", queues),
        **_keyed("link", links),
    }


def _keyed(kind: str, rows: Sequence[Any]) -> dict[str, dict[str, Any]]:
    return {f"{kind} {row['name']}": {k: v for k, v in row.items() if k != "name"} for row in rows}


def _difference(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> list[str]:
    changes = [f"{name}: new" for name in after if name not in before]
    for name, values in after.items():
        for key, value in values.items():
            if name in before and before[name][key] != value:
                changes.append(f"{name}: {key} {before[name][key]!r} -> {value!r}")
    gone = [name for name in before if name not in after]
    changes += [
        f"{name}: goes offline" for name in gone if name.startswith("queue ") and before[name]["status"] != "offline"
    ]
    changes += [f"{name}: no limit of its own any more" for name in gone if name.startswith("link ")]
    return sorted(changes)
