"""Shares as API and command line show them: what each should get, and what it has."""

from collections.abc import Mapping

from .database import Connection
from .matching.shares import path, targets
from .matching.standing import shares
from .models import USING_SLOTS
from .task_views import View

_USE = f"""
SELECT share_id, sum(cores) FILTER (WHERE state IN {USING_SLOTS})::int AS cores,
       sum(jobs) FILTER (WHERE state IN ('assigned', 'activated'))::int AS waiting
FROM job_count WHERE state IN ('assigned', 'activated', 'sent', 'starting', 'running', 'holding')
GROUP BY share_id
"""  # noqa: S608
_DONE = """
SELECT share_id, sum(core_s)::bigint AS core_s FROM work_done
WHERE day > (now() AT TIME ZONE 'UTC')::date - $1::int GROUP BY share_id
"""


async def listing(conn: Connection, days: int = 7) -> list[View]:
    """All shares in the order of the declaration, each with what is below it; retired ones while they have jobs.

    ``target`` and ``use`` are parts of all cores in use (0 to 1), ``cores`` and ``waiting`` are numbers now,
    ``core_hours`` those of runs that ended within the last days.
    """
    tree = await shares(conn)
    by_id = {share.id: share for share in tree}
    now = await conn.fetch(_USE)
    done = {row["share_id"]: row["core_s"] for row in await conn.fetch(_DONE, days)}

    def upwards(own: Mapping[int, int]) -> dict[int, int]:
        found = dict.fromkeys(by_id, 0)
        for share, amount in own.items():
            for each in path(by_id, share) if share in by_id else []:
                found[each.id] += amount
        return found

    cores = upwards({row["share_id"]: row["cores"] or 0 for row in now})
    waiting = upwards({row["share_id"]: row["waiting"] or 0 for row in now})
    core_s = upwards(done)
    parts = targets(tree)
    whole = sum(cores[share.id] for share in tree if share.parent is None) or 1
    return [
        {
            "name": share.name,
            "parent": by_id[share.parent].name if share.parent is not None else None,
            "depth": len(path(by_id, share.id)) - 1,
            "value": share.value,
            "match": dict(share.match),
            "retired": share.retired,
            "target": parts[share.id],
            "use": cores[share.id] / whole,
            "cores": cores[share.id],
            "waiting": waiting[share.id],
            "core_hours": core_s[share.id] / 3600,
        }
        for share in tree
        if not share.retired or cores[share.id] or waiting[share.id]
    ]
