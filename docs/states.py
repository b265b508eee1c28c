"""Draws the states of jobs and tasks, and the ways between them, from broker/states.py: ``python docs/states.py``.

Where each state stands is written here; what is drawn between them is read from the code. Ways that all states of a
group have in common are drawn once, from the group's box. tests/docs says whether the pictures are current.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from prodchain.broker.states import JOB_WAYS, ON_PILOT, TASK_OPEN, TASK_WAYS, WAITING

FOLDER = Path(__file__).parent / "explanation"
WIDTH, HEIGHT = 104, 34
"""A state's box, in pixels."""
Point = tuple[float, float]
STYLE = """
text { font: 14px system-ui, sans-serif; fill: #1f2933; text-anchor: middle; dominant-baseline: central }
.small { font-size: 12px; fill: #52606d }
.state { fill: #e8f0fe; stroke: #3b5bdb } .good { fill: #e6f4ea; stroke: #2b8a3e }
.bad { fill: #fdecea; stroke: #c92a2a }
.group { fill: none; stroke: #adb5bd; stroke-dasharray: 5 4 }
.way { fill: none; stroke: #495057; stroke-width: 1.4; marker-end: url(#tip) }
.back { stroke: #b06500 }
"""


@dataclass(frozen=True)
class Drawing:
    """What is drawn: the ways, where the states stand, and the groups with their names."""

    title: str
    ways: Mapping[str, Sequence[str]]
    places: Mapping[str, Point]
    size: tuple[int, int]
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)


JOBS = Drawing(
    "States of a job",
    {str(start): list(map(str, ends)) for start, ends in JOB_WAYS.items()},
    {
        "defined": (90, 120), "assigned": (220, 120), "activated": (350, 120),
        "sent": (520, 120), "starting": (650, 120), "running": (780, 120), "holding": (910, 120),
        "transferring": (1080, 120),
        "closed": (90, 310), "cancelled": (350, 310), "failed": (715, 310), "finished": (1080, 310),
    },
    (1160, 360),
    {"waits for a place, for data, for a pilot": WAITING, "a pilot has it and keeps its lease": ON_PILOT},
)  # fmt: skip
TASKS = Drawing(
    "States of a task",
    {str(start): list(map(str, ends)) for start, ends in TASK_WAYS.items()},
    {
        "registered": (90, 150), "ready": (240, 150), "scouting": (390, 150), "running": (540, 150),
        "merging": (690, 150), "paused": (840, 150), "exhausted": (990, 150),
        "failed": (240, 360), "done": (450, 360), "finished": (660, 360), "aborted": (870, 360),
    },
    (1080, 410),
    {"the task is open": TASK_OPEN},
)  # fmt: skip


def draw(drawing: Drawing) -> str:
    """The picture as SVG."""
    width, height = drawing.size
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{drawing.title}</title><style>{STYLE}</style>",
        '<defs><marker id="tip" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L10 5 L0 10 z" fill="#495057"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    taken: set[tuple[str, str]] = set()
    for name, members in drawing.groups.items():
        box = _box(drawing, members)
        parts.append(_group(name, box))
        for end in sorted(set.intersection(*(set(drawing.ways[member]) for member in members))):
            taken |= {(member, end) for member in members}
            parts.append(_line(_from_box(box, drawing.places[end]), drawing.places[end]))
    parts += [
        _way(drawing, start, end) for start, ends in drawing.ways.items() for end in ends if (start, end) not in taken
    ]
    parts += [_state(name, place, not drawing.ways[name]) for name, place in drawing.places.items()]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _box(drawing: Drawing, members: Sequence[str]) -> tuple[float, float, float, float]:
    xs, ys = zip(*(drawing.places[member] for member in members), strict=True)
    return min(xs) - WIDTH / 2 - 9, min(ys) - 68, max(xs) + WIDTH / 2 + 9, max(ys) + 68


def _from_box(box: tuple[float, float, float, float], place: Point) -> Point:
    """Where a way leaves a group's box: below it, or at its side for a state beside it."""
    left, top, right, bottom = box
    if place[1] > bottom:
        return min(max(place[0], left + 20), right - 20), bottom
    return (right if place[0] > right else left), (top + bottom) / 2


def _group(name: str, box: tuple[float, float, float, float]) -> str:
    left, top, right, bottom = box
    return (
        f'<rect class="group" x="{left}" y="{top}" width="{right - left}" height="{bottom - top}" rx="10"/>'
        f'<text class="small" style="text-anchor: start" x="{left + 6}" y="{bottom + 14}">{name}</text>'
    )


def _way(drawing: Drawing, start: str, end: str) -> str:
    """One way: straight to the neighbour or to the other row, bent over what stands between."""
    (x, y), (to_x, to_y) = drawing.places[start], drawing.places[end]
    if y != to_y:
        both = start in drawing.ways[end]
        shift = 0.0 if not both else (12.0 if to_y > y else -12.0)
        name = "way" if to_y > y else "way back"
        return _line((x + shift, y + _half(to_y - y)), (to_x + shift, to_y), name)
    row = sorted(place[0] for place in drawing.places.values() if place[1] == y)
    steps = row.index(to_x) - row.index(x)
    if steps == 1:
        return _path(f"M{x + WIDTH / 2} {y} L{to_x - WIDTH / 2} {y}")
    lift = -1 if steps > 0 else 1  # forward over the row, back under it
    edge, bend = y + lift * HEIGHT / 2, y + lift * (HEIGHT / 2 + 22 * abs(steps))
    side = 18 if steps > 0 else -18
    return _path(
        f"M{x + side} {edge} C{x + side} {bend} {to_x - side} {bend} {to_x - side} {edge}",
        "way" if steps > 0 else "way back",
    )


def _line(start: Point, end: Point, name: str = "way") -> str:
    """A straight arrow that ends at the state's box."""
    (x, y), (to_x, to_y) = start, end
    if abs(to_y - y) > HEIGHT:
        return _path(f"M{x} {y} L{to_x} {to_y - _half(to_y - y)}", name)
    return _path(f"M{x} {y} L{to_x - WIDTH / 2 if to_x > x else to_x + WIDTH / 2} {to_y}", name)


def _half(direction: float) -> float:
    return HEIGHT / 2 if direction > 0 else -HEIGHT / 2


def _path(shape: str, name: str = "way") -> str:
    return f'<path class="{name}" d="{shape}"/>'


def _state(name: str, place: Point, final: bool) -> str:
    kind = "good" if name in ("finished", "done") else "bad" if name in ("failed", "aborted") else "state"
    x, y = place[0] - WIDTH / 2, place[1] - HEIGHT / 2
    double = ' stroke-width="2.5"' if final else ""
    return (
        f'<rect class="{kind}"{double} x="{x}" y="{y}" width="{WIDTH}" height="{HEIGHT}" rx="7"/>'
        f'<text x="{place[0]}" y="{place[1]}">{name}</text>'
    )


def pages() -> dict[Path, str]:
    """The files and what must be in them."""
    return {FOLDER / "job-states.svg": draw(JOBS), FOLDER / "task-states.svg": draw(TASKS)}


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
