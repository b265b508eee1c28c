"""Which programs a home needs (docs/plans/main-job.md, Processes)."""

import hashlib
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from prodchain.broker.settings import Settings
from prodchain.catalog.backends.credentials import VARIABLE as STORAGES

from ..errors import CliError
from . import health, postgres
from .home import PREPARE, QUEUES, Home, read_json, write
from .ports import port_for
from .program import Adopted, Program, Running

DEPLOY = "deploy"
POOL = WORKER = "production"
PREFECT = {
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_UI_V2_ENABLED": "false",  # its pages call a tracker on the internet
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
    "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": "P3D",
    "PREFECT_WORKER_QUERY_SECONDS": "5",
}


@dataclass(frozen=True)
class Postgres(Program):
    """The embedded database: its own start finds one that runs."""

    def launch(self) -> Running:
        server = postgres.start(postgres.data_folder(self.log.parent.parent), self.log)
        return Adopted(server.pid, server.started)


class Plan:
    """The programs of one home under these settings. Making it starts the embedded database, whose address all
    others are told."""

    def __init__(self, home: Home, settings: Settings) -> None:
        self._home = home
        self._settings = settings
        self._port = self._kept_port("server") or port_for(home, "server", settings.port, settings.host)
        here = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104
        self.server_url = f"http://{f'[{here}]' if ':' in here else here}:{self._port}"
        if settings.prefect_api_url:
            self._prefect_port, self.prefect_api = None, settings.prefect_api_url
        else:
            self._prefect_port = self._kept_port("prefect") or port_for(home, "prefect", settings.prefect_port)
            self.prefect_api = f"http://127.0.0.1:{self._prefect_port}/api"
        self._embedded = not settings.database_url
        self._database_url = settings.database_url or self._start_database()

    def programs(self) -> list[Program]:
        """All but the pilots, which are known when the sites are."""
        found = [self._postgres()] if self._embedded else []
        found += [self._prepare(), self._server(), self._agents()]
        found += [self._prefect()] if self._prefect_port else []
        found += [self._worker(), self._runs()]
        return found + ([] if self._deployed() else [self._deploy()])

    def then(self, done: str) -> list[Program]:
        """What follows when a program that runs once is done."""
        if done == PREPARE:
            return self._pilots()
        if done == DEPLOY:
            write(self._home.path / "prefect" / "deployed", self._deployment())
        return []

    # Programs

    def _postgres(self) -> Program:
        log = self._home.log("postgres")
        # SIGINT is PostgreSQL's fast shutdown: SIGTERM would wait for clients
        return Postgres("postgres", ["postgres"], log, group=0, stop_signal=signal.SIGINT)

    def _prepare(self) -> Program:
        needs = ("postgres",) if self._embedded else ()
        return self._python(PREPARE, "prodchain.cli.local.prepare", self._database(), needs=needs, once=True)

    def _server(self) -> Program:
        environment = self._database() | {"PRODCHAIN_HOST": self._settings.host, "PRODCHAIN_PORT": str(self._port)}
        check = health.answers(f"{self.server_url}/api/health")
        return self._python(
            "server", "prodchain.broker.server", environment, needs=(PREPARE,), port=self._port, healthy=check
        )

    def _agents(self) -> Program:
        check = health.agents(self.server_url)
        return self._python("agents", "prodchain.broker.agents", self._database(), needs=(PREPARE,), healthy=check)

    def _prefect(self) -> Program:
        command = [script("prefect"), "server", "start", "--host", "127.0.0.1", "--port", str(self._prefect_port)]
        return Program(
            "prefect",
            command,
            self._home.log("prefect"),
            self._flows(),
            port=self._prefect_port,
            healthy=health.answers(f"{self.prefect_api}/health"),
        )

    def _worker(self) -> Program:
        return Program(
            "worker",
            [script("prefect"), "worker", "start", "--pool", POOL, "--type", "process", "--name", WORKER],
            self._home.log("worker"),
            # Its folder for code has a fixed name below this one: in /tmp it is the user's who came first
            self._flows() | {"TMPDIR": str(self._home.temporary)},
            needs=self._needs_prefect("server"),
            group=2,
            healthy=health.worker(self.prefect_api, POOL, WORKER),
        )

    def _runs(self) -> Program:
        return self._python(
            "supervisor-of-runs",
            "prodchain.flows.supervisor",
            self._flows(),
            needs=self._needs_prefect("server"),
            group=2,
            settle_s=1.0,
        )

    def _deploy(self) -> Program:
        return Program(
            DEPLOY,
            [script("prefect"), "--no-prompt", "deploy", "--all", "--prefect-file", str(prefect_file())],
            self._home.log(DEPLOY),
            self._flows(),
            needs=self._needs_prefect("worker"),  # the worker makes the pool
            group=2,
            once=True,
            essential=False,
        )

    def _pilots(self) -> list[Program]:
        queues = read_json(self._home.run / QUEUES) or []
        return [self._pilot(queue, number + 1) for queue in queues for number in range(queue["local_pilots"])]

    def _pilot(self, queue: Mapping[str, object], number: int) -> Program:
        name = f"{queue['name']}-{number}"
        token = self._home.token(f"pilot-{queue['name']}")
        command = [sys.executable, "-m", "prodchain.pilot_agent", "--server", self.server_url, "--name", name]
        command += ["--cores", str(queue["cores"]), "--memory-mb", str(queue["memory_mb"])]
        command += ["--work-dir", str(self._home.path / "work"), "--idle-s", "0", "--lifetime-s", "604800"]
        return Program(
            f"pilot-{name}",
            command,
            self._home.log(f"pilot-{name}"),
            {"PRODCHAIN_URL": self.server_url, "PRODCHAIN_TOKEN_FILE": str(token), STORAGES: self._storages()},
            needs=("server",),
            group=3,
            healthy=health.pilot(self.server_url, name, self._home.token("user")),
            private=True,
        )

    def _storages(self) -> str:
        """The file with the storages' credentials: the mover's."""
        return os.environ.get(STORAGES) or str(self._home.credentials / "storages.toml")

    def _python(self, name: str, module: str, environment: Mapping[str, str], **more: object) -> Program:
        command = [sys.executable, "-X", "faulthandler", "-m", module]
        return Program(name, command, self._home.log(name), environment, **more)  # type: ignore[arg-type]

    # What programs are told

    def _common(self) -> dict[str, str]:
        """The user's own settings too, so that a change of them is a change of the program."""
        chosen = {key: value for key, value in os.environ.items() if key.startswith(("PRODCHAIN_", "PREFECT_"))}
        return chosen | {
            "PRODCHAIN_HOME": str(self._home.path),
            "PRODCHAIN_VERSION": version("prodchain"),
            "PRODCHAIN_PORT": "",
            "PRODCHAIN_URL": self.server_url,
            "PRODCHAIN_TOKEN_FILE": str(self._home.token("user")),
            "PRODCHAIN_DATABASE_URL": "",
        }

    def _database(self) -> dict[str, str]:
        return self._common() | {"PRODCHAIN_DATABASE_URL": self._database_url}

    def _flows(self) -> dict[str, str]:
        own = {"PREFECT_HOME": str(self._home.path / "prefect"), "PREFECT_API_URL": self.prefect_api}
        return self._common() | PREFECT | own

    def _needs_prefect(self, *others: str) -> tuple[str, ...]:
        return (*others, "prefect") if self._prefect_port else others

    def _start_database(self) -> str:
        server = postgres.start(postgres.data_folder(self._home.path), self._home.log("postgres"))
        try:
            return server.create_database()
        except CliError:
            server.stop()
            raise

    def _kept_port(self, name: str) -> int | None:
        """The port of a server that an earlier supervisor left, and that this one can go on with."""
        note = self._home.note(name)
        wished = self._settings.port if name == "server" else self._settings.prefect_port
        return note.port if note is not None and note.alive and wished in (0, note.port) else None

    def _deployment(self) -> str:
        file = prefect_file()
        said = f"{self._settings.prefect_api_url} {version('prodchain')} {version('prefect')} {file.read_text()}"
        return hashlib.sha256(said.encode()).hexdigest()

    def _deployed(self) -> bool:
        note = self._home.path / "prefect" / "deployed"
        return note.exists() and note.read_text() == self._deployment()


def prefect_file() -> Path:
    """prefect.yaml: in a checkout beside the folders, else where the wheel put it."""
    checkout = Path(__file__).resolve().parents[2] / "prefect.yaml"
    return checkout if checkout.exists() else Path(sys.prefix) / "share" / "prodchain" / "prefect.yaml"


def script(name: str) -> str:
    return str(Path(sys.executable).parent / name)
