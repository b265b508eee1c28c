"""Draws a request's way and where its microseconds go: ``python docs/way.py``.

The figures are those that ``python -m benchmarks.way docs/explanation/a-requests-way.json`` left.
"""

import json
from pathlib import Path

FOLDER = Path(__file__).parent / "explanation"
STAGES = (
    ("protocol", "the protocol: parse, call, write", "#4c6ef5"),
    ("route", "token, decode, answer", "#2b8a3e"),
    ("matching", "desk, batch, match", "#b06500"),
    ("statement", "asyncpg: GIVE and its rows", "#862e9c"),
)
"""Each with what comes before; what it adds is its own."""


def parts(found: dict[str, list[float]]) -> list[tuple[str, float, str]]:
    """Label, microseconds and colour of each part, the database last."""
    before, shown = 0.0, []
    for stage, label, colour in STAGES:
        shown.append((label, max(0.0, found[stage][0] - before), colour))
        before = found[stage][0]
    return [*shown, ("PostgreSQL: claim, lease, event, counters, commit", found["statement"][1], "#c92a2a")]


def draw(found: dict[str, list[float]]) -> str:
    shown = parts(found)
    whole = sum(us for _, us, _ in shown)
    lines = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 900 250" font-family="sans-serif" font-size="13">',
        "<title>A request's way, and where its microseconds go</title>",
        '<rect width="900" height="250" fill="white"/>',
        f'<text x="20" y="26">One call for work, 64 pilots: {whole:.0f} us of CPU in server and database</text>',
    ]
    x = 20.0
    for number, (label, us, colour) in enumerate(shown):
        width = us / whole * 860
        lines.append(f'<rect x="{x:.1f}" y="44" width="{width:.1f}" height="44" fill="{colour}"/>')
        y = 118 + number * 26
        lines.append(f'<rect x="20" y="{y - 11}" width="14" height="14" fill="{colour}"/>')
        lines.append(f'<text x="44" y="{y}">{number + 1}. {label}: {us:.0f} us</text>')
        x += width
    return "\n".join([*lines, "</svg>\n"])


if __name__ == "__main__":
    (FOLDER / "a-requests-way.svg").write_text(draw(json.loads((FOLDER / "a-requests-way.json").read_text())))
