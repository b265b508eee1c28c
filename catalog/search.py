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

TURNS = ((1_000, 0), (20_000, 30_000), (300_000, 100_000))
"""Rows that the walk may read, then rows that a short list may have; after the last turn the walk reads on."""
GRAMS_PER_PART = 3
"""The rarest of each part are looked up: the lists of frequent ones are long, and tell little."""

MOST_TO_SORT = 100_000
LAST_VERSION = 2**31 - 1
ORDER = "name, scope, version"
Place: TypeAlias = tuple[str, str, int]
"""Where a list in that order stands."""

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
    """A dataset, and the sites that have files of it."""

    dataset: Dataset
    sites: list[str]


@dataclass(frozen=True)
class Page:
    """``after`` continues the list; None at its end."""

    rows: list[Row]
    after: str | None


@dataclass(frozen=True)
class Way:
    """A statement with the ids of all datasets that can fit; ``{}`` stand for its values, the last for a limit."""

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
    return Page(found, _cursor(wanted, found[-1].dataset) if len(rows) > wanted.limit else None)


def _row(row: Mapping[str, Any]) -> Row:
    fields = dict(row)
    sites = fields.pop("sites")
    return Row(Dataset.model_validate(fields), sites)


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
    everything = query.view(wanted)
    all_fit = query.name_range(wanted, everything)
    query.spelling(wanted, fits := everything.copy())
    query.details(wanted, details := Where([], fits.values), storages)
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
            where = fits.copy()
            query.after(where, start)
            rest = await _short_list(conn, way, Where(where.conditions + details.conditions, where.values), most,
                                     f"{ORDER} LIMIT {limit - len(found)}")  # fmt: skip
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
        rows = await _short_list(conn, way, where, MOST_TO_SORT, order)
        if rows is not None:
            return rows
    return await fetch(conn, f"SELECT d.*, {SITES} FROM dataset d WHERE {where} ORDER BY {order}", where.values)


async def _short_list(conn: Connection, way: Way, where: Where, most: int, order: str) -> list[Any] | None:
    """All that fits among what the way leads to, in order; None if that is more than ``most``."""
    where = where.copy()
    statement = f"""
    WITH candidate AS MATERIALIZED ({way.limited(where, most + 1)})
    SELECT (SELECT count(*) FROM candidate) AS candidates, hit.* FROM (VALUES (1)) one LEFT JOIN (
        SELECT d.*, {SITES} FROM dataset d
        WHERE (SELECT count(*) FROM candidate) <= {most} AND d.id IN (SELECT id FROM candidate) AND {where}
        ORDER BY {order}
    ) hit ON true
    """
    rows = [dict(row) for row in await fetch(conn, statement, where.values)]
    if rows[0]["candidates"] > most:
        return None
    return [row for row in rows if row.pop("candidates") is not None and row["id"] is not None]


async def ways(conn: Connection, wanted: Query, storages: Mapping[str, Sequence[int]]) -> list[Way]:
    """Short lists that hold all that fits, as far as indexes lead to them."""
    found = []
    if wanted.usual:
        if grams := await rarest(conn, query.parts(wanted)):
            found.append(Way("SELECT dataset_with_grams({}::int4[], {}::bigint) AS id", [grams]))
        if wanted.owner is not None:
            found.append(Way(f"SELECT id FROM dataset WHERE owner = {{}} AND {SHOWN} LIMIT {{}}::bigint",
                             [wanted.owner]))  # fmt: skip
        if wanted.since is not None:
            newest = "ORDER BY created_at DESC, id DESC LIMIT {}::bigint"
            found.append(Way(f"SELECT id FROM dataset WHERE created_at >= {{}} AND {SHOWN} {newest}",
                             [wanted.since]))  # fmt: skip
    found += [
        Way(
            "SELECT dataset_id AS id FROM dataset_replica WHERE storage_id = ANY({}::smallint[]) LIMIT {}::bigint",
            [storages[place]],
        )
        for place in (wanted.at, wanted.complete_at)
        if place is not None
    ]
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


def _cursor(wanted: Query, last: Dataset) -> str:
    if wanted.sort == "name":
        return f"{last.scope}:{last.name}@{last.version}"
    value = getattr(last, SORTS[wanted.sort.removeprefix("-")])
    return f"{value.isoformat() if isinstance(value, datetime) else value}~{last.id}"


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
