"""What a storage wants to know of who asks: kept out of URLs, which are public.

A TOML file, one table for each server, found by ``PRODCHAIN_STORAGE_CREDENTIALS``, else
``HOME/credentials/storages.toml``:

    ["s3+https://s3.example.org"]
    key = "AKID"
    secret_file = "/etc/prodchain/s3.secret"     # any key may be read from a file: KEY_file

Tokens and proxies live for hours: whoever renews one writes its file again, and the next use of the server sees it.
"""

import logging
import os
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..errors import BadStorage

log = logging.getLogger("prodchain.storage")

VARIABLE = "PRODCHAIN_STORAGE_CREDENTIALS"
NAME_A_FILE = ("ca", "cert", "proxy")
"""Keys whose value is a file's name for the library below; a client's private ``key`` changes with its ``cert``."""


def file() -> Path | None:
    """The file with the credentials, if one is named."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    home = os.environ.get("PRODCHAIN_HOME")
    return Path(home) / "credentials" / "storages.toml" if home else None


def credentials(server: str) -> dict[str, Any]:
    """The table of a server (``scheme://host:port``), empty without one; BadStorage if a file cannot be read."""
    table = _table(server)
    try:
        return {
            key.removesuffix("_file"): Path(value).read_text().strip() if key.endswith("_file") else value
            for key, value in table.items()
        }
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(str(file()), error) from None


def stamp(server: str) -> str:
    """Changes when the server's table changes, or a file that it names (a token, a proxy, a certificate)."""
    table = _table(server)
    return repr(table) + repr([_changed(Path(named)) for named in _files(table)])


def renewal(server: str) -> str:
    """The hint for who was refused by a server: where its credentials are."""
    table = _table(server)
    if not table:
        return f"give credentials for {server} in {file() or f'the file that {VARIABLE} names'}"
    return f"renew the credentials of {server} in {' or '.join([*_files(table), str(file())])}"


def _table(server: str) -> dict[str, Any]:
    path = file()
    if path is None or not (changed := _changed(path)):
        return {}
    return _tables(path, changed).get(server, {})


@lru_cache(maxsize=2)
def _tables(path: Path, _: int) -> dict[str, dict[str, Any]]:
    try:
        if path.stat().st_mode & 0o077:
            log.warning("%s can be read by others: chmod 600 %s", path, path)
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _unreadable(str(path), error) from None


def _files(table: dict[str, Any]) -> list[str]:
    return [value for key, value in table.items() if key.endswith("_file") or key in NAME_A_FILE]


def _changed(path: Path) -> int:
    """When a file was changed, in ns; 0 if it is not there."""
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise _unreadable(str(path), error) from None


def _unreadable(path: str, error: Exception) -> BadStorage:
    return BadStorage(
        f"cannot read the credentials of storages: {error}", object=path, hint=f"correct the file, or {VARIABLE}"
    )
