"""Pages of a list of datasets, and the marks by which the next page goes on."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from . import names
from .errors import BadName
from .models import Dataset
from .query import SORTS, Query

LAST_VERSION = 2**31 - 1
Place: TypeAlias = tuple[str, str, int]
"""Where a list in that order stands."""


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


def mark_of(wanted: Query, last: Mapping[str, Any]) -> str:
    if wanted.sort == "name":
        return f"{last['scope']}:{last['name']}" + (f"@{last['version']}" if wanted.versions else "")
    value = last[SORTS[wanted.sort.removeprefix("-")]]
    return f"{value.isoformat() if isinstance(value, datetime) else value}~{last['id']}"


def by_name(wanted: Query) -> Place | None:
    if wanted.after is None:
        return None
    did, version = names.parse_versioned(wanted.after)
    # Without a version the whole name was seen.
    return did.name, did.scope, version or LAST_VERSION


def by_column(wanted: Query, column: str) -> tuple[datetime | int, int]:
    value, _, key = (wanted.after or "").partition("~")
    try:
        mark = (datetime.fromisoformat(value) if column == "created_at" else _int(value)), _int(key)
    except ValueError:
        raise BadName(
            f"'{wanted.after}' continues no list sorted by {wanted.sort}",
            object=wanted.after or "",
            hint="take what the page before gave, or leave it out",
        ) from None
    return mark


def _int(text: str) -> int:
    """A number that a column can have."""
    number = int(text)
    if not 0 <= number < 2**63:
        raise ValueError(text)
    return number
