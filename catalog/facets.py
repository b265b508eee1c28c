"""How many datasets there are for each value of each field: what a dataset browser shows beside its list."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import query, search, shortlists
from .connection import Connection
from .query import FACETS, Query, Where

EXACT_MOST = 20_000
"""So many datasets are counted one by one; of more a sample is counted."""
SAMPLE_PAGES = 500
"""Pages of the table in a sample: some 10,000 rows."""
SURELY_MORE = 10
"""An estimate of so many times EXACT_MOST is not tried to be beaten by counting."""
VALUES_MOST = 100
"""The most frequent values of each field; a field like the number has millions."""

COUNTED = f"""
SELECT field, value, n FROM (
    SELECT field, value, count(*) AS n, row_number() OVER (PARTITION BY field ORDER BY count(*) DESC, value) AS place
    FROM matched CROSS JOIN LATERAL (
        VALUES ('', ''), {", ".join(f"('{name}', {name})" for name in FACETS)}
    ) pair (field, value)
    WHERE value IS NOT NULL AND field = ANY({{}}::text[]) GROUP BY field, value
) counted WHERE place <= {VALUES_MOST} ORDER BY field, place
"""
PERCENT = "SELECT least(100, 100.0 * $1 * 8192 / greatest(pg_relation_size('dataset'), 1))::real"


@dataclass(frozen=True)
class FacetCounts:
    """Datasets per value of each field, most first, each field counted as if nothing were asked of it.

    ``datasets`` fit everything that is asked. Not ``exact``: estimated from a sample; rare values may be missing.
    """

    fields: dict[str, dict[str, int]]
    datasets: int
    exact: bool


async def facet_counts(conn: Connection, wanted: Query) -> FacetCounts:
    """The counts of all fields, at a flat cost: exact up to EXACT_MOST datasets, estimated beyond."""
    storages = await search.places(conn, wanted)
    # With what is asked of the other fields, an unasked field has the same datasets as the list has.
    unasked = ["", *(name for name in FACETS if name not in wanted.facets)]
    fields, exact = await _count(conn, wanted, unasked, storages)
    datasets = fields.pop("", {}).get("", 0)
    for name in wanted.facets:
        without, known = await _count(conn, wanted.without_facet(name), [name], storages)
        fields[name] = without.get(name, {})
        exact = exact and known
    return FacetCounts({name: fields.get(name, {}) for name in FACETS}, datasets, exact)


async def _count(
    conn: Connection, wanted: Query, fields: Sequence[str], storages: Mapping[str, Sequence[int]]
) -> tuple[dict[str, dict[str, int]], bool]:
    where = query.view(wanted)
    query.name_range(wanted, where)
    in_range = where.copy()
    query.spelling(wanted, where)
    query.details(wanted, where, storages)
    walk = shortlists.Way(f"SELECT id, {query.ORDER} FROM dataset WHERE {in_range} LIMIT {{}}::bigint", [])
    counted = await _count_candidates(conn, walk, where, fields)
    if counted is not None:
        return counted, True
    estimated = await _estimate(conn, where, ["", *fields])
    if estimated.get("", {}).get("", 0) < EXACT_MOST * SURELY_MORE:
        for way in await shortlists.ways(conn, wanted, storages):
            counted = await _count_candidates(conn, way, where, fields)
            if counted is not None:
                return counted, True
    return estimated, False


async def _count_candidates(
    conn: Connection, way: shortlists.Way, where: Where, fields: Sequence[str]
) -> dict[str, dict[str, int]] | None:
    """The counts among what the way leads to; None if that is too much to count."""
    where = where.copy()
    statement = f"""
    WITH candidate AS MATERIALIZED ({way.limited(where, EXACT_MOST + 1)}),
    matched AS MATERIALIZED (
        SELECT d.* FROM dataset d
        WHERE (SELECT count(*) FROM candidate) <= {EXACT_MOST} AND d.id IN (SELECT id FROM candidate) AND {where}
    )
    SELECT (SELECT count(*) FROM candidate) AS candidates, counted.*
    FROM (VALUES (1)) one LEFT JOIN ({COUNTED.format(where.value(list(fields)))}) counted ON true
    """
    rows = await shortlists.fetch(conn, statement, where.values)
    return None if rows[0]["candidates"] > EXACT_MOST else _by_field(rows, 1.0)


async def _estimate(conn: Connection, where: Where, fields: Sequence[str]) -> dict[str, dict[str, int]]:
    """The counts in a sample of the table's pages, the same ones each time, for all of it."""
    where = where.copy()
    percent = await conn.fetchval(PERCENT, SAMPLE_PAGES)
    statement = f"""
    WITH matched AS MATERIALIZED (
        SELECT d.* FROM dataset d TABLESAMPLE SYSTEM ({where.value(percent)}::real) REPEATABLE (0) WHERE {where}
    )
    {COUNTED.format(where.value(list(fields)))}
    """
    return _by_field(await shortlists.fetch(conn, statement, where.values), 100.0 / percent)


def _by_field(rows: Sequence[Any], weight: float) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for row in rows:
        if row["field"] is not None:
            found[row["field"]][row["value"]] = round(row["n"] * weight)
    return found
