"""The embedded PostgreSQL: private, durable, and back after any kill."""

import asyncio
import os
import pwd
import shutil
import signal
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from prodchain.cli.errors import CliError
from prodchain.cli.local import places, postgres, process, programs

from .conftest import Start, as_user

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def ask(url: str, *statements: str) -> Any:
    async def run() -> Any:
        connection = await asyncpg.connect(url)
        try:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return await connection.fetchval(statements[-1])
        finally:
            await connection.close()

    return asyncio.run(run())


def modes(path: Path) -> dict[str, int]:
    return {str(parent): parent.stat().st_mode for parent in path.parents}


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder with a short path that every user may enter and write to; pytest's own is private and long."""
    folder = Path(tempfile.mkdtemp(prefix="pc-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def test_a_new_server_is_durable_and_knows_unicode(tmp_path: Path, start: Start) -> None:
    server = start(tmp_path / "postgres")
    url = server.create_database()
    assert ask(url, "SHOW fsync") == "on"
    assert ask(url, "SHOW data_checksums") == "on"
    assert ask(url, "SELECT lower('ZÜRICH')") == "zürich"
    assert ask(url, "SHOW timezone") == "UTC"


def test_starting_twice_attaches_to_the_same_server(tmp_path: Path, start: Start) -> None:
    first = start(tmp_path / "postgres")
    assert start(tmp_path / "postgres").pid == first.pid


def test_making_a_database_twice_changes_nothing(tmp_path: Path, start: Start) -> None:
    server = start(tmp_path / "postgres")
    ask(server.create_database(), "CREATE TABLE kept (n int)", "SELECT 1")
    assert ask(server.create_database(), "SELECT count(*) FROM kept") == 0


def test_stop_returns_when_the_process_is_gone_and_the_data_is_there_again(tmp_path: Path, start: Start) -> None:
    server = start(tmp_path / "postgres")
    ask(server.create_database(), "CREATE TABLE kept AS SELECT 7 AS n", "SELECT 1")
    server.stop()
    assert process.start_time(server.pid) is None
    again = start(tmp_path / "postgres")
    assert again.pid != server.pid
    assert ask(again.url(), "SELECT n FROM kept") == 7


def test_after_kill_9_the_next_start_recovers_everything_committed(tmp_path: Path, start: Start) -> None:
    server = start(tmp_path / "postgres")
    ask(server.create_database(), "CREATE TABLE kept AS SELECT 7 AS n", "SELECT 1")
    os.kill(server.pid, signal.SIGKILL)
    assert process.wait_gone(server.pid, server.started, 10)
    again = start(tmp_path / "postgres")
    assert ask(again.url(), "SELECT n FROM kept") == 7


def test_a_stale_pid_file_with_a_pid_that_now_is_another_process_is_no_obstacle(tmp_path: Path, start: Start) -> None:
    server = start(tmp_path / "postgres")
    note = server.folders[1] / "cluster" / "postmaster.pid"
    lines = note.read_text().splitlines()
    os.kill(server.pid, signal.SIGKILL)
    assert process.wait_gone(server.pid, server.started, 10)
    lines[0] = str(os.getpid())
    note.write_text("\n".join(lines) + "\n")
    assert start(tmp_path / "postgres").pid != os.getpid()


def test_an_initdb_that_was_killed_half_way_is_begun_again(tmp_path: Path, start: Start) -> None:
    place = places.place_of(tmp_path / "postgres")
    (place.base / "cluster.new").mkdir()
    (place.base / "cluster.new" / "PG_VERSION").write_text("18")
    assert start(tmp_path / "postgres").pid > 0


def test_the_server_listens_on_its_socket_only(tmp_path: Path, start: Start) -> None:
    server = start(tmp_path / "postgres")
    assert ask(server.url("postgres"), "SHOW listen_addresses") == ""
    assert stat.S_IMODE(server.sockets.stat().st_mode) == 0o700
    assert stat.S_IMODE((server.sockets / places.SOCKET).stat().st_mode) == 0o700


def test_no_parent_folder_changes_its_mode(tmp_path: Path, start: Start) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    before = modes(private / "home")
    package = modes(programs.wheel() / "x")
    start(private / "home" / "postgres")
    assert modes(private / "home") == before
    assert modes(programs.wheel() / "x") == package


def test_files_of_the_server_are_for_their_owner_only(tmp_path: Path, start: Start) -> None:
    server = start(tmp_path / "postgres", tmp_path / "logs" / "postgres.log")
    for folder in server.folders:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "logs" / "postgres.log").stat().st_mode) == 0o600
    for path in (tmp_path / "postgres").glob("location"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_environment_of_the_caller_does_not_move_the_server(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPORT", "7777")
    monkeypatch.setenv("PGDATA", "/nowhere")
    server = start(tmp_path / "postgres")
    assert (server.sockets / ".s.PGSQL.5432").exists()


def test_a_missing_wheel_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "WHEEL", "no_such_wheel")
    with pytest.raises(CliError) as caught:
        programs.wheel()
    assert "PRODCHAIN_DATABASE_URL" in caught.value.hint


@root_only
def test_as_root_the_server_runs_under_its_own_account_and_others_cannot_reach_it(
    tmp_path: Path, start: Start
) -> None:
    server = start(tmp_path / "postgres")
    owner = pwd.getpwuid(Path(f"/proc/{server.pid}").stat().st_uid).pw_name
    assert owner == "prodchain-postgres"

    def connect() -> str:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(server.sockets / places.SOCKET))
            except PermissionError:
                return "refused"
        return "connected"

    assert as_user("nobody", tmp_path, connect) == "refused"
    assert connect() == "connected"


@root_only
def test_as_root_a_home_made_again_does_not_find_the_old_database(tmp_path: Path, start: Start) -> None:
    old = start(tmp_path / "home" / "postgres")
    shutil.rmtree(tmp_path / "home")
    new = start(tmp_path / "home" / "postgres")
    assert new.folders[1] != old.folders[1]


@root_only
def test_as_root_programs_in_a_private_venv_are_copied_and_the_venv_stays_private(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    package = programs.wheel()
    for name in (package.name, f"{package.name}.libs"):
        shutil.copytree(package.parent / name, private / name, ignore=shutil.ignore_patterns("pginstall", "include"))
    monkeypatch.setattr(programs, "wheel", lambda: private / package.name)
    monkeypatch.setattr(places, "SYSTEM", Path(tempfile.mkdtemp(prefix="prodchain-test-", dir="/var/lib")))
    places.SYSTEM.chmod(0o755)
    try:
        server = start(tmp_path / "postgres")
        assert server.programs.is_relative_to(places.SYSTEM)
        assert ask(server.create_database(), "SELECT 1") == 1
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        server.stop()
    finally:
        shutil.rmtree(places.SYSTEM)


def serve_and_ask(home: Path) -> dict[str, Any]:
    """One life of a server, told as plain data."""
    server = postgres.start(home / "postgres")
    try:
        ask(server.create_database(), "CREATE TABLE kept AS SELECT 7 AS n", "SELECT 1")
        os.kill(server.pid, signal.SIGKILL)
        process.wait_gone(server.pid, server.started, 10)
        server = postgres.start(home / "postgres")
        return {
            "owner": Path(f"/proc/{server.pid}").stat().st_uid,
            "data": ask(server.url(), "SELECT n FROM kept"),
            "sockets": str(server.sockets),
            "mode": stat.S_IMODE(server.sockets.stat().st_mode),
        }
    finally:
        server.stop(remove=True)


@root_only
def test_an_ordinary_user_has_the_server_in_the_home(open_folder: Path) -> None:
    before = open_folder.stat().st_mode
    told = as_user("nobody", open_folder, lambda: serve_and_ask(open_folder / "home"))
    assert told["owner"] == pwd.getpwnam("nobody").pw_uid
    assert told["data"] == 7
    assert told["sockets"] == str(open_folder / "home" / "postgres" / "run")
    assert told["mode"] == 0o700
    assert open_folder.stat().st_mode == before


@root_only
def test_a_long_home_has_its_socket_in_a_short_private_folder(open_folder: Path) -> None:
    home = open_folder / ("long" * 30)
    told = as_user("nobody", open_folder, lambda: serve_and_ask(home))
    assert told["data"] == 7
    assert told["mode"] == 0o700
    assert not Path(told["sockets"]).is_relative_to(home)
    assert not Path(told["sockets"]).exists()


@root_only
def test_the_home_of_an_ordinary_user_is_not_served_by_root(open_folder: Path) -> None:
    (open_folder / "postgres" / "cluster").mkdir(parents=True)
    with pytest.raises(CliError, match="belongs to an ordinary user"):
        postgres.start(open_folder / "postgres")


def test_a_socket_folder_that_others_may_enter_is_not_used(open_folder: Path) -> None:
    assert not places.is_private(open_folder)
    open_folder.chmod(0o700)
    assert places.is_private(open_folder)
    link = open_folder / "link"
    link.symlink_to(open_folder)
    assert not places.is_private(link)
