"""The sites file becomes the tables: what is declared is made so, and every difference is told."""

from collections.abc import Sequence
from typing import Any

from prodchain.catalog import sites as catalog_sites
from prodchain.catalog.models import StorageKind

from .database import Connection
from .errors import WrongState
from .models import QueueStatus
from .sitespecs import SiteFile


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
    await conn.execute(
        """
        INSERT INTO queue (name, site, storage_id, status, slots, local_pilots, cores, memory_mb, walltime_s)
        SELECT w.name, w.site, s.id, w.status, w.slots, w.local_pilots, w.cores, w.memory_mb, w.walltime_s
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::int[], $6::int[], $7::int[], $8::int[],
                    $9::int[])
             AS w (name, site, storage, status, slots, local_pilots, cores, memory_mb, walltime_s)
        JOIN storage s ON s.name = w.storage ORDER BY w.name
        ON CONFLICT (name) DO UPDATE SET site = excluded.site, storage_id = excluded.storage_id,
            status = excluded.status, slots = excluded.slots, local_pilots = excluded.local_pilots,
            cores = excluded.cores,
            memory_mb = excluded.memory_mb, walltime_s = excluded.walltime_s
        """,
        *([getattr(queue, name) for queue in file.queues] for name in _QUEUE),
    )
    await conn.execute(
        "UPDATE queue SET status = $2 WHERE name <> ALL($1)",
        [queue.name for queue in file.queues],
        QueueStatus.OFFLINE,
    )
    await conn.execute("SELECT pg_notify('prodchain_work', 'place')")
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
_QUEUE = ("name", "site", "storage", "status", "slots", "local_pilots", "cores", "memory_mb", "walltime_s")


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
        found[f"queue {queue.name}"] = {name: getattr(queue, name) for name in _QUEUE[1:]}
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
        """
        SELECT q.name, q.site, s.name AS storage, q.status, q.slots, q.local_pilots, q.cores, q.memory_mb,
               q.walltime_s
        FROM queue q JOIN storage s ON s.id = q.storage_id
        """
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
