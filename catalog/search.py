"""Datasets by pattern, fields and places, in pages.

Two ways lead to a page. The walk reads names in their order and keeps what fits: at once where much fits, endless
where little does. A short list (by parts of the name, owner, age or place) is complete where little fits. Which one
is short nobody knows beforehand, so they take turns with more rows each time.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from . import names, pages, query, shortlists
from .connection import Connection
from .errors import StorageUnknown
from .pages import Page, Place, Row
from .query import ORDER, SORTS, Query, Where

TURNS = ((1_000, 1_000), (10_000, 30_000), (300_000, 300_000))
"""Rows that the walk may read, then rows that a short list may have; after the last turn the walk reads on."""
SLOW_FROM = 10_000
"""Before so many rows, ways are not gone whose first row takes as long as all of them."""
MOST_TO_SORT = 100_000
STORAGES = "SELECT id, name, site FROM storage WHERE name = ANY($1::text[]) OR site = ANY($1::text[])"
PLACES = "SELECT name, site FROM storage"
SITES = "SELECT id, site FROM storage WHERE id = ANY($1::smallint[])"
HELD = """
ARRAY(SELECT storage_id FROM dataset_replica r WHERE r.dataset_id = d.id AND r.files > 0) AS storages
"""


async def find(conn: Connection, wanted: Query) -> Page:
    """One page of datasets. Raises BadName for what cannot be asked, StorageUnknown for a place that is not there."""
    storages = await places(conn, wanted)
    if wanted.sort == "name":
        rows = await _by_name(conn, wanted, storages)
    else:
        rows = await _sorted(conn, wanted, storages)
    found = await _with_sites(conn, rows[: wanted.limit])
    return Page(found, pages.mark_of(wanted, found[-1].fields) if len(rows) > wanted.limit else None)


async def _with_sites(conn: Connection, rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    used = {storage_id for row in rows for storage_id in row["storages"]}
    site_of = {row["id"]: row["site"] for row in await conn.fetch(SITES, used)} if used else {}
    columns = list(rows[0].keys()) if rows else []
    found = []
    for row in rows:
        fields = dict(zip(columns, row.values(), strict=True))  # a record as a mapping is read far slower
        found.append(Row(fields, sorted({site_of[key] for key in fields.pop("storages")})))
    return found


async def places(conn: Connection, wanted: Query) -> dict[str, list[int]]:
    """The storages that each name of a storage or site in the question means."""
    asked = [name for name in (wanted.at, wanted.not_at, wanted.complete_at) if name is not None]
    if not asked:
        return {}
    rows = await conn.fetch(STORAGES, asked)
    found = {name: [row["id"] for row in rows if name in (row["name"], row["site"])] for name in asked}
    for name, ids in found.items():
        if not ids:
            raise await _unknown(conn, name)
    return found


async def _unknown(conn: Connection, name: str) -> StorageUnknown:
    """A place that is not there; the hint has names that are like it."""
    known = {word for row in await conn.fetch(PLACES) for word in row.values()}
    misses = names.near_misses(name, sorted(known))
    hint = f"did you mean {' or '.join(misses)}?" if misses else "`prodchain storage ls` names them"
    return StorageUnknown(f"there is no storage or site '{name}'", object=name, hint=hint)


async def _by_name(conn: Connection, wanted: Query, storages: Mapping[str, Sequence[int]]) -> list[Any]:
    start, limit = pages.by_name(wanted), wanted.limit + 1
    shown = query.view(wanted).conditions
    all_fit = query.name_range(wanted, in_range := Where([], []))
    spelt = in_range.copy()
    if not all_fit:
        query.spelling(wanted, spelt)
    query.details(wanted, details := Where([], spelt.values), storages)
    everything = Where(shown + in_range.conditions, in_range.values)
    fits = Where(shown + spelt.conditions, spelt.values)
    if all_fit and not details.conditions:
        # One plan is the best for all prefixes, so the connection may keep it.
        statement, values = _walking(fits, details, start, None, limit)
        return await conn.fetch(statement, *values)

    found: list[Any] = []
    for rows_read, most in TURNS:
        end = await _boundary(conn, everything, start, rows_read)
        found += await _walk(conn, fits, details, start, end, limit - len(found))
        if end is None or len(found) == limit:
            return found
        start = end
        for way in await shortlists.ways(conn, wanted, storages):
            if way.slow and most < SLOW_FROM:
                continue
            among = Where(shown + details.conditions, [])
            rest = await _short_list(conn, way, spelt, among, start, most, limit - len(found))
            if rest is not None:
                return found + rest
    return found + await _walk(conn, fits, details, start, None, limit - len(found))


async def _boundary(conn: Connection, everything: Where, start: Place | None, rows: int) -> Place | None:
    """Where the walk has read so many rows; None if there are fewer."""
    query.after(where := everything.copy(), start)
    statement = f"SELECT {ORDER} FROM dataset WHERE {where} ORDER BY {ORDER} OFFSET {rows - 1} LIMIT 1"
    found = await shortlists.fetch(conn, statement, where.values)
    return tuple(found[0]) if found else None


async def _walk(
    conn: Connection, fits: Where, details: Where, start: Place | None, end: Place | None, limit: int
) -> list[Any]:
    statement, values = _walking(fits, details, start, end, limit)
    return await shortlists.fetch(conn, statement, values)


def _walking(
    fits: Where, details: Where, start: Place | None, end: Place | None, limit: int
) -> tuple[str, list[object]]:
    """What fits after ``start`` up to ``end``: spelling is judged in the index, the rest in the rows."""
    query.after(inner := fits.copy(), start)
    if end is not None:
        inner.add(f"({ORDER}) <= ({{}}, {{}}, {{}})", *end)
    statement = f"""
    SELECT d.*, {HELD} FROM (
        SELECT id, {ORDER} FROM dataset WHERE {inner} ORDER BY {ORDER} OFFSET 0
    ) read JOIN dataset d ON d.id = read.id
    WHERE {Where(details.conditions, [])} ORDER BY read.name, read.scope, read.version LIMIT {limit}
    """
    return statement, inner.values


async def _short_list(
    conn: Connection, way: shortlists.Way, spelt: Where, details: Where, start: Place | None, most: int, limit: int
) -> list[Any] | None:
    """What fits after ``start`` among what the way leads to; None if that is more than ``most``."""
    query.after(inner := spelt.copy(), start)
    names_fit = str(inner)
    statement = f"""
    WITH candidate AS MATERIALIZED ({way.limited(inner, most + 1)})
    SELECT (SELECT count(*) FROM candidate) AS candidates, hit.* FROM (VALUES (1)) one LEFT JOIN (
        SELECT d.*, {HELD} FROM (
            SELECT * FROM candidate
            WHERE (SELECT count(*) FROM candidate) <= {most} AND {names_fit} ORDER BY {ORDER} OFFSET 0
        ) read JOIN dataset d ON d.id = read.id
        WHERE {Where(details.conditions, [])} ORDER BY read.name, read.scope, read.version LIMIT {limit}
    ) hit ON true
    """
    return _unless_too_many(await shortlists.fetch(conn, statement, inner.values), most)


def _unless_too_many(rows: Sequence[Any], most: int) -> list[Any] | None:
    if rows[0]["candidates"] > most:
        return None
    found = [dict(row) for row in rows if row["id"] is not None]
    for row in found:
        del row["candidates"]
    return found


async def _sorted(conn: Connection, wanted: Query, storages: Mapping[str, Sequence[int]]) -> list[Any]:
    """In another order: of a short list, or else as the database thinks best."""
    column, descending = SORTS[wanted.sort.removeprefix("-")], wanted.sort.startswith("-")
    where = query.view(wanted)
    query.name_range(wanted, where)
    query.spelling(wanted, where)
    query.details(wanted, where, storages)
    if wanted.after is not None:
        where.add(f"(d.{column}, d.id) {'<' if descending else '>'} ({{}}, {{}})", *pages.by_column(wanted, column))
    way_down = "DESC" if descending else "ASC"
    order = f"d.{column} {way_down}, d.id {way_down} LIMIT {wanted.limit + 1}"
    for way in await shortlists.ways(conn, wanted, storages):
        among = where.copy()
        statement = f"""
        WITH candidate AS MATERIALIZED ({way.limited(among, MOST_TO_SORT + 1)})
        SELECT (SELECT count(*) FROM candidate) AS candidates, hit.* FROM (VALUES (1)) one LEFT JOIN (
            SELECT d.*, {HELD} FROM dataset d
            WHERE (SELECT count(*) FROM candidate) <= {MOST_TO_SORT}
              AND d.id IN (SELECT id FROM candidate) AND {where}
            ORDER BY {order}
        ) hit ON true
        """
        rows = _unless_too_many(await shortlists.fetch(conn, statement, among.values), MOST_TO_SORT)
        if rows is not None:
            return rows
    return await shortlists.fetch(
        conn, f"SELECT d.*, {HELD} FROM dataset d WHERE {where} ORDER BY {order}", where.values
    )
