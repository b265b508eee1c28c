"""Where an embedded database and its socket live, private to their owner, without touching any parent's mode."""

import os
import pwd
import re
import secrets
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..errors import CliError
from .accounts import service_account
from .home import write

SYSTEM = Path("/var/lib/prodchain")
"""As root the data lives here: the database's account could not enter a private home such as /root."""

SOCKET = ".s.PGSQL.5432"
LONGEST_SOCKET = 100
"""Bytes; the kernel takes 107, and the server adds a few for its lock file."""


@dataclass(frozen=True)
class Place:
    """The folder of one database (0700), and whom it belongs to (None: to the user who runs this).

    ``data`` is the folder in the home; ``base``, where the files are, is the same one except for root.
    """

    data: Path
    base: Path
    account: pwd.struct_passwd | None

    @property
    def cluster(self) -> Path:
        return self.base / "cluster"


def place_of(data: Path) -> Place:
    """The place of the database that belongs to the folder ``data``; both are made if they are new."""
    data.mkdir(parents=True, exist_ok=True)
    data.chmod(0o700)
    account = service_account()
    if account is None:
        return Place(data, data, None)
    if (data / "cluster").exists():
        raise CliError(
            f"the database in {data} belongs to an ordinary user",
            object=str(data),
            hint="run prodchain as that user, or choose another --home",
        )
    SYSTEM.mkdir(parents=True, exist_ok=True, mode=0o755)
    base = SYSTEM / location(data)
    base.mkdir(mode=0o700, exist_ok=True)
    os.chown(base, account.pw_uid, account.pw_gid)
    write(base / "home", str(data))  # lets an administrator find databases whose home is gone
    return Place(data, base, account)


def location(data: Path) -> str:
    """The name of the folder below SYSTEM. It is drawn once and kept in ``data``, so that it moves with a home that
    is moved, and a home that is deleted and made again never finds the database of the old one."""
    note = data / "location"
    if not note.exists():
        write(note, secrets.token_hex(8))
    name = note.read_text()
    if not re.fullmatch("[0-9a-f]{16}", name):
        raise CliError(
            f"{note} does not name a database", object=str(note), hint="restore the file, or choose another --home"
        )
    return name


def socket_folder(place: Place) -> Path:
    """The place's own ``run`` folder, or a short one in the temporary folder when that path is too long."""
    own = place.base / "run"
    if len(os.fsencode(own / SOCKET)) <= LONGEST_SOCKET:
        own.mkdir(mode=0o700, exist_ok=True)
        if place.account is not None:
            os.chown(own, place.account.pw_uid, place.account.pw_gid)
        return own
    note = place.base / "short-run"
    if note.exists() and is_private(Path(note.read_text())):
        return Path(note.read_text())
    short = Path(tempfile.mkdtemp(prefix="prodchain-", dir=os.environ.get("XDG_RUNTIME_DIR") or "/tmp"))  # noqa: S108
    write(note, str(short))
    return short


def is_private(folder: Path) -> bool:
    """Whether nobody else made the folder or can enter it: in a shared temporary folder it may have been replaced."""
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return False
    return (
        stat.S_ISDIR(status.st_mode)
        and status.st_uid == os.geteuid()
        and not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    )
