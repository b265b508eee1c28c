"""Datasets that somebody who wrote a wrong name may have meant."""

from . import names
from .connection import Connection
from .models import BOOKKEEPING
from .names import Did

NEIGHBOURS = """
(SELECT scope, name FROM dataset WHERE name < $1 AND kind <> ALL($2::text[]) ORDER BY name DESC LIMIT 20)
UNION ALL
(SELECT scope, name FROM dataset WHERE name >= $1 AND kind <> ALL($2::text[]) ORDER BY name LIMIT 20)
"""
ONE_FIELD_OFF = """
SELECT near.scope, near.name FROM unnest($1::text[], $2::text[]) AS pattern (prefix, spelling)
CROSS JOIN LATERAL (
    SELECT scope, name FROM dataset
    WHERE name >= prefix AND name < prefix || '~' AND name LIKE spelling AND kind <> ALL($3::text[])
    ORDER BY name LIMIT 20
) near
"""
# Hops from scope to scope in the index: there are few scopes beside the names in them.
OTHER_SCOPES = """
WITH RECURSIVE known AS (
    (SELECT scope FROM dataset ORDER BY scope LIMIT 1)
    UNION ALL
    SELECT (SELECT d.scope FROM dataset d WHERE d.scope > known.scope ORDER BY d.scope LIMIT 1)
    FROM known WHERE known.scope IS NOT NULL
)
SELECT d.scope, d.name FROM known JOIN dataset d ON d.scope = known.scope AND d.name = known.scope || $1
"""


async def misses(conn: Connection, wanted: Did) -> list[Did]:
    """Up to three existing datasets, the likeliest first: spelt alike, in another scope, or with one field wrong.

    Reads neighbours in the index and names that begin alike; not all of a large catalog.
    """
    head = names.scope_of(wanted.name)
    first, *fields = head, *wanted.name[len(head) + 1 :].split(".")
    prefixes = [".".join([first, *fields[:wrong], ""]) for wrong in range(len(fields))]
    spellings = [
        names.like(".".join([first, *fields[:wrong], "*", *fields[wrong + 1 :]])) for wrong in range(len(fields))
    ]
    rows = [
        *await conn.fetch(NEIGHBOURS, wanted.name, BOOKKEEPING),
        *await conn.fetch(ONE_FIELD_OFF, prefixes, spellings, BOOKKEEPING),
        *await conn.fetch(OTHER_SCOPES, wanted.name[len(head) :]),
    ]
    by_name = {row["name"]: Did(row["scope"], row["name"]) for row in rows}
    return [by_name[name] for name in names.near_misses(wanted.name, by_name)]
