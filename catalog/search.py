"""Datasets by pattern, fields and places, in pages.

Two ways lead to a page. The walk reads names in their order and keeps what fits: at once where much fits, endless
where little does. A short list (by parts of the name, owner, age or place) is complete where little fits. Which one
is short nobody knows beforehand, so they take turns with more rows each time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import Any, TypeAlias

from . import names, query
from .connection import Connection
from .errors import BadName, BadStorage
from .models import SHOWN, Dataset
from .query import SORTS, Query, Where

TURNS = ((1_000, 0), (10_000, 30_000), (300_000, 300_000))
"""Rows that the walk may read, then rows that a short list may have; after the last turn the walk reads on."""
GRAMS_PER_PART = 3
"""The rarest of each part are looked up: the lists of frequent ones are long, and tell little."""

MOST_TO_SORT = 100_000
LAST_VERSION = 2**31 - 1
ORDER = "name, scope, version"
Place: TypeAlias = tuple[str, str, int]
"""Where a list in that order stands."""

OWNED = f"SELECT id, {ORDER} FROM dataset WHERE owner = {{}} AND {SHOWN} LIMIT {{}}::bigint"
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
STORAGES = "SELECT id, name, site FROM storage WHERE name = ANY($1::text[]) OR site = ANY($1::text[])"
SITES = """
ARRAY(SELECT DISTINCT s.site FROM dataset_replica r JOIN storage s ON s.id = r.storage_id
      WHERE r.dataset_id = d.id AND r.files > 0 ORDER BY s.site) AS sites
"""
FREQUENCIES = """
SELECT element, frequency FROM (
    SELECT unnest(most_common_elems::text::int4[]) AS element, unnest(most_common_elem_freqs) AS frequency
    FROM pg_stats WHERE schemaname = current_schema AND tablename = 'dataset_grams'
) known WHERE element = ANY($1::int4[])
"""


@dataclass(frozen=True)
class Row:
    """A dataset's fields, and the sites that have files of it."""

    fields: Mapping[str, Any]
    sites: list[str]

    @property
    def did(self) -> str:
        """With its version, unless that is the latest."""
        version = "" if self.fields["latest"] else f"@{self.fields['version']}"
        return f"{self.fields['scope']}:{self.fields['name']}{version}"

    @property
    def dataset(self) -> Dataset:
        """The same as an object; making one takes longer than finding it."""
        return Dataset.model_validate(self.fields)


@dataclass(frozen=True)
class Page:
    """``after`` continues the list; None at its end."""

    rows: list[Row]
    after: str | None


@dataclass(frozen=True)
class Way:
    """A statement with id, name, scope and version of all that can fit; ``{}`` stand for values, the last a limit."""

    statement: str
    values: list[object]

    def limited(self, where: Where, most: int) -> str:
        return self.statement.format(*(where.value(value) for value in (*self.values, most)))


async def find(conn: Connection, wanted: Query) -> Page:
    """One page of datasets. Raises BadName for what cannot be asked, BadStorage for a place that is not known."""
    storages = await places(conn, wanted)
    if wanted.sort == "name":
        rows = await _by_name(conn, wanted, storages)
    else:
        rows = await _sorted(conn, wanted, storages)
    found = [_row(row) for row in rows[: wanted.limit]]
    return Page(found, _cursor(wanted, found[-1].fields) if len(rows) > wanted.limit else None)


def _row(row: Mapping[str, Any]) -> Row:
    fields = dict(row)
    sites = fields.pop("sites")
    return Row(fields, sites)


async def places(conn: Connection, wanted: Query) -> dict[str, list[int]]:
    """The storages that each name of a storage or site in the question means."""
    asked = [name for name in (wanted.at, wanted.not_at, wanted.complete_at) if name is not None]
    if not asked:
        return {}
    rows = await conn.fetch(STORAGES, asked)
    found = {name: [row["id"] for row in rows if name in (row["name"], row["site"])] for name in asked}
    for name, ids in found.items():
        if not ids:
            raise BadStorage(
                f"there is no storage or site '{name}'", object=name, hint="`prodchain storage ls` names them"
            )
    return found


async def _by_name(conn: Connection, wanted: Query, storages: Mapping[str, Sequence[int]]) -> list[Any]:
    start, limit = _name_cursor(wanted), wanted.limit + 1
    shown = query.view(wanted).conditions
    all_fit = query.name_range(wanted, in_range := Where([], []))
    query.spelling(wanted, spelt := in_range.copy())
    query.details(wanted, details := Where([], spelt.values), storages)
    everything = Where(shown + in_range.conditions, in_range.values)
    fits = Where(shown + spelt.conditions, spelt.values)
    if all_fit and not details.conditions:
        return await _walk(conn, fits, details, start, None, limit)

    found: list[Any] = []
    for rows_read, most in TURNS:
        end = await _boundary(conn, everything, start, rows_read)
        found += await _walk(conn, fits, details, start, end, limit - len(found))
        if end is None or len(found) == limit:
            return found
        start = end
        for way in await ways(conn, wanted, storages) if most else ():
            among = Where(shown + details.conditions, [])
            rest = await _short_list(conn, way, spelt, among, start, most, limit - len(found))
            if rest is not None:
                return found + rest
    return found + await _walk(conn, fits, details, start, None, limit - len(found))


async def _boundary(conn: Connection, everything: Where, start: Place | None, rows: int) -> Place | None:
    """Where the walk has read so many rows; None if there are fewer."""
    query.after(where := everything.copy(), start)
    statement = f"SELECT {ORDER} FROM dataset WHERE {where} ORDER BY {ORDER} OFFSET {rows - 1} LIMIT 1"
    found = await fetch(conn, statement, where.values)
    return tuple(found[0]) if found else None


async def _walk(
    conn: Connection, fits: Where, details: Where, start: Place | None, end: Place | None, limit: int
) -> list[Any]:
    """What fits after ``start`` up to ``end``: spelling is judged in the index, the rest in the rows."""
    query.after(inner := fits.copy(), start)
    if end is not None:
        inner.add(f"({ORDER}) <= ({{}}, {{}}, {{}})", *end)
    statement = f"""
    SELECT d.*, {SITES} FROM (
        SELECT id, {ORDER} FROM dataset WHERE {inner} ORDER BY {ORDER} OFFSET 0
    ) read JOIN dataset d ON d.id = read.id
    WHERE {Where(details.conditions, [])} ORDER BY read.name, read.scope, read.version LIMIT {limit}
    """
    return await fetch(conn, statement, inner.values)


async def _short_list(
    conn: Connection, way: Way, spelt: Where, details: Where, start: Place | None, most: int, limit: int
) -> list[Any] | None:
    """What fits after ``start`` among what the way leads to; None if that is more than ``most``."""
    query.after(inner := spelt.copy(), start)
    names_fit = str(inner)
    statement = f"""
    WITH candidate AS MATERIALIZED ({way.limited(inner, most + 1)})
    SELECT (SELECT count(*) FROM candidate) AS candidates, hit.* FROM (VALUES (1)) one LEFT JOIN (
        SELECT d.*, {SITES} FROM (
            SELECT * FROM candidate
            WHERE (SELECT count(*) FROM candidate) <= {most} AND {names_fit} ORDER BY {ORDER} OFFSET 0
        ) read JOIN dataset d ON d.id = read.id
        WHERE {Where(details.conditions, [])} ORDER BY read.name, read.scope, read.version LIMIT {limit}
    ) hit ON true
    """
    return _unless_too_many(await fetch(conn, statement, inner.values), most)


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
        where.add(f"(d.{column}, d.id) {'<' if descending else '>'} ({{}}, {{}})", *_sort_cursor(wanted, column))
    way_down = "DESC" if descending else "ASC"
    order = f"d.{column} {way_down}, d.id {way_down} LIMIT {wanted.limit + 1}"
    for way in await ways(conn, wanted, storages):
        among = where.copy()
        statement = f"""
        WITH candidate AS MATERIALIZED ({way.limited(among, MOST_TO_SORT + 1)})
        SELECT (SELECT count(*) FROM candidate) AS candidates, hit.* FROM (VALUES (1)) one LEFT JOIN (
            SELECT d.*, {SITES} FROM dataset d
            WHERE (SELECT count(*) FROM candidate) <= {MOST_TO_SORT}
              AND d.id IN (SELECT id FROM candidate) AND {where}
            ORDER BY {order}
        ) hit ON true
        """
        rows = _unless_too_many(await fetch(conn, statement, among.values), MOST_TO_SORT)
        if rows is not None:
            return rows
    return await fetch(conn, f"SELECT d.*, {SITES} FROM dataset d WHERE {where} ORDER BY {order}", where.values)


async def ways(conn: Connection, wanted: Query, storages: Mapping[str, Sequence[int]]) -> list[Way]:
    """Short lists that hold all that fits, as far as indexes lead to them."""
    found = []
    if wanted.usual:
        if grams := await rarest(conn, query.parts(wanted)):
            found.append(Way("SELECT * FROM dataset_with_grams({}::int4[], {}::bigint)", [grams]))
        if wanted.owner is not None:
            found.append(Way(OWNED, [wanted.owner]))
        if wanted.since is not None:
            found.append(Way(NEWEST, [wanted.since]))
    return found + [Way(STORED, [storages[place]]) for place in (wanted.at, wanted.complete_at) if place is not None]


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


def _cursor(wanted: Query, last: Mapping[str, Any]) -> str:
    if wanted.sort == "name":
        return f"{last['scope']}:{last['name']}" + (f"@{last['version']}" if wanted.versions else "")
    value = last[SORTS[wanted.sort.removeprefix("-")]]
    return f"{value.isoformat() if isinstance(value, datetime) else value}~{last['id']}"


def _name_cursor(wanted: Query) -> Place | None:
    if wanted.after is None:
        return None
    did, version = names.parse_versioned(wanted.after)
    # Without a version the whole name was seen.
    return did.name, did.scope, version or LAST_VERSION


def _sort_cursor(wanted: Query, column: str) -> tuple[datetime | int, int]:
    value, _, key = (wanted.after or "").partition("~")
    try:
        return (datetime.fromisoformat(value) if column == "created_at" else int(value)), int(key)
    except ValueError:
        raise BadName(
            f"'{wanted.after}' continues no list sorted by {wanted.sort}",
            object=wanted.after or "",
            hint="take what the page before gave, or leave it out",
        ) from None


async def fetch(conn: Connection, statement: str, values: Sequence[object]) -> list[Any]:
    """Prepared for this call alone: a plan that PostgreSQL settles on for all patterns reads every name."""
    return await (await conn.prepare(statement)).fetch(*values)
