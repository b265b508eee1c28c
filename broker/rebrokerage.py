"""Jobs that wait at a queue where they will not run soon go back to the brokerage: watchdogs as data.

What is with pilots stays there. A job that another queue is to take for a reason of this one's link or pilots avoids
this one from then on, so that none goes to and fro; it is taken back only where some other queue would have it.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import asyncpg

from . import jobs, placement, tasks
from .brokerage import plugins
from .brokerage.criteria import PASSING
from .brokerage.decide import judge
from .bunches import Pace
from .database import Connection
from .offers import offers
from .settings import Settings
from .states import AT_QUEUE

ACTOR = "watch"
SLICE = 500
"""Jobs that one watchdog sends back in one transaction."""


@dataclass(frozen=True)
class Watchdog:
    """``find``: SQL for (job, task, queue, reason), with the limit in seconds and the number of jobs as values.

    ``avoid``: the job keeps away from the queue, and stays where no other queue would take it. Such ones are found
    in any order, so that those that stay are not in the way of others.
    """

    name: str
    find: str
    setting: str = ""
    avoid: bool = False


# Counters say which queues have anything; jobs are found by the queue (ready), or by its storage (hold_file).
_CLOSED = """
WITH closed AS (
    SELECT q.id, q.name, q.storage_id, h.canary,
           CASE WHEN coalesce(h.ordered, q.status) <> 'online' THEN 'is ' || coalesce(h.ordered, q.status)
                ELSE 'is ' || h.health || CASE WHEN h.reason <> '' THEN ': ' || h.reason ELSE '' END END AS why,
           n.assigned, n.activated
    FROM queue q LEFT JOIN queue_health h ON h.queue_id = q.id CROSS JOIN LATERAL (
        SELECT coalesce(sum(jobs) FILTER (WHERE state = 'assigned'), 0) AS assigned,
               coalesce(sum(jobs) FILTER (WHERE state = 'activated'), 0) AS activated
        FROM job_count WHERE queue_id = q.id AND state IN ('assigned', 'activated')) AS n
    WHERE (coalesce(h.ordered, q.status) <> 'online' OR h.health <> 'good') AND n.assigned + n.activated > 0
)
SELECT j.id, j.task_id, c.id AS queue_id, c.name || ' ' || c.why AS reason
FROM closed c CROSS JOIN LATERAL (
    (SELECT job_id FROM ready WHERE queue_id = c.id AND c.activated > 0 LIMIT $2)
    UNION ALL
    (SELECT a.id FROM hold h JOIN job a ON a.id = split_part(h.holder, ':', 2)::bigint
     WHERE c.assigned > 0 AND h.holder LIKE 'release:%' AND a.queue_id = c.id AND a.state = 'assigned'
       AND h.id IN (SELECT hold_id FROM hold_file WHERE storage_id = c.storage_id) LIMIT $2)
) AS waits JOIN job j ON j.id = waits.job_id
WHERE j.queue_id = c.id AND j.state IN ('assigned', 'activated') AND j.task_id IS DISTINCT FROM c.canary
  AND $1::float >= 0
ORDER BY j.id LIMIT $2
"""
_CUT_OFF = """
SELECT * FROM (SELECT DISTINCT ON (j.id) j.id, j.task_id, q.id AS queue_id,
       'its input ' || f.scope || ':' || f.name || ' did not come to ' || s.name || ' in ' ||
       extract(epoch FROM now() - t.queued_at)::int || ' s: ' || t.error AS reason
FROM storage s JOIN transfer t ON t.storage_id = s.id AND t.state = 'queued' AND t.error IS NOT NULL
JOIN hold_file m ON m.file_id = t.file_id AND m.storage_id = t.storage_id JOIN hold h ON h.id = m.hold_id
JOIN job j ON j.id = split_part(h.holder, ':', 2)::bigint AND j.state = 'assigned'
JOIN queue q ON q.id = j.queue_id JOIN file f ON f.id = t.file_id
WHERE t.queued_at < now() - make_interval(secs => $1) AND t.rounds > 0 AND h.holder LIKE 'release:%'
  AND NOT j.avoid @> to_jsonb(q.id) AND EXISTS (SELECT FROM replica r WHERE r.file_id = t.file_id)
ORDER BY j.id, t.queued_at) AS waits ORDER BY random() LIMIT $2
"""
_NO_PILOT = """
WITH RECURSIVE lane AS (
    (SELECT queue_id, share_id, requirement_id FROM ready
     ORDER BY queue_id, share_id, requirement_id LIMIT 1)
    UNION ALL
    SELECT next.* FROM lane CROSS JOIN LATERAL (
        SELECT r.queue_id, r.share_id, r.requirement_id FROM ready r
        WHERE (r.queue_id, r.share_id, r.requirement_id) > (lane.queue_id, lane.share_id, lane.requirement_id)
        ORDER BY r.queue_id, r.share_id, r.requirement_id LIMIT 1) AS next
), unserved AS (
    SELECT lane.*, q.name, h.canary FROM lane JOIN requirement r ON r.id = lane.requirement_id
    JOIN queue q ON q.id = lane.queue_id LEFT JOIN queue_health h ON h.queue_id = q.id
    WHERE NOT EXISTS (
        SELECT FROM pilot p WHERE p.queue_id = lane.queue_id AND p.last_seen > now() - make_interval(secs => $1)
          AND coalesce((p.offer ->> 'cores')::int, r.cores) >= r.cores
          AND coalesce((p.offer ->> 'memory_mb')::int, r.memory_mb) >= r.memory_mb
          AND coalesce((p.offer ->> 'disk_mb')::int, r.scratch_mb) >= r.scratch_mb
          AND coalesce((p.offer ->> 'gpus')::int, r.gpus) >= r.gpus)
)
SELECT j.id, j.task_id, u.queue_id,
       'no pilot of ' || u.name || ' that suits it was seen for ' || $1::int || ' s' AS reason
FROM unserved u CROSS JOIN LATERAL (
    SELECT job_id FROM ready r WHERE (r.queue_id, r.share_id, r.requirement_id)
        = (u.queue_id, u.share_id, u.requirement_id) ORDER BY r.priority DESC, r.job_id LIMIT $2
) AS waits JOIN job j ON j.id = waits.job_id
WHERE j.state = 'activated' AND j.changed_at < now() - make_interval(secs => $1)
  AND j.task_id IS DISTINCT FROM u.canary AND NOT j.avoid @> to_jsonb(u.queue_id)
ORDER BY random() LIMIT $2
"""

WATCHDOGS = (
    Watchdog("closed-queue", _CLOSED),
    Watchdog("inputs-cut-off", _CUT_OFF, "link_s", avoid=True),
    Watchdog("no-pilot", _NO_PILOT, "activated_s", avoid=True),
)


async def look(conn: Connection, settings: Settings, dog: Watchdog) -> int:
    """Send back what a watchdog finds; one transaction of the caller. Returns how many jobs went."""
    seconds = float(getattr(settings, dog.setting)) if dog.setting else 0.0
    found = await conn.fetch(dog.find, seconds, SLICE)
    if dog.avoid:
        found = await _wanted_elsewhere(conn, found, settings)
    locked = await jobs.lock(conn, [row["id"] for row in found])
    alike: dict[tuple[int, str], list[int]] = defaultdict(list)
    for row in found:
        job = locked[row["id"]]
        if job.state in AT_QUEUE and job.queue_id == row["queue_id"]:  # else it got on while it was being locked
            alike[row["queue_id"], f"{row['reason']} (watchdog {dog.name})"].append(row["id"])
    for (queue_id, reason), ids in alike.items():
        if dog.avoid:
            await conn.execute("UPDATE job SET avoid = avoid || to_jsonb($2::int) WHERE id = ANY($1)", ids, queue_id)
        await jobs.send_back(conn, ids, ACTOR, reason)
    return sum(map(len, alike.values()))


async def _wanted_elsewhere(
    conn: Connection, found: Sequence[asyncpg.Record], settings: Settings
) -> list[asyncpg.Record]:
    """Those that some other queue would take, now or as work goes on there."""
    if not found:
        return []
    standing = await offers(conn)
    rules, _ = plugins.installed()
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row in found:
        groups[row["task_id"], row["queue_id"]].append(row["id"])
    wanted: set[int] = set()
    for (task_id, queue_id), ids in groups.items():
        task = await tasks.get(conn, task_id)
        bunch = await placement.bunch_of(conn, task, ids, Pace(settings.heartbeat_s, settings.lease_s))
        for need in bunch.needs(task):
            elsewhere = replace(need, avoid=(*need.avoid, queue_id))
            verdicts = (judge(elsewhere, offer, rules) for offer in standing)
            if any({failure.criterion for failure in verdict.failures} <= PASSING for verdict in verdicts):
                wanted.update(need.jobs)
    return [row for row in found if row["id"] in wanted]
