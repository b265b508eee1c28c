"""Reading values out of a TOML document so that each mistake names its line and what to write instead."""

import difflib
import re
from typing import Any, NoReturn

from .errors import BadSiteFile
from .tomllines import Keys, lines_of

MAY_BE_ZERO = ("slots", "local_pilots", "scratch_mb", "gpus", "max_jobs", "analysis_percent")
NAME = re.compile(r"[A-Z0-9]+([_-][A-Z0-9]+)*")


class Tables:
    """The document ``text`` came from; ``name`` stands in errors. ``refuse`` finds the line of the keys it names."""

    def __init__(self, document: dict[str, Any], text: str, name: str) -> None:
        self.document = document
        self.name = name
        self.lines = lines_of(text)

    def tables(self, keys: Keys, above: dict[str, Any]) -> list[tuple[Keys, dict[str, Any]]]:
        """The named tables below ``keys``, such as each [site.NAME]."""
        named = above.get(keys[-1], {})
        shape = f"[{'.'.join(keys)}.NAME]"
        if not isinstance(named, dict):
            self.refuse(keys, f"{keys[-1]} is not a table", f"write tables {shape}")
        for name, table in named.items():
            if not isinstance(table, dict):
                self.refuse((*keys, name), f"{name!r} is not a table", f"write tables {shape}")
            if not NAME.fullmatch(name):
                hint = "names are upper-case letters and digits, joined by single - or _, such as SITE-A"
                self.refuse((*keys, name), f"{name!r} is not a name", hint)
        return [((*keys, name), table) for name, table in named.items()]

    def allow(self, keys: Keys, table: dict[str, Any], allowed: set[str]) -> None:
        for key in table:
            if key not in allowed:
                near = difflib.get_close_matches(key, allowed, 1)
                hint = f"did you mean {near[0]}?" if near else f"keys here are {', '.join(sorted(allowed))}"
                self.refuse((*keys, key), f"unknown key {key!r}", hint)

    def text(self, keys: Keys, table: dict[str, Any], key: str, default: str | None = None) -> str:
        value = table.get(key, default)
        if value is None:
            self.refuse(keys, f"{key} is missing", f'add {key} = "..."')
        if not isinstance(value, str):
            self.refuse((*keys, key), f"{key} is {value!r}, not text", f'write {key} = "..." in double quotes')
        return str(value)

    def number(self, keys: Keys, table: dict[str, Any], key: str, default: int) -> int:
        value = table.get(key, default)
        least = 0 if key in MAY_BE_ZERO else 1
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**31:
            self.refuse((*keys, key), f"{key} is {value!r}", f"write a whole number, {least} or more")
        return int(value)

    def refuse(self, keys: Keys, message: str, hint: str) -> NoReturn:
        near = keys
        while near and near not in self.lines:
            near = near[:-1]
        where = f"{self.name}:{self.lines.get(near, 1)}"
        raise BadSiteFile(f"{where}: {message}", object=f"{where} [{'.'.join(keys)}]", hint=hint)
