"""Sites, queues and pilots as API, monitor and CLI show them."""

from .database import Connection
from .errors import unknown
from .marks import mark_of, read_mark
from .task_views import View
from .why import PILOT_SILENCE_S

ALIVE_S = PILOT_SILENCE_S
"""A pilot that was silent for longer is taken for dead, as `why` takes it."""

_COUNTS = """
SELECT queue_id, state, sum(jobs)::bigint AS jobs FROM job_count
WHERE queue_id IS NOT NULL GROUP BY queue_id, state HAVING sum(jobs) <> 0 ORDER BY state
"""

_QUEUES = """
SELECT q.id, q.name, q.site, s.name AS storage, q.status, q.slots, q.cores, q.memory_mb, q.walltime_s, q.scratch_mb,
       q.gpus, q.architecture, q.software, q.allow, q.max_jobs, q.analysis_percent,
       h.ordered, coalesce(h.health, 'good') AS health, coalesce(h.reason, '') AS health_reason,
       h.since AS health_since, h.canary, h.next_at AS canary_at,
       (SELECT count(*) FROM pilot p WHERE p.queue_id = q.id AND p.last_seen > now() - $1 * interval '1 s') AS pilots
FROM queue q JOIN storage s ON s.id = q.storage_id LEFT JOIN queue_health h ON h.queue_id = q.id
WHERE $2::text IS NULL OR q.name > $2 ORDER BY q.name LIMIT $3
"""

_SITES = """
SELECT x.name, x.description,
       ARRAY(SELECT s.name FROM storage s WHERE s.site = x.name ORDER BY s.name) AS storages,
       ARRAY(SELECT q.name FROM queue q WHERE q.site = x.name ORDER BY q.name) AS queues
FROM site x WHERE $1::text IS NULL OR x.name > $1 ORDER BY x.name LIMIT $2
"""

_PILOTS = """
SELECT p.name, q.name AS queue, q.site, p.host, p.first_seen, p.last_seen, p.job_id AS job, p.jobs, p.empty_polls,
       p.last_seen > now() - $1 * interval '1 s' AS alive
FROM pilot p JOIN queue q ON q.id = p.queue_id
WHERE ($2::timestamptz IS NULL OR (p.last_seen, p.name) < ($2, $3)) ORDER BY p.last_seen DESC, p.name DESC LIMIT $4
"""


async def _jobs_by_queue(conn: Connection) -> dict[int, dict[str, int]]:
    found: dict[int, dict[str, int]] = {}
    for row in await conn.fetch(_COUNTS):
        found.setdefault(row["queue_id"], {})[row["state"]] = row["jobs"]
    return found


async def jobs_by_site(conn: Connection) -> dict[str, dict[str, int]]:
    """Numbers of jobs by state at each site; jobs without a queue yet belong to none."""
    found: dict[str, dict[str, int]] = {
        row["name"]: {} for row in await conn.fetch("SELECT name FROM site ORDER BY 1")
    }
    counts = await _jobs_by_queue(conn)
    for row in await conn.fetch("SELECT id, site FROM queue"):
        states = found[row["site"]]
        for state, jobs in counts.get(row["id"], {}).items():
            states[state] = states.get(state, 0) + jobs
    return found


async def sites(conn: Connection, *, limit: int = 1000, after: str | None = None) -> tuple[list[View], str | None]:
    rows = await conn.fetch(_SITES, after, limit + 1)
    counts = await jobs_by_site(conn)
    views = [dict(row) | {"jobs": counts[row["name"]]} for row in rows[:limit]]
    return views, views[-1]["name"] if len(rows) > limit else None


async def site(conn: Connection, name: str) -> View:
    """One site, with its queues and storages as views of their own."""
    known = {view["name"]: view for view in (await sites(conn))[0]}
    if name not in known:
        raise unknown("site", name, known)
    return known[name]


async def queues(conn: Connection, *, limit: int = 1000, after: str | None = None) -> tuple[list[View], str | None]:
    rows = await conn.fetch(_QUEUES, ALIVE_S, after, limit + 1)
    counts = await _jobs_by_queue(conn)
    views = [dict(row) | {"jobs": counts.get(row["id"], {})} for row in rows[:limit]]
    for view in views:
        del view["id"]
    return views, views[-1]["name"] if len(rows) > limit else None


async def pilots(conn: Connection, *, limit: int = 100, after: str | None = None) -> tuple[list[View], str | None]:
    """Pilots, last seen first."""
    seen, (name,) = read_mark(after, 1)
    rows = await conn.fetch(_PILOTS, ALIVE_S, seen, name, limit + 1)
    views = [dict(row) for row in rows[:limit]]
    return views, mark_of(views[-1]["last_seen"], views[-1]["name"]) if len(rows) > limit else None
