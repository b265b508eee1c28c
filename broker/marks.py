"""Where a list by time stopped, as a text that a client sends back unchanged."""

from datetime import datetime

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
        raise BadRequest("not a mark of this list", object="after", hint="send `next` of the page before, unchanged")
    return when, list(rest)
