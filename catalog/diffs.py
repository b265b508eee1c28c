"""What one dataset has and another has not: versions, copies by name, containers."""

from dataclasses import dataclass

from . import containers
from .connection import Connection
from .names import Did

# Of each dataset in the order of its index: a page costs what is on it, and what both have in common up to its end.
CHANGED = """
WITH changed AS (
    SELECT DISTINCT side.added, m.file_id
    FROM (
        SELECT id, false AS added, $2::bigint[] AS others FROM unnest($1::bigint[]) AS a (id)
        UNION ALL
        SELECT id, true, $1::bigint[] FROM unnest($2::bigint[]) AS b (id)
    ) side
    CROSS JOIN LATERAL (
        SELECT file_id FROM dataset_file m WHERE m.dataset_id = side.id AND m.file_id > $3
          AND NOT EXISTS (SELECT FROM dataset_file o WHERE o.file_id = m.file_id AND o.dataset_id = ANY(side.others))
        ORDER BY file_id LIMIT $4
    ) m
)
"""
AMOUNTS = f"""
{CHANGED}
SELECT changed.added, count(*) AS files, coalesce(sum(f.bytes), 0)::bigint AS bytes
FROM changed JOIN file f ON f.id = changed.file_id GROUP BY changed.added
"""  # noqa: S608 - text of this module
CHANGES = f"""
{CHANGED}
SELECT f.id, f.scope, f.name, f.bytes, changed.added
FROM (SELECT * FROM changed ORDER BY file_id LIMIT $4) changed JOIN file f ON f.id = changed.file_id ORDER BY f.id
"""  # noqa: S608 - text of this module


@dataclass(frozen=True)
class Amount:
    files: int
    bytes: int


@dataclass(frozen=True)
class Diff:
    """How much the second dataset has that the first has not, and the other way."""

    added: Amount
    removed: Amount


@dataclass(frozen=True)
class Change:
    """A file that is in one of the two only; ``id`` is also the cursor of the list."""

    id: int
    did: Did
    bytes: int
    added: bool


async def diff(conn: Connection, a_id: int, b_id: int) -> Diff:
    """How much changed from a to b; of a container, what is in the datasets below it."""
    a, b = await containers.below(conn, a_id), await containers.below(conn, b_id)
    amounts = {row["added"]: Amount(row["files"], row["bytes"]) for row in await conn.fetch(AMOUNTS, a, b, 0, None)}
    return Diff(added=amounts.get(True, Amount(0, 0)), removed=amounts.get(False, Amount(0, 0)))


async def changes(conn: Connection, a_id: int, b_id: int, limit: int = 1000, after: int = 0) -> list[Change]:
    """Which files changed, in the order of their ids; ``after`` is the last id of the page before."""
    a, b = await containers.below(conn, a_id), await containers.below(conn, b_id)
    rows = await conn.fetch(CHANGES, a, b, after, limit)
    return [Change(row["id"], Did(row["scope"], row["name"]), row["bytes"], row["added"]) for row in rows]
