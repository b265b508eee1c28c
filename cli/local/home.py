"""The home directory: its folders, and the notes of what runs (run/NAME.json)."""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from . import process

PREPARE = "prepare"
QUEUES = "queues"
"""The file in run/ by which prepare tells the supervisor which pilots there are to be."""


@dataclass(frozen=True)
class Note:
    """A process that was started for this home. ``signal`` ends it in order, ``group`` says when (higher first);
    ``fingerprint`` tells whether a new start would start the very same thing."""

    name: str
    pid: int
    started: int
    port: int | None
    signal: int
    group: int
    fingerprint: str
    state: str
    restarts: int = 0

    @property
    def alive(self) -> bool:
        return process.alive(self.pid, self.started)


@dataclass(frozen=True)
class Home:
    """Paths below the home, and reading and writing of notes."""

    path: Path

    @property
    def run(self) -> Path:
        return self.path / "run"

    @property
    def credentials(self) -> Path:
        return self.path / "credentials"

    @property
    def temporary(self) -> Path:
        return self.path / "tmp"

    @property
    def sites(self) -> Path:
        return self.path / "sites.toml"

    def log(self, name: str) -> Path:
        return self.path / "logs" / f"{name}.log"

    def token(self, role: str) -> Path:
        return self.credentials / f"{role}.token"

    def prepare(self) -> None:
        """Make the folders, and the default sites file if there is none."""
        for folder in (self.run, self.credentials, self.temporary, self.path / "logs"):
            folder.mkdir(parents=True, exist_ok=True)
        for folder in (self.credentials, self.run, self.temporary):
            folder.chmod(0o700)
        if not self.sites.exists():
            default = files("prodchain.cli") / "local" / "sites.toml"
            write(self.sites, default.read_text())

    def write_note(self, note: Note) -> None:
        write(self.run / f"{note.name}.json", json.dumps(asdict(note)))

    def notes(self) -> list[Note]:
        """What was started for this home and not yet stopped in order, in the order of starting."""
        found = (self.note(path.stem) for path in self.run.glob("*.json"))
        return sorted((note for note in found if note is not None), key=lambda note: (note.group, note.name))

    def note(self, name: str) -> Note | None:
        try:
            return Note(**json.loads((self.run / f"{name}.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None

    def forget(self, name: str) -> None:
        (self.run / f"{name}.json").unlink(missing_ok=True)


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file all at once: a reader never sees half of it, and nobody else a secret."""
    unfinished = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)


def read_json(path: Path) -> Any:
    """The document in the file; None if there is no good one."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None
