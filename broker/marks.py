"""Where a list by time or number stopped, as a text that a client sends back unchanged."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from .errors import BadRequest


def mark_of(at: datetime, *rest: object) -> str:
    return "~".join([at.isoformat(), *map(str, rest)])


def read_mark(text: str | None, parts: int) -> tuple[datetime | None, list[str | None]]:
    """The time and the other parts, all None without a mark; BadRequest for what ``mark_of`` did not make."""
    if text is None:
        return None, [None] * parts
    at, *rest = text.split("~", parts)
    try:
        when = datetime.fromisoformat(at)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None or len(rest) != parts:
        raise _wrong()
    return when, list(rest)


def numbers(text: str | None, parts: int) -> list[int]:
    """The numbers of a mark (``12~34``), zeros without one; BadRequest for anything else."""
    if text is None:
        return [0] * parts
    found = text.split("~")
    if len(found) != parts or not all(each.isdecimal() and int(each) < 2**63 for each in found):
        raise _wrong()
    return [int(each) for each in found]


def _wrong() -> BadRequest:
    return BadRequest("not a mark of this list", object="after", hint="send `next` of the page before, unchanged")


def part_of(
    views: Sequence[dict[str, Any]], keys: Sequence[str], limit: int, after: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of a list that is short enough to be made whole; ``keys`` tell its items apart and order them."""

    def mark(view: dict[str, Any]) -> str:
        return "~".join(str(view[key]) for key in keys)

    left = [view for view in sorted(views, key=mark) if after is None or mark(view) > after]
    return left[:limit], mark(left[limit - 1]) if len(left) > limit else None
