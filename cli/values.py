"""One value as text: short for people, exact for programs."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from .errors import Usage


class Kind(StrEnum):
    """What a value is, which says how it is written."""

    TEXT = "text"
    NUMBER = "number"
    BYTES = "bytes"
    TIME = "time"
    SECONDS = "seconds"


_UNITS = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
_SPANS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def exact(value: Any, kind: Kind = Kind.TEXT) -> str:
    """For a program: raw numbers, times as ISO 8601 in UTC, no tabs or line breaks, empty for nothing."""
    if value is None:
        return ""
    if kind is Kind.TIME:
        return moment(value).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ",".join(f"{key}={number}" for key, number in value.items())
    if isinstance(value, list | tuple):
        return ",".join(exact(each) for each in value)
    return " ".join(str(value).split())


def readable(value: Any, kind: Kind = Kind.TEXT, *, now: datetime | None = None) -> str:
    """For a person: sizes with units, times as ages, a dash for nothing."""
    if value is None or value in ("", [], {}):
        return "-"
    if kind is Kind.BYTES:
        return size(value)
    if kind is Kind.TIME:
        return age(moment(value), now or datetime.now(UTC))
    if kind is Kind.SECONDS:
        return span(value)
    if kind is Kind.NUMBER and isinstance(value, int):
        return f"{value:,}".replace(",", " ")
    if isinstance(value, Mapping):
        return " ".join(f"{number} {key}" for key, number in value.items())
    if isinstance(value, list | tuple):
        return " ".join(readable(each) for each in value)
    return exact(value)


def size(number: float) -> str:
    """Bytes in decimal units, three digits: ``61.2 GB``."""
    for unit in _UNITS:
        if abs(number) < 999.5 or unit == _UNITS[-1]:
            break
        number /= 1000
    return f"{number:.3g} {unit}" if unit != "B" else f"{number:.0f} B"


def span(seconds: float) -> str:
    """A time span in its two largest units: ``1 h 12 min``."""
    left, words = round(seconds), []
    for length, unit in _SPANS:
        if left >= length:
            words.append(f"{left // length} {unit}")
            left %= length
        elif words:
            break
    return " ".join(words[:2]) or "0 s"


def age(then: datetime, now: datetime) -> str:
    seconds = (now - then).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"{span(seconds)} ago" if seconds > 0 else f"in {span(-seconds)}"


_AGO = re.compile(r"(\d{1,6})\s*(d|h|min|m|s|w)")
_LENGTHS = {unit: length for length, unit in _SPANS} | {"m": 60, "w": 7 * 86400}


def seconds_of(text: str) -> int:
    """A time span as somebody writes it: ``7d``, ``12h``, ``30min``, ``2w``."""
    found = _AGO.fullmatch(text.strip())
    if found is None:
        raise Usage("this is no time span", object=text, hint="write it as 7d, 12h, 30min or 2w")
    return int(found[1]) * _LENGTHS[found[2]]


def bytes_of(text: str) -> int:
    """An amount as somebody writes it, in decimal units: ``500GB``, ``1.5 TB``, ``12000``."""
    found = re.fullmatch(r"(\d{1,18}(?:\.\d+)?)\s*([kMGTPE]?)B?", text.strip())
    if found is None:
        raise Usage("this is no amount of bytes", object=text, hint="write it as 500GB or 1.5TB")
    return int(float(found[1]) * 1000 ** " kMGTPE".index(found[2] or " "))


def time_before(text: str | None, now: datetime) -> str | None:
    """The time that ``7d`` (ago) or a date or time in UTC means, as ISO 8601; None for none."""
    if text is None:
        return None
    if _AGO.fullmatch(text.strip()):
        return (now - timedelta(seconds=seconds_of(text))).isoformat()
    try:
        return moment(text).isoformat()
    except ValueError:
        hint = "write 10min, 12h or 7d for so long ago, 2026-11-01 or 2026-11-01T12:00 (UTC)"
        raise Usage("this is no time", object=text, hint=hint) from None


def time_after(text: str, now: datetime) -> str:
    """The time that ``30d`` (from now) or a date or time in UTC means, as ISO 8601."""
    if _AGO.fullmatch(text.strip()):
        return (now + timedelta(seconds=seconds_of(text))).isoformat()
    return time_before(text, now) or ""


def moment(text: str) -> datetime:
    """The time that the broker's documents write as ISO 8601, in UTC."""
    then = datetime.fromisoformat(text)
    return (then if then.tzinfo else then.replace(tzinfo=UTC)).astimezone(UTC)
