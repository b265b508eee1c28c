"""What storages want to know of who asks: the file that PRODCHAIN_STORAGE_CREDENTIALS names.

The same TOML file as the mover's: one table for each server, ``KEY_file`` for a value that stands in a file:

    ["https://se.example.org:443"]
    token_file = "/run/site/se.token"

It is read for each file that is moved, so a renewed token is taken up while the pilot runs. Payloads see neither the
variable nor, if the pilot runs under another account than they do, the file.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from .errors import StorageError

try:
    import tomllib
except ImportError:  # Python 3.9 and 3.10
    tomllib = None  # type: ignore[assignment]

VARIABLE = "PRODCHAIN_STORAGE_CREDENTIALS"
_TABLE = re.compile(r"\[\s*(?P<name>\"[^\"]*\"|'[^']*'|[\w-]+)\s*\]\s*(#.*)?")
_LINE = re.compile(r"(?P<key>[\w-]+)\s*=\s*(?P<value>\"(?:[^\"\\]|\\.)*\"|'[^']*')\s*(#.*)?")


def credentials(server: str) -> dict[str, str]:
    """The table of a server (``scheme://host:port``), empty without one; StorageError if a file cannot be read."""
    name = os.environ.get(VARIABLE)
    if not name or not Path(name).exists():
        return {}
    try:
        text = Path(name).read_text(encoding="utf-8")
        table = (tomllib.loads(text) if tomllib else read_simple(text)).get(server, {})
        return {key[:-5] if key.endswith("_file") else key: _value(key, value) for key, value in table.items()}
    except (OSError, ValueError) as error:  # a TOMLDecodeError is a ValueError
        raise StorageError(
            f"cannot read the credentials of storages: {error}", object=name, hint=f"correct the file, or {VARIABLE}"
        ) from None


def renewal(server: str) -> str:
    """The hint for who was refused."""
    return f"give or renew the credentials of {server} in the file that {VARIABLE} names"


def read_simple(text: str) -> dict[str, dict[str, Any]]:
    """TOML as far as such a file needs it: tables, strings on one line, comments. ValueError with the line else."""
    tables: dict[str, dict[str, Any]] = {}
    table: dict[str, Any] = {}
    for number, line in enumerate(map(str.strip, text.splitlines()), 1):
        if not line or line.startswith("#"):
            continue
        if found := _TABLE.fullmatch(line):
            table = tables.setdefault(found["name"].strip("\"'"), {})
        elif found := _LINE.fullmatch(line):
            value = found["value"]
            table[found["key"]] = json.loads(value) if value.startswith('"') else value.strip("'")
        else:  # what stands there may be a secret
            raise ValueError(
                f'line {number} is neither ["SERVER"] nor KEY = "VALUE"; before Python 3.11 there must be no other'
            )
    return tables


def _value(key: str, value: Any) -> str:
    return Path(value).read_text(encoding="utf-8").strip() if key.endswith("_file") else str(value)
