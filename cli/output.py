"""How results look: a table on a terminal, tab-separated lines in a pipe, one JSON document with ``--json``.

rich is imported only when there is a terminal to draw on.
"""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

from prodchain.broker.client import Document

from .options import chosen
from .values import Kind, exact, readable


class Column(NamedTuple):
    """A column of a table, or a line about one thing: its title, and the key or function that finds the value."""

    title: str
    key: str | Callable[[Document], Any]
    kind: Kind = Kind.TEXT

    def of(self, item: Document) -> Any:
        return self.key(item) if callable(self.key) else item.get(self.key)


More: TypeAlias = Callable[[], object]

_STYLES = {
    "failed": "red",
    "aborted": "red",
    "offline": "red",
    "cancelled": "yellow",
    "exhausted": "yellow",
    "drain": "yellow",
    "done": "green",
    "finished": "green",
    "online": "green",
    "complete": "green",
    "running": "cyan",
}


def on_terminal() -> bool:
    return sys.stdout.isatty()


def show_json(document: Any) -> None:
    print(json.dumps(document, indent=2 if on_terminal() else None, ensure_ascii=False))


def show_items(items: Iterable[Document], columns: Sequence[Column], more: More | None = None) -> None:
    """A list of things of one kind, in a pipe line by line as they come; ``more`` says after the last one whether,
    and by which mark, the list goes on.
    """
    if chosen().json:
        shown = list(items)
        show_json({"items": shown} | ({"next": more()} if more else {}))
    elif on_terminal():
        if found := list(items):
            draw_table(found, columns)
        else:
            say("there is none")
    else:
        for item in items:
            print("\t".join(exact(column.of(item), column.kind) for column in columns))


def show_item(item: Document, lines: Sequence[Column]) -> None:
    """One thing, a line for each of its values; on a terminal those that are empty are left out."""
    if chosen().json:
        show_json(item)
    elif on_terminal():
        draw_lines((line.title, readable(line.of(item), line.kind)) for line in lines)
    else:
        for line in lines:
            print(f"{line.title}\t{exact(line.of(item), line.kind)}")


def draw_table(items: Sequence[Document], columns: Sequence[Column]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        right = column.kind in (Kind.NUMBER, Kind.BYTES)
        table.add_column(column.title, justify="right" if right else "left", overflow="fold")
    for item in items:
        cells = [readable(column.of(item), column.kind) for column in columns]
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in cells))
    Console().print(table)


def draw_lines(lines: Iterable[tuple[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for title, text in lines:
        if text != "-":
            table.add_row(title, Text(text, style=_STYLES.get(text, "")))
    Console().print(table)


def say(text: str) -> None:
    """A remark for the person at the terminal; never part of the result, so it goes to standard error."""
    if not chosen().json:
        print(text, file=sys.stderr)
