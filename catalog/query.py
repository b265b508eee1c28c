"""What can be asked of the catalog's datasets, and what stands for it in SQL."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from . import names
from .errors import BadName
from .models import BOOKKEEPING, SHOWN, DatasetKind

FACETS = ("project", "number", "physics", "step", "format", "tags")
SORTS = {"name": "name", "created": "created_at", "bytes": "bytes", "files": "files", "events": "events"}
"""Orders and their columns; with ``-`` before them from the greatest down (but for names)."""
ORDER = "name, scope, version"
PATTERN_MAX = 300
GRAM = 3


@dataclass(frozen=True)
class Query:
    """Which datasets; each condition narrows.

    ``pattern`` has ``*`` and ``?``, and is for all scopes unless it names one. ``at``, ``not_at``, ``complete_at``
    are names of storages or sites. Shown are the latest versions, not deleted, without what the system makes for
    itself, unless ``versions``, ``deleted``, ``bookkeeping`` or a kind asks for it. ``after`` is a page's ``after``.
    """

    pattern: str = "*"
    kinds: Sequence[DatasetKind] = ()
    bookkeeping: bool = False
    owner: str | None = None
    facets: Mapping[str, str] = field(default_factory=dict)
    at: str | None = None
    not_at: str | None = None
    complete_at: str | None = None
    since: datetime | None = None
    deleted: bool = False
    versions: bool = False
    sort: str = "name"
    limit: int = 100
    after: str | None = None

    def __post_init__(self) -> None:
        if unknown := set(self.facets) - set(FACETS):
            raise BadName(
                f"no such field: {', '.join(sorted(unknown))}",
                object=self.pattern,
                hint=f"one of {', '.join(FACETS)}",
            )
        if self.sort.removeprefix("-") not in SORTS or self.sort == "-name":
            raise BadName(
                f"datasets are not sorted by '{self.sort}'",
                object=self.sort,
                hint=f"one of {', '.join(SORTS)}; from the greatest down with '-', as in -bytes",
            )
        for value in (self.pattern, self.owner, self.after, *self.facets.values()):
            _refuse_odd(value or "")

    @property
    def usual(self) -> bool:
        """Whether only what is usually shown is asked for, which has indexes of its own."""
        return not (self.bookkeeping or self.deleted or self.versions or set(self.kinds) & set(BOOKKEEPING))

    @property
    def owned_by(self) -> str:
        """The column that ``owner`` is looked for in: a group, as in group:higgs, has datasets on its account."""
        return "charged" if (self.owner or "").startswith("group:") else "owner"

    def without_facet(self, name: str) -> "Query":
        return replace(self, facets={key: value for key, value in self.facets.items() if key != name})


def _refuse_odd(value: str) -> None:
    if len(value) > PATTERN_MAX:
        raise BadName(
            f"a search of {len(value)} characters, {PATTERN_MAX} at most", object=value[:40], hint="search for a part"
        )
    if "\0" in value:
        raise BadName("no name has the character NUL", object=value.replace("\0", "?"), hint="leave it out")


def facet_pattern(facets: Mapping[str, str]) -> str:
    """A pattern that all names with these fields match, as the fields are parts of the names."""
    if not facets:
        return "*"
    # The fields are no patterns: what would be a wildcard in them stands in no name, and matches anything here.
    fields = [facets.get(name, "*") for name in FACETS]
    while fields[-1] == "*":
        fields.pop()
    return ".".join(fields) + "*"


def parts(query: Query) -> list[str]:
    """What all that fits has in its ``scope:name``, between wildcards, where it is long enough for a look-up."""
    scope, name = names.parse_pattern(query.pattern)
    patterns = (f"{scope}:{name}", f"*:{facet_pattern(query.facets)}")
    return [part for pattern in patterns for part in re.split(r"[*?]+", pattern) if len(part) >= GRAM]


def grams(text: str) -> list[int]:
    """The runs of three characters, as ``name_grams`` of the database packs them."""
    data = text.encode()
    return [int.from_bytes(data[place : place + GRAM]) for place in range(len(data) - GRAM + 1)]


@dataclass
class Where:
    """Conditions on the table ``dataset d``, and the values they refer to as ``$1``, ``$2``..."""

    conditions: list[str]
    values: list[object]

    def value(self, value: object) -> str:
        """Its place holder."""
        self.values.append(value)
        return f"${len(self.values)}"

    def add(self, condition: str, *values: object) -> None:
        """A condition with one ``{}`` for each value."""
        self.conditions.append(condition.format(*(self.value(value) for value in values)))

    def __str__(self) -> str:
        return " AND ".join(self.conditions) or "true"

    def copy(self) -> "Where":
        return Where(list(self.conditions), list(self.values))


def after(where: Where, place: Sequence[object] | None) -> None:
    """Add that names come after the one at ``place``: name, scope, version."""
    if place is not None:
        where.add("(name, scope, version) > ({}, {}, {})", *place)


def view(query: Query) -> Where:
    """Which rows count at all, whatever their names."""
    where = Where([], [])
    if query.usual:
        where.add(SHOWN)
    else:
        if not query.versions:
            where.add("latest")
        if not query.deleted:
            where.add("deleted_at IS NULL")
        if not query.kinds and not query.bookkeeping:
            where.add("kind NOT IN ('dispatch', 'sub')")
    return where


def name_range(query: Query, where: Where) -> bool:
    """Add the range of names that can match; True if all names in it do match."""
    wanted = names.parse_pattern(query.pattern)
    if wanted.name == names.literal_prefix(wanted.name):
        where.add("name = {}", wanted.name)
    else:
        prefix = max(names.literal_prefix(wanted.name), names.literal_prefix(facet_pattern(query.facets)), key=len)
        if prefix:
            where.add("name >= {} AND name < {}", prefix, prefix + "~")  # '~' is greater than what names have
    if wanted.scope == names.literal_prefix(wanted.scope):
        where.add("scope = {}", wanted.scope)
        rest = "*"
    else:
        rest = wanted.scope
    return rest == "*" and not query.facets and re.fullmatch(r"[^*?]*\*?", wanted.name) is not None


def spelling(query: Query, where: Where) -> None:
    """Add what the name itself tells, in its index as well as in the table."""
    wanted = names.parse_pattern(query.pattern)
    for column, pattern in (("name", wanted.name), ("scope", wanted.scope), ("name", facet_pattern(query.facets))):
        if pattern.strip("*"):
            where.add(f"{column} LIKE {{}}", names.like(pattern))


def details(query: Query, where: Where, storages: Mapping[str, Sequence[int]]) -> None:
    """Add what only the row of ``dataset d`` tells; ``storages`` are the ids that each name of a place means."""
    for name, value in query.facets.items():
        where.add(f"d.{name} = {{}}", value)
    if query.kinds:
        where.add("d.kind = ANY({}::text[])", list(query.kinds))
    if query.owner is not None:
        where.add(f"d.{query.owned_by} = {{}}", query.owner)
    if query.since is not None:
        where.add("d.created_at >= {}", query.since)
    copy = "EXISTS (SELECT FROM dataset_replica r WHERE r.dataset_id = d.id AND r.storage_id = ANY({}) AND "
    if query.at is not None:
        where.add(copy + "r.files > 0)", storages[query.at])
    if query.not_at is not None:
        where.add("NOT " + copy + "r.files > 0)", storages[query.not_at])
    if query.complete_at is not None:
        where.add(copy + "r.files = d.files AND d.files > 0)", storages[query.complete_at])
