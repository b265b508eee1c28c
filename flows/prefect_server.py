"""Which Prefect server this process talks to. Must be settled before Prefect is imported: it reads the
environment once."""

import json
import os
from pathlib import Path

from .errors import NoPrefect


def use_server_of(home: Path) -> str:
    """Point Prefect at the server of the home, unless the environment names one; the answer is its URL.

    Prefect's own folder is the home's too: a profile of the user must not send a production somewhere else.
    """
    url = os.environ.get("PREFECT_API_URL") or _url_of(home)
    os.environ["PREFECT_API_URL"] = url
    os.environ["PREFECT_SERVER_ALLOW_EPHEMERAL_MODE"] = "false"
    use_home(home)
    return url


def use_home(home: Path) -> None:
    """Settings for every use of Prefect: its folder, and nothing said to anybody outside."""
    folder = Path(os.environ.setdefault("PREFECT_HOME", str(home / "prefect")))
    folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("DO_NOT_TRACK", "1")


def _url_of(home: Path) -> str:
    try:
        port = int(json.loads((home / "run" / "prefect.json").read_text())["port"])
    except (OSError, ValueError, KeyError, TypeError):
        raise NoPrefect(
            "no Prefect server was started from this home",
            object=str(home),
            hint="start one with `prodchain up`, name its home with --home, or set PREFECT_API_URL",
        ) from None
    return f"http://127.0.0.1:{port}/api"
