"""The queues as they stand: what the brokerage may look at, read from counters and a bounded number of rows."""

from dataclasses import fields
from datetime import UTC, datetime, timedelta

from prodchain.catalog import links

from .brokerage.facts import Link, Network, Offer, Slot, Store
from .database import Connection

AHEAD = 10
"""Jobs that may wait at a queue for each of its slots: enough to keep it busy, few enough to choose again."""
AHEAD_AT_LEAST = 20
INCOMING_BYTES = 200 * 10**9
"""What may be on its way to a storage in any case; more if it took more in the last hours."""
RECENT = timedelta(hours=2)
"""How far back links count."""

_STORES = "SELECT id, name, readable, kind = 'tape' AS tape FROM storage ORDER BY id"

# Fifty pilots tell what the pilots of a queue offer, however many there are; what one does not say is as declared.
_OFFERS = """
SELECT q.id AS queue, q.name, q.storage_id AS storage, s.name AS storage_name, q.site,
       coalesce(h.ordered, q.status) AS status, coalesce(h.health, 'good') AS health,
       CASE WHEN h.health <> 'good' THEN h.reason ELSE '' END AS health_reason,
       h.canary,
       q.slots, q.cores, q.memory_mb, q.walltime_s, q.scratch_mb, q.gpus, q.architecture, q.software, q.allow,
       q.max_jobs,
       coalesce(n.assigned, 0) AS assigned, coalesce(n.activated, 0) AS activated,
       coalesce(n.executing, 0) AS executing,
       p.pilots, p.pilots > 0 OR EXISTS (SELECT FROM pilot WHERE queue_id = q.id) AS pilots_ever,
       p.cores AS best_cores, p.memory_mb AS best_memory_mb, p.disk_mb AS best_scratch_mb, p.gpus AS best_gpus,
       s.writable, s.readable,
       s.capacity_bytes - s.min_free_bytes - used.bytes - moving.bytes AS free_bytes, moving.bytes AS incoming_bytes,
       coalesce(w.finished, 0) AS finished, coalesce(w.failed, 0) AS failed
FROM queue q JOIN storage s ON s.id = q.storage_id LEFT JOIN queue_health h ON h.queue_id = q.id
CROSS JOIN LATERAL (SELECT coalesce(sum(bytes), 0)::bigint AS bytes FROM storage_use WHERE storage_id = s.id) AS used
CROSS JOIN LATERAL (
    SELECT coalesce(sum(bytes), 0)::bigint AS bytes FROM transfer_count WHERE storage_id = s.id) AS moving
CROSS JOIN LATERAL (
    SELECT count(*)::int AS pilots, max(coalesce((offer ->> 'cores')::int, q.cores)) AS cores,
           max(coalesce((offer ->> 'memory_mb')::int, q.memory_mb)) AS memory_mb,
           max(coalesce((offer ->> 'disk_mb')::int, q.scratch_mb)) AS disk_mb,
           max(coalesce((offer ->> 'gpus')::int, q.gpus)) AS gpus
    FROM (SELECT offer FROM pilot WHERE queue_id = q.id AND last_seen > now() - interval '10 minutes'
          ORDER BY last_seen DESC LIMIT 50) AS latest
) AS p
LEFT JOIN (
    SELECT queue_id, sum(jobs) FILTER (WHERE state = 'assigned')::int AS assigned,
           sum(jobs) FILTER (WHERE state = 'activated')::int AS activated,
           sum(jobs) FILTER (WHERE state IN ('sent', 'starting', 'running', 'holding'))::int AS executing
    FROM job_count WHERE state IN ('assigned', 'activated', 'sent', 'starting', 'running', 'holding')
    GROUP BY queue_id
) AS n ON n.queue_id = q.id
LEFT JOIN (
    SELECT queue_id, sum(jobs) FILTER (WHERE state IN ('transferring', 'finished'))::int AS finished,
           sum(jobs) FILTER (WHERE state = 'failed')::int AS failed
    FROM work_done WHERE day >= (now() AT TIME ZONE 'UTC')::date - 1 GROUP BY queue_id
) AS w ON w.queue_id = q.id
ORDER BY q.id
"""


async def offers(conn: Connection) -> list[Offer]:
    """One for each queue; they share what is known of storages and links."""
    stores = {row["id"]: Store(row["name"], row["readable"], row["tape"]) for row in await conn.fetch(_STORES)}
    facts = await links.facts(conn, datetime.now(UTC) - RECENT)
    network = Network(
        stores,
        {
            link: Link(None if known.rate is None else round(known.rate), known.files, known.failures)
            for link, known in sorted(facts.items())
        },
    )
    arrived: dict[int, int] = {}
    for (_, target), known in facts.items():
        arrived[target] = arrived.get(target, 0) + known.bytes
    found = []
    for row in await conn.fetch(_OFFERS):
        values = dict(row)
        best = Slot(**{each.name: values.pop(f"best_{each.name}") for each in fields(Slot)})
        values |= {name: tuple(values[name]) for name in ("software", "allow")}
        values["free_bytes"] = None if values["free_bytes"] is None else max(0, values["free_bytes"])
        slots = values["slots"] if values["max_jobs"] is None else min(values["slots"], values["max_jobs"])
        found.append(
            Offer(
                **values,
                best=best,
                waiting_limit=max(AHEAD_AT_LEAST, AHEAD * slots),
                incoming_limit=max(INCOMING_BYTES, arrived.get(values["storage"], 0)),
                network=network,
            )
        )
    return found
