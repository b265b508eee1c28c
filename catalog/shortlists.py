"""Short lists that hold all datasets that can fit a question: by parts of the name, owner, age or place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from . import query
from .connection import Connection
from .models import SHOWN
from .query import ORDER, Query, Where

GRAMS_PER_PART = 3
"""The rarest of each part are looked up: the lists of frequent ones are long, and tell little."""

OWNED = f"SELECT id, {ORDER} FROM dataset WHERE {{column}} = {{{{}}}} AND {SHOWN} LIMIT {{{{}}}}::bigint"
NEWEST = f"""
SELECT id, {ORDER} FROM dataset
WHERE created_at >= {{}} AND {SHOWN} ORDER BY created_at DESC, id DESC LIMIT {{}}::bigint
"""
# A dataset that several storages have stands at the first of them.
STORED = f"""
SELECT id, {ORDER} FROM (SELECT {{}}::smallint[] AS ids) wanted
CROSS JOIN LATERAL (
    SELECT dataset_id FROM dataset_replica r
    WHERE r.storage_id = ANY(ids) AND NOT EXISTS (
        SELECT FROM dataset_replica o
        WHERE o.dataset_id = r.dataset_id AND o.storage_id = ANY(ids) AND o.storage_id < r.storage_id
    ) LIMIT {{}}::bigint
) stored JOIN dataset ON id = dataset_id
"""
FREQUENCIES = """
SELECT element, frequency FROM (
    SELECT unnest(most_common_elems::text::int4[]) AS element, unnest(most_common_elem_freqs) AS frequency
    FROM pg_stats WHERE schemaname = current_schema AND tablename = 'dataset_grams'
) known WHERE element = ANY($1::int4[])
"""


@dataclass(frozen=True)
class Way:
    """A statement with id, name, scope and version of all that can fit; ``{}`` stand for values, the last a limit.

    ``slow``: its first row takes as long as all of them.
    """

    statement: str
    values: list[object]
    slow: bool = False

    def limited(self, where: Where, most: int) -> str:
        return self.statement.format(*(where.value(value) for value in (*self.values, most)))


async def ways(conn: Connection, wanted: Query, storages: Mapping[str, Sequence[int]]) -> list[Way]:
    """Short lists that hold all that fits, as far as indexes lead to them."""
    found = [Way(STORED, [storages[place]]) for place in (wanted.at, wanted.complete_at) if place is not None]
    if not wanted.usual:
        return found
    if wanted.owner is not None:
        found.append(Way(OWNED.format(column=wanted.owned_by), [wanted.owner]))
    if wanted.since is not None:
        found.append(Way(NEWEST, [wanted.since]))
    if grams := await rarest(conn, query.parts(wanted)):
        found.append(Way("SELECT * FROM dataset_with_grams({}::int4[], {}::bigint)", [grams], slow=True))
    return found


async def rarest(conn: Connection, parts: Sequence[str]) -> list[int]:
    """Few runs of three characters of each part that together lead to few names."""
    by_part = [query.grams(part) for part in parts]
    frequencies = {
        row["element"]: row["frequency"] for row in await conn.fetch(FREQUENCIES, list(chain.from_iterable(by_part)))
    }
    return [
        gram
        for grams in by_part
        for gram in sorted(set(grams), key=lambda gram: frequencies.get(gram, 0.0))[:GRAMS_PER_PART]
    ]


async def fetch(conn: Connection, statement: str, values: Sequence[object]) -> list[Any]:
    """Prepared for this call alone: a plan that PostgreSQL settles on for all patterns reads every name."""
    return await (await conn.prepare(statement)).fetch(*values)
