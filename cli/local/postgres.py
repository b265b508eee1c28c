"""The embedded PostgreSQL: the wheel's programs, our own start and stop.

The server outlives the process that started it. It listens on a UNIX socket in a private folder and nowhere else,
which is why it asks for no password.
"""

import fcntl
import os
import pwd
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import CliError
from . import places, process, programs

DATABASE = "prodchain"
START_S = 300.0
"""Seconds; recovery after a crash may need most of them, a usual start needs 0.2."""

WAL_MB = 4096
"""Journal between two checkpoints, where the disk has room: each page is written in full the first time after one."""


def data_folder(home: Path) -> Path:
    return home / "postgres"


@dataclass(frozen=True)
class PostgresServer:
    """A running server: its process, where its socket is, and the URLs of its databases."""

    pid: int
    started: int
    sockets: Path
    programs: Path
    folders: tuple[Path, ...]

    def url(self, database: str = DATABASE) -> str:
        """For asyncpg and psql."""
        return f"postgresql://postgres@/{database}?host={quote(str(self.sockets))}"

    def sqlalchemy_url(self, database: str = DATABASE) -> str:
        return self.url(database).replace("postgresql:", "postgresql+asyncpg:", 1)

    def create_database(self, name: str = DATABASE) -> str:
        """Make the database unless it is there; its URL."""
        options = ["--host", str(self.sockets), "--username", "postgres", "--no-password"]
        made = run([str(self.programs / "createdb"), *options, name], None, Path("/"))
        if made.returncode != 0 and "already exists" not in made.stdout:
            raise failed(f"could not make the database {name}: {made.stdout.strip()}", self.sockets)
        return self.url(name)

    def stop(self, timeout_s: float = 60.0, *, remove: bool = False) -> None:
        """Fast shutdown: transactions under way are rolled back, everything committed is on disk.

        ``remove`` deletes all its databases for good.
        """
        process.send(self.pid, self.started, signal.SIGINT)
        if not process.wait_gone(self.pid, self.started, timeout_s):
            process.send(self.pid, self.started, signal.SIGQUIT)  # at once; recovery at the next start
            process.wait_gone(self.pid, self.started, timeout_s)
        if remove:
            for folder in self.folders:
                shutil.rmtree(folder, ignore_errors=True)


def start(data: Path, log: Path | None = None) -> PostgresServer:
    """The server of the folder ``data``: attached to if it runs, else started, after making it if it is new.

    As root the database itself lives below /var/lib/prodchain, owned by a system account.
    """
    data = data.resolve()
    place = places.place_of(data)
    found = programs.folder(place.account, places.SYSTEM)
    with locked(data / "lock"):
        server = running(place, found)
        if server is not None and not (server.sockets / places.SOCKET).exists():
            server.stop()  # somebody cleaned the temporary folder: nobody can reach it any more
            server = None
        if server is None:
            if not (place.cluster / "PG_VERSION").exists():
                initialise(place, found)
            launch(place, found, log or data / "postgres.log")
            server = wait_ready(place, found, log or data / "postgres.log")
    return server


@contextmanager
def locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def running(place: places.Place, found: Path) -> PostgresServer | None:
    """The server that postmaster.pid names, if that process is a server of this very folder and is ready."""
    try:
        lines = (place.cluster / "postmaster.pid").read_text().splitlines()
        pid = int(lines[0])
    except (FileNotFoundError, IndexError, ValueError):
        return None
    started = process.start_time(pid)
    if started is None or not serves(pid, place.cluster) or len(lines) < 8 or lines[7].strip() != "ready":
        return None
    sockets = Path(lines[4])
    return PostgresServer(pid, started, sockets, found, (place.data, place.base, sockets))


def initialise(place: places.Place, found: Path) -> None:
    """Make the cluster aside and move it into place, so that a kill in between leaves nothing half made."""
    unfinished = place.base / "cluster.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    free = shutil.disk_usage(place.base).free // 2**20
    settings = {
        "shared_buffers": f"{max(32, min(memory // 8, 4096))}MB",
        "max_connections": "100",
        "max_wal_size": f"{max(1024, min(free // 10, WAL_MB))}MB",
        "fsync": "on",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
    command = [str(found / "initdb"), "--pgdata", str(unfinished), "--username", "postgres", "--encoding", "UTF8"]
    command += ["--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]
    command += ["--auth-local", "trust", "--auth-host", "reject", "--no-instructions"]
    command += [f"--set={name}={value}" for name, value in settings.items()]
    made = run(command, place.account, place.base)
    if made.returncode != 0:
        raise failed(f"initdb failed: {made.stdout.strip()}", place.base)
    unfinished.rename(place.cluster)


def launch(place: places.Place, found: Path, log: Path) -> None:
    """Start the server through pg_ctl, which detaches it from this process and its terminal."""
    sockets = places.socket_folder(place)
    drop_stale_notes(place.cluster, sockets)
    options = f"-c listen_addresses= -c unix_socket_permissions=0700 -k {shlex.quote(str(sockets))}"
    command = [str(found / "pg_ctl"), "start", "--no-wait", "--pgdata", str(place.cluster), "--options", options]
    log.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
        subprocess.run(
            command,
            **identity(place.account),
            cwd=place.base,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            check=False,
        )


def drop_stale_notes(cluster: Path, sockets: Path) -> None:
    """Remove lock files whose pid now belongs to something else (or to a zombie).

    The server would take that process for a living one of its own and refuse to start. Servers that really still
    use the data are found by the server itself, by its shared memory.
    """
    for note in (cluster / "postmaster.pid", sockets / f"{places.SOCKET}.lock"):
        try:
            pid = int(note.read_text().split()[0])
        except FileNotFoundError:
            continue
        except (IndexError, ValueError):
            pid = 0  # half written
        if not serves(pid, cluster):
            note.unlink(missing_ok=True)


def serves(pid: int, cluster: Path) -> bool:
    """Whether the process lives and is the server of this very folder."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return os.fsencode(cluster) in command and process.start_time(pid) is not None


def wait_ready(place: places.Place, found: Path, log: Path) -> PostgresServer:
    end = time.monotonic() + START_S
    seen = time.monotonic()
    while time.monotonic() < end:
        server = running(place, found)
        if server is not None:
            return server
        if (place.cluster / "postmaster.pid").exists():
            seen = time.monotonic()
        elif time.monotonic() - seen > 3:
            break  # it wrote its note, if ever, and has gone again
        time.sleep(0.01)
    raise failed(f"PostgreSQL did not start: {' '.join(tail(log))}", log)


def tail(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()[-3:]


def run(command: list[str], account: pwd.struct_passwd | None, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        **identity(account),
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def identity(account: pwd.struct_passwd | None) -> dict[str, Any]:
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": [], "umask": 0o077}


def environment() -> dict[str, str]:
    """Without the caller's PG* variables, which would change ports and data folders."""
    return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def failed(message: str, what: Path) -> CliError:
    return CliError(message, object=str(what), hint="read the log named here; or set PRODCHAIN_DATABASE_URL")
