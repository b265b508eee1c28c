"""Subscriptions as people see them: one by one with their progress, and summed up by what they are for."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from .connection import Connection

FIND = """
SELECT s.id, s.dataset_id,
       d.scope || ':' || d.name || CASE WHEN d.latest THEN '' ELSE '@' || d.version END AS dataset, d.kind,
       at.name AS storage, s.state, s.owner, s.standing, s.sources, s.priority, s.direct, s.created_at,
       s.expires_at, s.done_at, n.files, n.bytes, n.files_there, n.bytes_there
FROM (
    SELECT * FROM subscription s WHERE {conditions} ORDER BY s.id DESC LIMIT $1
) s
JOIN dataset d ON d.id = s.dataset_id JOIN storage at ON at.id = s.storage_id
CROSS JOIN LATERAL (
    SELECT coalesce(sum(each.files), 0)::bigint AS files, coalesce(sum(each.bytes), 0)::bigint AS bytes,
           coalesce(sum(r.files), 0)::bigint AS files_there, coalesce(sum(r.bytes), 0)::bigint AS bytes_there
    FROM dataset each
    LEFT JOIN dataset_replica r ON r.dataset_id = each.id AND r.storage_id = s.storage_id
    WHERE each.id = d.id AND d.kind <> 'container' OR each.id IN (
        SELECT part.dataset_id FROM subscription_part p JOIN subscription part ON part.id = p.part_id
        WHERE p.container_id = s.id)
) n
ORDER BY s.id DESC
"""
# What the system sends to where jobs run, what goes home, what people wish for.
FOR = """
CASE WHEN d.kind = 'dispatch' THEN 'dispatch'
     WHEN d.kind = 'sub' OR (d.kind = 'production' AND at.home) THEN 'destination' ELSE 'other' END
"""
SAMPLE = 500
"""Failing transfers of each storage that are looked at: of more, these stand for all."""
SUMMARY = f"""
WITH wish AS (
    SELECT s.id, s.dataset_id, s.storage_id, s.created_at, {FOR} AS kind,
           CASE WHEN h.id IS NULL THEN d.files - coalesce(r.files, 0) ELSE h.missing END AS files,
           CASE WHEN h.id IS NULL THEN d.bytes - coalesce(r.bytes, 0) ELSE
               (SELECT coalesce(sum(f.bytes), 0) FROM hold_file w JOIN file f ON f.id = w.file_id
                WHERE w.hold_id = h.id) END AS bytes
    FROM subscription s JOIN dataset d ON d.id = s.dataset_id JOIN storage at ON at.id = s.storage_id
    LEFT JOIN dataset_replica r ON r.dataset_id = s.dataset_id AND r.storage_id = s.storage_id
    LEFT JOIN hold h ON NOT s.standing AND h.holder = 'subscription:' || s.id
    WHERE s.state = 'active' AND d.kind <> 'container'
), sample AS (
    SELECT t.file_id, n.storage_id, greatest(n.failing / {SAMPLE}.0, 1) AS stands_for FROM (
        SELECT storage_id, sum(failing) AS failing FROM transfer_count GROUP BY storage_id HAVING sum(failing) > 0
    ) n CROSS JOIN LATERAL (
        SELECT file_id FROM transfer
        WHERE storage_id = n.storage_id AND state = 'queued' AND error IS NOT NULL
        ORDER BY queued_at DESC, file_id DESC LIMIT {SAMPLE}
    ) t
), failing AS (
    SELECT kind, round(sum(stands_for))::bigint AS files FROM (
        SELECT DISTINCT wish.kind, s.file_id, s.storage_id, s.stands_for
        FROM sample s JOIN dataset_file m ON m.file_id = s.file_id
        JOIN wish ON wish.dataset_id = m.dataset_id AND wish.storage_id = s.storage_id
    ) of GROUP BY kind
)
SELECT wish.kind, count(*) AS active, sum(wish.files)::bigint AS files_missing,
       sum(wish.bytes)::bigint AS bytes_missing, coalesce(max(failing.files), 0) AS failing,
       min(wish.created_at) AS oldest
FROM wish LEFT JOIN failing USING (kind) GROUP BY wish.kind
"""  # noqa: S608 - text of this module
KINDS = ("dispatch", "destination", "other")


@dataclass(frozen=True)
class SubscriptionView:
    """A wish and how much of it is there; of a container, summed over the datasets that it stands for."""

    id: int
    dataset_id: int
    dataset: str
    kind: str
    storage: str
    state: str
    owner: str
    standing: bool
    sources: str | None
    priority: int
    direct: bool
    created_at: datetime
    expires_at: datetime | None
    done_at: datetime | None
    files: int
    bytes: int
    files_there: int
    bytes_there: int


@dataclass(frozen=True)
class Summary:
    """Active wishes of a kind: what they still miss, how many of its files failed at least once, since when.

    ``failing`` is exact up to 500 failing files at each storage; of more the newest are taken for a sample.
    """

    active: int = 0
    files_missing: int = 0
    bytes_missing: int = 0
    failing: int = 0
    oldest: datetime | None = None


async def find(
    conn: Connection,
    *,
    dataset_id: int | None = None,
    storage_id: int | None = None,
    state: str | None = None,
    owner: str | None = None,
    before: int | None = None,
    limit: int = 100,
) -> Sequence[SubscriptionView]:
    """Wishes, newest first; ``before`` is the last id of the page before."""
    asked = {
        "s.dataset_id = {}": dataset_id,
        "s.storage_id = {}": storage_id,
        "s.state = {}": state,
        "s.owner = {}": owner,
        "s.id < {}": before,
    }
    # Only what is asked for stands in the statement, so that each question has its own way to the rows.
    given = [(condition, value) for condition, value in asked.items() if value is not None]
    conditions = [condition.format(f"${number}") for number, (condition, _) in enumerate(given, start=2)]
    statement = FIND.format(conditions=" AND ".join(conditions) or "true")
    rows = await conn.fetch(statement, limit, *(value for _, value in given))
    return [SubscriptionView(**dict(row)) for row in rows]


async def summary(conn: Connection) -> dict[str, Summary]:
    """By what they are for: dispatch (to jobs), destination (results going home), other. Reads what is active."""
    found = {row["kind"]: Summary(*list(row.values())[1:]) for row in await conn.fetch(SUMMARY)}
    return {kind: found.get(kind, Summary()) for kind in KINDS}
