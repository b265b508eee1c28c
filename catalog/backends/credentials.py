"""What a storage wants to know of who asks: kept out of URLs, which are public.

A TOML file, one table for each server, found by ``PRODCHAIN_STORAGE_CREDENTIALS``, else
``HOME/credentials/storages.toml``:

    ["s3+https://s3.example.org"]
    key = "AKID"
    secret_file = "/etc/prodchain/s3.secret"     # any key may be read from a file: KEY_file
"""

import os
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import BadStorage

VARIABLE = "PRODCHAIN_STORAGE_CREDENTIALS"


def file() -> Path | None:
    """The file with the credentials, if one is named."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    home = os.environ.get("PRODCHAIN_HOME")
    return Path(home) / "credentials" / "storages.toml" if home else None


@cache
def credentials(server: str) -> dict[str, Any]:
    """The table of a server (``scheme://host:port``), empty without one; BadStorage if the file cannot be read."""
    path = file()
    if path is None:
        return {}
    try:
        table = tomllib.loads(path.read_text()).get(server, {})
        return {
            key.removesuffix("_file"): Path(value).read_text().strip() if key.endswith("_file") else value
            for key, value in table.items()
        }
    except FileNotFoundError as error:
        if error.filename == str(path):
            return {}
        raise _unreadable(path, error) from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> BadStorage:
    return BadStorage(
        f"cannot read the credentials of storages: {error}", object=str(path), hint=f"correct the file, or {VARIABLE}"
    )
