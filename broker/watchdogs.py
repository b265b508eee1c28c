"""Watchdogs: what a job may take for each part of its way with a pilot, and what happens when it takes longer.

Each is a row of data. A pilot's silence is the leases' matter (leases.py); these are for pilots that call and do not
get on. The work gets another run by the rules for failed jobs (recovery/rules.toml: stuck).
"""

from collections import defaultdict
from dataclasses import dataclass

from .database import Connection
from .failing import fail_all
from .jobs import lock
from .settings import Settings
from .states import JobState

ACTOR = "watch"
BATCH = 500


@dataclass(frozen=True)
class Watchdog:
    """``setting`` names the seconds that a job may be in the state; ``extra``: and its wall time besides."""

    name: str
    state: JobState
    setting: str
    words: str
    extra: bool = False


WATCHDOGS = (
    Watchdog("never-started", JobState.SENT, "sent_s", "it was given to pilot {pilot}, which did not start it"),
    Watchdog("stuck-staging", JobState.STARTING, "starting_s", "pilot {pilot} is still fetching its inputs"),
    Watchdog("stuck-running", JobState.RUNNING, "overtime_s", "pilot {pilot} runs it past its wall time", extra=True),
    Watchdog("stuck-holding", JobState.HOLDING, "holding_s", "pilot {pilot} is still storing its outputs"),
)

_STUCK = """
SELECT j.id, w.name, extract(epoch FROM now() - j.changed_at)::int AS since_s
FROM lease l JOIN job j ON j.id = l.job_id JOIN requirement r ON r.id = j.requirement_id
JOIN unnest($1::text[], $2::text[], $3::float[], $4::bool[]) AS w (name, state, limit_s, extra) ON w.state = j.state
WHERE j.changed_at < now() - make_interval(secs => w.limit_s + CASE WHEN w.extra THEN r.walltime_s ELSE 0 END)
ORDER BY j.id LIMIT $5
"""


async def look(conn: Connection, settings: Settings) -> int:
    """Fail the runs that take too long; one transaction of the caller. Returns how many there were."""
    names = {dog.name: dog for dog in WATCHDOGS}
    found = await _stuck(conn, settings)
    locked = await lock(conn, list(found))
    alike: dict[tuple[str, str], list[int]] = defaultdict(list)
    for job_id, (name, since_s) in found.items():
        if locked[job_id].state == names[name].state:  # it got on while it was being locked
            what = names[name].words.format(pilot=locked[job_id].pilot)
            alike[name, f"stuck for {since_s} s: {what} (watchdog {name})"].append(job_id)
    for (_, reason), ids in alike.items():
        await fail_all(conn, [locked[job_id] for job_id in ids], ACTOR, reason)
    return sum(map(len, alike.values()))


async def _stuck(conn: Connection, settings: Settings) -> dict[int, tuple[str, int]]:
    rows = await conn.fetch(
        _STUCK,
        [dog.name for dog in WATCHDOGS],
        [dog.state for dog in WATCHDOGS],
        [float(getattr(settings, dog.setting)) for dog in WATCHDOGS],
        [dog.extra for dog in WATCHDOGS],
        BATCH,
    )
    return {row["id"]: (row["name"], row["since_s"]) for row in rows}
