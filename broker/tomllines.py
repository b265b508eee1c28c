"""On which line of a TOML text each table and key stands; the standard library's parser does not tell."""

import re

Keys = tuple[str, ...]

PART = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)'|([A-Za-z0-9_-]+))\s*""")
TABLE = re.compile(r"\s*\[\[?([^\]]+)\]\]?\s*(?:#.*)?$")
VALUE = re.compile(r"""\s*((?:"[^"]*"|'[^']*'|[A-Za-z0-9_.\s-])+?)\s*=""")


def lines_of(text: str) -> dict[Keys, int]:
    """The first line (from 1) of each table and key. Keys inside inline tables and after them are not looked for."""
    lines: dict[Keys, int] = {}
    table: Keys = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := TABLE.match(line):
            table = split(header[1])
            found = table
        elif value := VALUE.match(line):
            found = table + split(value[1])
        else:
            continue
        for length in range(1, len(found) + 1):
            lines.setdefault(found[:length], number)
    return lines


def split(dotted: str) -> Keys:
    return tuple(next(filter(None, match.groups()), "") for match in PART.finditer(dotted))
