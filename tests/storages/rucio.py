"""A real Rucio server, in a virtual environment of its own (``make rucio``), on the tests' PostgreSQL."""

import asyncio
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from string import Template

import asyncpg
import pytest

from .servers import free_port

VENV = Path(os.environ.get("PRODCHAIN_RUCIO_VENV") or Path(__file__).parents[2] / "build" / "rucio-venv")
ACCOUNT, USERNAME, PASSWORD = "root", "ddmlab", "rucio-test-secret"
START_S = 120

CONFIG = Template("""
[common]
loglevel = WARNING
[client]
rucio_host = $url
auth_host = $url
[database]
default = $database
schema = dev
pool_size = 8
max_overflow = 8
[bootstrap]
userpass_identity = $username
userpass_pwd = $password
userpass_email = nobody@example.org
[alembic]
cfg = $home/etc/alembic.ini
""")
# Without the sections of logging the tables are made, and then the program fails.
ALEMBIC = Template("""
[alembic]
script_location = $package/db/sqla/migrate_repo
sqlalchemy.url = $database
version_table_schema = dev
[loggers]
keys = root
[handlers]
keys = console
[formatters]
keys = plain
[logger_root]
level = WARN
handlers = console
qualname =
[handler_console]
class = StreamHandler
args = (sys.stderr,)
level = NOTSET
formatter = plain
[formatter_plain]
format = %(levelname)s %(message)s
""")
BUILD = """
from rucio.db.sqla.util import build_database, create_base_vo, create_root_account
build_database(); create_base_vo(); create_root_account()
"""


class RucioServer:
    """Rucio's REST server; it keeps its port and its database when it is stopped and started again."""

    def __init__(self, home: Path, database: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None
        package = next(VENV.glob("lib/python3*/site-packages/rucio"))
        fields = {
            "url": self.url,
            "database": database,
            "username": USERNAME,
            "password": PASSWORD,
            "home": home,
            "package": package,
        }
        (home / "etc").mkdir(parents=True)
        (home / "etc" / "rucio.cfg").write_text(CONFIG.substitute(fields))
        (home / "etc" / "alembic.ini").write_text(ALEMBIC.substitute(fields))
        self._environment = {"PATH": "/usr/bin:/bin", "RUCIO_HOME": str(home), "LC_ALL": "C.UTF-8"}

    def build(self) -> None:
        """Make Rucio's tables and its root account."""
        made = subprocess.run(
            [str(VENV / "bin" / "python"), "-c", BUILD],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stdout[-2000:]

    def start(self, workers: int = 1) -> None:
        command = [str(VENV / "bin" / "gunicorn"), "--workers", str(workers), "--threads", "4", "--timeout", "300"]
        command += ["--graceful-timeout", "1", "--bind", f"127.0.0.1:{self.port}"]
        with (self._home / "rucio.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, "rucio.web.rest.flaskapi.v1.main:application"],
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + START_S
        while time.monotonic() < end and self._process.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"{self.url}/ping/", timeout=30):
                return
            time.sleep(0.1)
        self.stop()
        raise AssertionError(f"Rucio does not answer: {(self._home / 'rucio.log').read_text()[-2000:]}")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None


async def _create_database(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE DATABASE rucio")
    await connection.close()


@pytest.fixture(scope="session")
def rucio_server(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RucioServer]:
    """The session's Rucio server; its catalog is kept from test to test, so names must be new in each."""
    if not (VENV / "bin" / "gunicorn").exists():
        if os.environ.get("CI"):
            pytest.fail(f"no Rucio in {VENV}: make rucio")
        pytest.skip("Rucio is not installed: make rucio")
    asyncio.run(_create_database(postgres_url.format("postgres")))
    home = tmp_path_factory.mktemp("rucio")
    server = RucioServer(home, postgres_url.format("rucio").replace("postgresql:", "postgresql+psycopg:", 1))
    server.build()
    server.start()
    yield server
    server.stop()
    shutil.rmtree(home)
