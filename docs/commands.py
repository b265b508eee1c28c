"""The page of commands, from the program itself; docs/reference.py writes it."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

COMMON = ("home", "as_json")
"""Options that every command takes, described once."""
Row = tuple[str, ...]


def table(head: Row, rows: Iterable[Row]) -> str:
    cells = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in cells) + "\n"


def cli() -> str:
    from prodchain.cli.main import COMMANDS, load, program

    parts = [
        "# Commands\n",
        "Every command takes `--home DIR` (the home directory of the system; default: `PRODCHAIN_HOME`, or your data"
        " home) and `--json` (print one JSON document), before or after its name. On a terminal a command prints"
        " tables, in a pipe tab-separated lines; messages go to standard error.\n",
        "Exit codes: 0 ok, 1 failed work, 2 usage, 3 not found, 4 not allowed, 5 server unreachable, 6 timed out,"
        " 130 interrupted.\n",
        table(
            ("command", "what it does"),
            [(f"[`prodchain {n}`](#prodchain-{n})", entry.help) for n, entry in COMMANDS.items()],
        ),
    ]
    options = [p for p in program().params if p.name not in COMMON]
    parts += ["## prodchain\n", _options(options)]
    for name in COMMANDS:
        parts += list(_command(load(name), f"prodchain {name}", "##"))
    return "\n".join(parts)


def _command(command: Any, path: str, depth: str) -> Iterator[str]:
    yield f"{depth} {path}\n"
    below = getattr(command, "commands", {})
    if below:
        for name, each in below.items():
            yield from _command(each, f"{path} {name}", "###")
        return
    said, _, examples = (command.help or "").partition("\b\nExamples:\n")
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    words = " ".join(f"{a.metavar or a.name.upper()}" if a.required else f"[{_bare(a)}]" for a in arguments)
    yield f"```text\n{' '.join(filter(None, (path, words, '[OPTIONS]')))}\n```\n"
    yield said.replace("\b", "").strip() + "\n"
    own = [p for p in command.params if p.param_type_name == "option" and p.name not in COMMON]
    if arguments:
        yield table(("argument", "meaning"), [(f"`{_bare(a)}`", a.help or "") for a in arguments])
    if own:
        yield _options(own)
    if examples:
        # what stands behind an example is a remark
        lines = "\n".join(re.sub(r" {2,}", "  # ", line.strip(), count=1) for line in examples.strip().splitlines())
        yield f"```sh\n{lines}\n```\n"


def _bare(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper()).strip("[]{}. ")


def _options(options: list[Any]) -> str:
    rows = []
    for option in options:
        default = option.default
        shown = "" if default is None or default is False or callable(default) else f"`{default}`"
        rows.append((", ".join(f"`{opt}`" for opt in option.opts), option.help or "", shown))
    return table(("option", "meaning", "default"), rows)
