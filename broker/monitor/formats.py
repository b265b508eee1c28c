"""How numbers, sizes, times and states read on a page."""

from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup, escape

THIN = "\u202f"
"""Narrow no-break space: groups digits, and keeps a number and its unit on one line."""

GLYPHS = {
    "registered": "○",
    "defined": "○",
    "ready": "◔",
    "assigned": "◔",
    "activated": "◑",
    "queued": "◔",
    "sent": "→",
    "starting": "◕",
    "scouting": "▷",
    "running": "▶",
    "merging": "⋈",
    "active": "▶",
    "holding": "⇥",
    "transferring": "⇄",
    "done": "✓",
    "finished": "✓",
    "partly": "◒",
    "failed": "✗",
    "failing": "✗",
    "paused": "‖",
    "exhausted": "!",
    "expired": "⊘",
    "cancelled": "⊘",
    "aborted": "⊘",
    "closed": "■",
    "open": "□",
    "deleted": "╳",
    "online": "✓",
    "good": "✓",
    "drained": "▽",
    "probing": "▷",
    "drain": "▽",
    "offline": "⊘",
    "ordered": "✎",
    "throttled": "‖",
}
"""A sign per state, so that colour is never the only signal."""

TONES = {
    "wait": ("registered", "defined", "ready", "assigned", "activated", "queued"),
    "run": ("sent", "starting", "scouting", "running", "merging", "active", "holding", "open", "probing"),
    "move": ("transferring", "copy"),
    "good": ("done", "finished", "online", "good"),
    "warn": ("paused", "throttled", "drain", "partly"),
    "bad": ("failed", "failing", "exhausted", "drained"),
}
TONE_OF = {state: tone for tone, states in TONES.items() for state in states}


def tone(state: str) -> str:
    """The colour family of a state; states that are over without a result have none."""
    return TONE_OF.get(state, "off")


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:,}".replace(",", THIN)


def size(value: float | None) -> str:
    """Bytes in decimal units, three significant digits."""
    if value is None:
        return "–"
    if value < 1000:
        return f"{value:.0f}{THIN}B"
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        value /= 1000
        if value < 999.5 or unit == "PB":
            break
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{digits}f}{THIN}{unit}"


def duration(seconds: float) -> str:
    """The two leading units."""
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f}{THIN}ms"
    whole = int(seconds)
    for unit, length, part, shorter in (("d", 86400, 3600, "h"), ("h", 3600, 60, "min"), ("min", 60, 1, "s")):
        if whole >= length:
            rest = whole % length // part
            return f"{whole // length}{THIN}{unit}" + (f" {rest}{THIN}{shorter}" if rest else "")
    return f"{seconds:.1f}{THIN}s" if seconds < 10 else f"{whole}{THIN}s"


def moment(value: datetime | str) -> datetime:
    """A time of a view, which comes as a datetime or as ISO 8601 text, in UTC."""
    time = datetime.fromisoformat(value) if isinstance(value, str) else value
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def current() -> datetime:
    return datetime.now(UTC)


def distance(seconds: float) -> str:
    """How long ago (or ahead, when negative) in one unit; the same rule as in static/live.js."""
    away = abs(int(seconds))
    for unit, length, least in (("d", 86400, 172800), ("h", 3600, 7200), ("min", 60, 60)):
        if away >= least:
            text = f"{away // length}{THIN}{unit}"
            break
    else:
        text = f"{away}{THIN}s"
    return f"{text} ago" if seconds >= 0 else f"in {text}"


def age(value: datetime | str | None) -> Markup:
    """A relative time that live.js keeps going, with the absolute one as its title."""
    if value is None:
        return Markup("–")
    time = moment(value)
    seconds = (datetime.now(UTC) - time).total_seconds()
    stamp = time.isoformat(timespec="milliseconds")  # none of the three parts can hold markup
    return Markup(f'<time datetime="{stamp}" title="{clock(time)}">{distance(seconds)}</time>')  # noqa: S704


def clock(value: datetime | str) -> str:
    return f"{moment(value):%Y-%m-%d %H:%M:%S} UTC"


def between(start: datetime | str, end: datetime | str) -> float:
    """Seconds from one time to the other."""
    return (moment(end) - moment(start)).total_seconds()


def short(did: str) -> str:
    """A DID without the scope where the name begins with it, which is how commands take it too."""
    scope, _, name = did.partition(":")
    return name if name.startswith(scope + ".") else did


def coded(text: str) -> Markup:
    """Text in which `this` is a command or a name, as hints and remedies have it."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # a lone backtick is only a backtick
        return escape(text)
    return Markup("").join(Markup("<code>{}</code>").format(p) if n % 2 else p for n, p in enumerate(parts))


def percent(part: float, whole: float) -> str:
    """Rounded down, so that 100 % means all."""
    return f"{int(100 * part / whole) if whole else 0}{THIN}%"


FILTERS: dict[str, Any] = {
    "age": age,
    "clock": clock,
    "coded": coded,
    "duration": duration,
    "moment": moment,
    "number": number,
    "short": short,
    "size": size,
    "tone": tone,
}
