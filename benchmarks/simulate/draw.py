"""The picture of a simulation: ``python -m benchmarks.simulate.draw REPORT.json FILE.svg``."""

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

COLOURS = {
    "fullsim": "#1f77b4",
    "fastsim": "#6baed6",
    "evgen": "#2ca02c",
    "reconstruction": "#9467bd",
    "group": "#ff7f0e",
    "user": "#d62728",
}
LEFT, WIDTH, HIGH = 60, 640, 200


def draw(found: Mapping[str, Any]) -> str:
    parts = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 800" font-family="sans-serif" font-size="12">']
    parts.append('<rect width="800" height="800" fill="white"/>')
    parts += _use(found["by_hour"]["use_percent"], found["slots"])
    parts += _bytes(found["transfer_bytes_by_day"])
    if found.get("knee"):
        parts += _knee(found["knee"])
    return "\n".join([*parts, "</svg>\n"])


def _frame(top: int, title: str, marks: Sequence[tuple[float, str]]) -> Iterator[str]:
    """``marks``: parts of the height, with their words."""
    yield f'<text x="{LEFT}" y="{top - 8}" font-weight="bold">{title}</text>'
    for part, words in marks:
        y = top + HIGH * (1 - part)
        yield f'<path d="M{LEFT} {y:.0f}H{LEFT + WIDTH}" stroke="#ddd"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.0f}" text-anchor="end">{words}</text>'


def _days(top: int, days: float) -> Iterator[str]:
    step = max(1, round(days / 10))
    for day in range(0, int(days) + 1, step):
        x = LEFT + WIDTH * day / days
        yield f'<text x="{x:.0f}" y="{top + HIGH + 16}" text-anchor="middle">day {day}</text>'


def _use(shares: Mapping[str, Sequence[float]], slots: int) -> Iterator[str]:
    """One band above the other."""
    top, hours = 30, len(next(iter(shares.values())))
    marks = [(part / 100, f"{part}%") for part in range(0, 101, 20)]
    yield from _frame(top, f"Slots in use, of {slots:,}, by share", marks)
    base = [0.0] * hours
    word = top + HIGH + 13.0
    for name, percents in shares.items():
        upper = [below + percent for below, percent in zip(base, percents, strict=True)]
        edge = [*enumerate(upper), *reversed(list(enumerate(base)))]
        points = " ".join(
            f"{LEFT + WIDTH * hour / max(1, hours - 1):.1f},{top + HIGH * (1 - value / 100):.1f}"
            for hour, value in edge
        )
        yield f'<polygon points="{points}" fill="{COLOURS[name]}" fill-opacity="0.8"/>'
        word = min(word - 13, top + HIGH * (1 - (base[-1] + upper[-1]) / 200) + 4)
        yield f'<text x="{LEFT + WIDTH + 6}" y="{word:.0f}" fill="{COLOURS[name]}">{name}</text>'
        base = upper
    yield from _days(top, hours / 24)


def _bytes(kinds: Mapping[str, Sequence[int]]) -> Iterator[str]:
    top, days = 290, len(kinds["input"])
    peak = max(1e12, *map(sum, zip(*kinds.values(), strict=True)))
    step = 10 ** math.floor(math.log10(peak))
    whole = math.ceil(peak / step) * step
    marks = [(n / 4, f"{whole * n / 4 / 1e15:.2g}") for n in range(5)]
    yield from _frame(top, "Copied between sites each day, PB: outputs (grey) and inputs (red)", marks)
    for day in range(days):
        at = 0.0
        for kind, colour in (("output", "#999"), ("input", "#d62728")):
            part = kinds[kind][day] / whole
            x, y = LEFT + WIDTH * (day + 0.1) / days, top + HIGH * (1 - at - part)
            yield (
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{0.8 * WIDTH / days:.1f}" height="{HIGH * part:.1f}"'
                f' fill="{colour}"/>'
            )
            at += part
    yield from _days(top, days)


def _knee(knee: Mapping[str, Any]) -> Iterator[str]:
    """Use in percent on the left, and the wait of 95 of 100 jobs on a scale of powers of ten."""
    top, points = 550, knee["points"]
    first, last = points[0]["load"], points[-1]["load"]
    marks = [(part / 100, f"{part}%") for part in range(0, 101, 20)]
    title = f"Use (blue) and wait of 95 of 100 jobs (red), by the work submitted; {knee['slots']:,} slots"
    yield from _frame(top, title, marks)

    def x(load: float) -> float:
        return float(LEFT + WIDTH * (load - first) / (last - first))

    def y(seconds: float) -> float:
        return float(top + HIGH * (1 - (math.log10(max(seconds, 100)) - 2) / 4))

    for power, words in ((3, "17 min"), (4, "2.8 h"), (5, "28 h")):
        yield f'<text x="{LEFT + WIDTH + 6}" y="{y(10**power) + 4:.0f}" fill="#d62728">{words}</text>'
    use = " ".join(f"{x(p['load']):.1f},{top + HIGH * (1 - p['slot_use_percent'] / 100):.1f}" for p in points)
    wait = " ".join(f"{x(p['load']):.1f},{y(p['wait_p95_s']):.1f}" for p in points)
    yield f'<polyline points="{use}" fill="none" stroke="#1f77b4" stroke-width="2"/>'
    yield f'<polyline points="{wait}" fill="none" stroke="#d62728" stroke-width="2"/>'
    if knee["load"]:
        yield f'<path d="M{x(knee["load"]):.1f} {top}V{top + HIGH}" stroke="#555" stroke-dasharray="4 3"/>'
        yield f'<text x="{x(knee["load"]) + 4:.0f}" y="{top + 14}" fill="#555">knee: {knee["load"]:.2f}</text>'
    for point in points:
        yield (
            f'<text x="{x(point["load"]):.0f}" y="{top + HIGH + 16}" text-anchor="middle">{point["load"]:g}</text>'
        )


if __name__ == "__main__":
    report, picture = sys.argv[1:]
    Path(picture).write_text(draw(json.loads(Path(report).read_text())))
