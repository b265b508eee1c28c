"""Quotas of work: how many cores, waiting jobs and core hours a user or group may have, and what follows.

Each task is on one account: its group's where it has one, else its owner's. Users without a quota of their own have
that of ``user:*``, each for himself. What is over a quota is never lost: it waits, with a sentence, until there is
room again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta

from . import groups, journal
from .database import Connection, wake
from .errors import BadRequest
from .journal import Outcome, View

EVERYBODY = "user:*"
SYSTEM = "prodchain"
"""The system's own work, as tasks that try queues out: no user, so what limits each user does not stop it."""
GO_ON = 0.9
"""The part of a limit that use must have fallen to before work goes on: else it would stop and go with each job."""


@dataclass(frozen=True)
class Limits:
    """None: no limit. ``running`` in cores, ``queued`` in jobs, ``core_hours`` of the last ``days``."""

    subject: str
    running: int | None = None
    queued: int | None = None
    core_hours: float | None = None
    days: int = 30


@dataclass(frozen=True)
class Use:
    """What an account has: cores of jobs at queues and with pilots, jobs at queues, core seconds by day."""

    cores: int = 0
    queued: int = 0
    days: Mapping[date, int] = field(default_factory=dict)
    job_core_s: float = 0.0
    """What a job took lately, in the mean; 0: unknown."""

    def core_hours(self, since: date) -> float:
        return sum(core_s for day, core_s in self.days.items() if day >= since) / 3600


def subject_of(owner: str, group: str) -> str:
    return f"group:{group}" if group else f"user:{owner}"


def stop(limits: Limits, use: Use, today: date, *, stopped: bool) -> str:
    """Why an account gets no more jobs for now, and when it goes on; empty: it gets them.

    An account that is ``stopped`` goes on when its use has fallen well below the limit.
    """
    who = limits.subject
    bar = GO_ON if stopped else 1.0
    if limits.core_hours is not None:
        hours = use.core_hours(today - timedelta(days=limits.days - 1))
        if hours >= limits.core_hours:
            on = _on(limits, use, today)
            then = f"on {on} (UTC)" if on else "when the limit is raised"
            return (
                f"quota of {who}: {hours:.4g} of {limits.core_hours:g} core hours in {limits.days} days are used;"
                f" it goes on {then}"
            )
    if limits.running is not None and use.cores >= at_least(limits.running, bar):
        used = f"{use.cores} of {limits.running} cores are in use"
        return f"quota of {who}: {used}; it goes on as its jobs end{_pace(use)}"
    if limits.queued is not None and use.queued >= at_least(limits.queued, bar):
        return f"quota of {who}: {use.queued} of {limits.queued} jobs wait at queues; it goes on as pilots take them"
    return ""


def at_least(limit: int, bar: float) -> int:
    """The use that stops (again): the limit itself, or the first above what a stopped account must have come to."""
    return limit if bar == 1.0 or not limit else min(limit, int(limit * bar) + 1)


def _on(limits: Limits, use: Use, today: date) -> date | None:
    """The first day on which enough of the use is too long ago, if nothing is added."""
    for later in range(1, limits.days + 1):
        day = today + timedelta(days=later)
        if use.core_hours(day - timedelta(days=limits.days - 1)) < (limits.core_hours or 0):
            return day
    return None


def _pace(use: Use) -> str:
    seconds = use.job_core_s / use.cores if use.cores else 0
    if not seconds:
        return ""
    return f", one about every {f'{seconds:.0f} s' if seconds < 120 else f'{seconds / 60:.0f} min'}"


async def limits_of(conn: Connection, owner: str, group: str) -> Limits | None:
    """The quota of the account that work of the owner, for the group if one is named, is on; none: it has none."""
    subject = subject_of(owner, group)
    row = await conn.fetchrow(
        "SELECT * FROM work_quota WHERE subject = $1 OR (subject = $2 AND NOT $3) ORDER BY subject = $1 DESC LIMIT 1",
        subject,
        EVERYBODY,
        bool(group) or owner == SYSTEM,
    )
    return None if row is None else replace(Limits(**dict(row)), subject=subject)


async def use_of(conn: Connection, subject: str, days: int) -> Use:
    """From counters: a sum over the account's open tasks, and one over its days."""
    kind, _, name = subject.partition(":")
    # The states are spelt out, so that the partial index task_open serves.
    counts = await conn.fetchrow(
        """
        SELECT coalesce(sum(c.cores), 0)::int AS cores,
               coalesce(sum(c.jobs) FILTER (WHERE c.state IN ('assigned', 'activated')), 0)::int AS queued
        FROM task t JOIN job_count c ON c.task_id = t.id
        WHERE t.state NOT IN ('done', 'finished', 'failed', 'aborted')
          AND CASE WHEN $1 THEN t.group_name = $2 ELSE t.owner = $2 AND t.group_name = '' END
          AND c.state IN ('assigned', 'activated', 'sent', 'starting', 'running', 'holding')
        """,
        kind == "group",
        name,
    )
    where = "group_name = $1" if kind == "group" else "owner = $1 AND group_name = ''"
    rows = await conn.fetch(
        f"""
        SELECT day, sum(core_s)::bigint AS core_s, sum(jobs)::bigint AS jobs FROM work_done
        WHERE {where} AND day > (now() AT TIME ZONE 'UTC')::date - $2::int GROUP BY day ORDER BY day
        """,  # noqa: S608
        name,
        days,
    )
    assert counts is not None
    jobs = rows[-1]["jobs"] if rows else 0
    return Use(
        counts["cores"],
        counts["queued"],
        {row["day"]: row["core_s"] for row in rows},
        rows[-1]["core_s"] / jobs if jobs else 0.0,
    )


async def today(conn: Connection) -> date:
    day: date = await conn.fetchval("SELECT (now() AT TIME ZONE 'UTC')::date")
    return day


async def room(conn: Connection, owner: str, group: str) -> int | None:
    """Cores that the brokerage may still place for the account; none: as many as it likes."""
    limits = await limits_of(conn, owner, group)
    if limits is None or limits.running is None:
        return None
    return max(0, limits.running - (await use_of(conn, limits.subject, 1)).cores)


async def notice(conn: Connection, owner: str, group: str) -> str:
    """What somebody who submits should know: that the work will wait, and why; empty if it will not."""
    limits = await limits_of(conn, owner, group)
    if limits is None:
        return ""
    use = await use_of(conn, limits.subject, limits.days)
    return stop(limits, use, await today(conn), stopped=False)


async def set_limits(
    conn: Connection, subject: str, wanted: Mapping[str, object], actor: str, reason: str = ""
) -> Outcome:
    """Set limits by name, None for no limit; those that are not named stay. Without any limit there is no quota."""
    kind, _, name = subject.partition(":")
    if kind not in ("user", "group") or not name or (name == "*" and kind != "user"):
        raise BadRequest(
            f"there is no account {subject}", object=subject, hint="name user:NAME, group:NAME or user:* (each user)"
        )
    if kind == "group" and any(value is not None for value in wanted.values()):
        await groups.refuse_unknown(conn, name)
    row = await conn.fetchrow("SELECT * FROM work_quota WHERE subject = $1 FOR UPDATE", subject)
    before = Limits(**dict(row)) if row else Limits(subject)
    after = replace(before, **wanted)  # type: ignore[arg-type]
    if before == after:
        return Outcome("quota set", subject, note=f"the quota of {subject} is so already: nothing changes")
    if (after.running, after.queued, after.core_hours) == (None, None, None):
        await conn.execute("DELETE FROM work_quota WHERE subject = $1", subject)
    else:
        await conn.execute(
            """
            INSERT INTO work_quota (subject, running, queued, core_hours, days) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (subject) DO UPDATE SET running = excluded.running, queued = excluded.queued,
                core_hours = excluded.core_hours, days = excluded.days
            """,
            *asdict(after).values(),
        )
    await wake(conn, "throttle")
    old, new = asdict(before), asdict(after)
    changes = {name: [old[name], new[name]] for name in new if old[name] != new[name]}
    return await journal.enter(conn, Outcome("quota set", subject, changes), actor, reason)


async def quotas(
    conn: Connection, *, subject: str | None = None, limit: int = 1000, after: str | None = None
) -> tuple[list[View], str | None]:
    """Quotas with what is used of them; the second value continues the list (``after``)."""
    rows = await conn.fetch(
        """
        SELECT * FROM work_quota WHERE ($1::text IS NULL OR subject = $1) AND ($2::text IS NULL OR subject > $2)
        ORDER BY subject LIMIT $3
        """,
        subject,
        after,
        limit + 1,
    )
    if subject is not None and subject.startswith("group:") and not rows:
        await groups.refuse_unknown(conn, subject.removeprefix("group:"))
    now = await today(conn)
    views = [await _view(conn, Limits(**dict(row)), now) for row in rows[:limit]]
    return views, views[-1]["subject"] if len(rows) > limit else None


async def _view(conn: Connection, limits: Limits, now: date) -> View:
    """Of ``user:*`` nobody's use is told: it is many accounts."""
    if limits.subject == EVERYBODY:
        return asdict(limits) | {"cores_used": None, "queued_used": None, "core_hours_used": None, "stopped": ""}
    use = await use_of(conn, limits.subject, limits.days)
    return asdict(limits) | {
        "cores_used": use.cores,
        "queued_used": use.queued,
        "core_hours_used": use.core_hours(now - timedelta(days=limits.days - 1)),
        "stopped": stop(limits, use, now, stopped=False),
    }


def accounts(tasks: Sequence[tuple[str, str]], quotas: Sequence[str]) -> list[tuple[str, str]]:
    """Of (owner, group) pairs those whose account has a quota, once each."""
    known = set(quotas)
    return sorted(
        {
            (owner if not group else "", group)
            for owner, group in tasks
            if subject_of(owner, group) in known or (not group and EVERYBODY in known)
        }
    )
