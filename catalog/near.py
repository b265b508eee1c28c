"""Datasets that somebody who wrote a wrong name may have meant."""

from collections.abc import Mapping, Sequence

from . import names, query, shortlists
from .connection import Connection
from .models import SHOWN
from .names import Did
from .query import Query

MOST = 2_000
"""Names that are read for each field that may be wrong: more of them begin alike in a large catalog."""

NEIGHBOURS = f"""
(SELECT scope, name FROM dataset WHERE name < $1 AND {SHOWN} ORDER BY name DESC LIMIT 20)
UNION ALL
(SELECT scope, name FROM dataset WHERE name >= $1 AND {SHOWN} ORDER BY name LIMIT 20)
"""
ONE_FIELD_OFF = f"""
SELECT near.scope, near.name FROM unnest($1::text[], $2::text[]) AS pattern (prefix, spelling)
CROSS JOIN LATERAL (
    SELECT scope, name FROM (
        SELECT scope, name FROM dataset
        WHERE name >= prefix AND name < prefix || '~' AND {SHOWN} ORDER BY name LIMIT {MOST}
    ) read WHERE name LIKE spelling LIMIT 20
) near
"""
SAME_PARTS = """
SELECT scope, name FROM dataset_with_grams($1::int4[], $2) WHERE name LIKE $3 ORDER BY name LIMIT 20
"""
# Hops from scope to scope in the index: there are few scopes beside the names in them.
OTHER_SCOPES = f"""
WITH RECURSIVE known AS (
    (SELECT scope, 1 AS hops FROM dataset ORDER BY scope LIMIT 1)
    UNION ALL
    SELECT (SELECT d.scope FROM dataset d WHERE d.scope > known.scope ORDER BY d.scope LIMIT 1), hops + 1
    FROM known WHERE known.scope IS NOT NULL AND hops < {MOST}
)
SELECT d.scope, d.name FROM known JOIN dataset d ON d.scope = known.scope AND d.name = known.scope || $1
WHERE {SHOWN}
"""


async def misses(conn: Connection, wanted: Did) -> list[Did]:
    """Up to three existing datasets, the likeliest first: spelt alike, in another scope, or with one field wrong.

    Reads neighbours in the index, names that begin alike, and short lists of those with the same parts; not all of a
    large catalog.
    """
    head = names.scope_of(wanted.name)
    fields = [head, *wanted.name[len(head) + 1 :].split(".")]
    patterns = [".".join([*fields[:wrong], "*", *fields[wrong + 1 :]]) for wrong in range(1, len(fields))]
    spellings = [names.like(pattern) for pattern in patterns]
    rows = [
        *await conn.fetch(NEIGHBOURS, wanted.name),
        *await conn.fetch(ONE_FIELD_OFF, [names.literal_prefix(pattern) for pattern in patterns], spellings),
        *await conn.fetch(OTHER_SCOPES, wanted.name[len(head) :]),
    ]
    if found := _likeliest(wanted, rows):
        return found
    for pattern, spelling in zip(patterns, spellings, strict=True):
        if grams := await shortlists.rarest(conn, query.parts(Query(pattern))):
            rows += await conn.fetch(SAME_PARTS, grams, MOST, spelling)
    return _likeliest(wanted, rows)


def _likeliest(wanted: Did, rows: Sequence[Mapping[str, str]]) -> list[Did]:
    by_name = {row["name"]: Did(row["scope"], row["name"]) for row in rows}
    return [by_name[name] for name in names.near_misses(wanted.name, by_name)]
