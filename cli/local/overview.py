"""What runs in a home, as a document for ``status``, ``up`` and ``demo``."""

import signal
import time
from typing import Any

from ..errors import TimedOut
from . import process
from .home import Home, Note
from .supervisor import NAME, stop_notes

Document = dict[str, Any]
GOOD = ("healthy", "done")


def overview(home: Home) -> Document:
    """Processes, links, and whether all is well."""
    notes = home.notes()
    processes = [view(home, note) for note in notes]
    supervised = any(note.name == NAME and note.alive for note in notes)
    return {
        "home": str(home.path),
        "running": supervised,
        "healthy": supervised and all(each["state"] in GOOD for each in processes),
        "links": links(home),
        "processes": processes,
    }


def view(home: Home, note: Note) -> Document:
    alive = note.alive
    return {
        "name": note.name,
        "state": note.state if alive else "dead",
        "pid": note.pid if alive else None,
        "port": note.port,
        "uptime_s": round(process.uptime_s(note.started), 1) if alive else None,
        "restarts": note.restarts,
        "log": str(home.log(note.name)),
    }


def links(home: Home) -> dict[str, str]:
    """The pages of what runs."""
    found = {}
    for title, name in (("monitor", "server"), ("prefect", "prefect")):
        note = home.note(name)
        if note is not None and note.alive and note.port:
            found[title] = f"http://127.0.0.1:{note.port}"
    return found


def wait_healthy(home: Home, timeout_s: float) -> None:
    """Wait until another supervisor has everything up."""
    end = time.monotonic() + timeout_s
    while not overview(home)["healthy"]:
        if time.monotonic() > end:
            hint = "`prodchain status` shows what is not healthy, and its log"
            raise TimedOut(f"not all is healthy after {timeout_s:.0f} s", object=str(home.path), hint=hint)
        time.sleep(0.2)


def stop_all(home: Home, timeout_s: float = 120.0) -> list[str]:
    """Stop the supervisor, which stops the rest; then what is left if it was killed. The answer: what was stopped."""
    stopped = [note.name for note in home.notes() if note.alive]
    note = home.note(NAME)
    if note is not None and note.alive:
        process.send(note.pid, note.started, signal.SIGTERM)
        if not process.wait_gone(note.pid, note.started, timeout_s):
            hint = f"`kill -9 {note.pid}`, then `prodchain down` again stops the rest"
            raise TimedOut("the supervisor does not end", object=NAME, hint=hint)
    stop_notes(home, home.notes())
    return stopped
