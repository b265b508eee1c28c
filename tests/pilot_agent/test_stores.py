"""Staging to and from real servers of every protocol that sites speak."""

import os
import signal
import socket
import subprocess
import threading
import uuid
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from prodchain.catalog import storage as seen
from prodchain.pilot_agent import storage, stores_xrootd
from prodchain.pilot_agent.errors import DiskFull, Stopped, StorageError
from prodchain.pilot_agent.messages import Input, Output
from prodchain.pilot_agent.stores import locate
from prodchain.pilot_agent.stores_credentials import VARIABLE
from prodchain.pilot_agent.zipapp import build_zipapp

from ..storages.farm import STORAGES, Farm, _table, farm
from ..storages.s3 import rclone_s3
from ..storages.servers import Server, open_folder
from ..storages.sftp import openssh
from ..storages.webdav import rclone_webdav, wsgidav
from ..storages.xrootd import xrootd
from .test_zipapp import PYTHON_39

CONTENT = bytes(range(256)) * 20_000
"""Some blocks, and one that is not full."""
GO = threading.Event()


@pytest.fixture(scope="module")
def storages() -> Iterator[Farm]:
    with farm() as started:
        yield started


@dataclass
class Site:
    """A new folder at a storage, and a work directory."""

    url: str
    work: Path

    def make(self, name: str, content: bytes = CONTENT) -> Output:
        (self.work / name).write_bytes(content)
        return Output(name, f"{self.url}/ab/cd/{name}")

    @property
    def names(self) -> set[str]:
        return {entry.path.rpartition("/")[2] for entry in seen.listing(self.url)}


@pytest.fixture(params=STORAGES)
def site(request: pytest.FixtureRequest, storages: Farm, tmp_path: Path) -> Site:
    return site_at(storages.url(request.param), tmp_path)


def site_at(url: str, folder: Path) -> Site:
    work = folder / f"work-{uuid.uuid4().hex}"
    work.mkdir()
    return Site(f"{url}/{uuid.uuid4().hex}", work)


def as_input(output: Output, content: bytes = CONTENT) -> Input:
    return Input("in", output.url, len(content), f"{zlib.adler32(content):08x}")


class AtCall(threading.Event):
    """Does something when a transfer asks for the n-th time whether it shall stop."""

    def __init__(self, number: int, do: Callable[[threading.Event], object] = threading.Event.set) -> None:
        super().__init__()
        self._left, self._do = number, do

    def is_set(self) -> bool:
        self._left -= 1
        if self._left == 0:
            self._do(self)
        return super().is_set()


def test_an_output_is_stored_verified_and_comes_back_as_an_input(site: Site) -> None:
    output = site.make("data-1_(2)+~x.root")
    content = (len(CONTENT), f"{zlib.adler32(CONTENT):08x}")
    assert storage.stage_out([output], site.work, 7, GO) == [content]
    assert site.names == {output.lfn}
    assert storage.stage_out([output], site.work, 7, GO) == [content], "a lost answer"
    assert storage.stage_in([as_input(output)], site.work, GO) == len(CONTENT)
    assert (site.work / "in").read_bytes() == CONTENT
    (site.work / output.lfn).write_bytes(b"something else")
    with pytest.raises(StorageError, match="is stored already, with other content"):
        storage.stage_out([output], site.work, 7, GO)
    assert storage.delete([output, output]) == []
    assert site.names == set()


def test_an_empty_file_is_a_file(site: Site) -> None:
    output = site.make("empty", b"")
    assert storage.stage_out([output], site.work, 7, GO) == [(0, "00000001")]
    assert storage.stage_in([as_input(output, b"")], site.work, GO) == 0


def test_an_input_that_is_not_there_or_damaged_is_said(site: Site) -> None:
    output = site.make("data")
    with pytest.raises(StorageError, match=r"(?i)no such file|not there") as caught:
        storage.stage_in([as_input(output)], site.work, GO)
    assert output.url.split("//", 1)[1].rpartition("/")[2] in str(caught.value)
    assert caught.value.hint == "was it deleted at the storage?"
    storage.stage_out([output], site.work, 7, GO)
    (site.work / "in").unlink(missing_ok=True)
    with pytest.raises(StorageError, match="input in is damaged: 5120000 bytes, adler32"):
        storage.stage_in([as_input(output, CONTENT[:-1] + b"x")], site.work, GO)


def test_a_byte_that_changes_at_the_storage_is_found_and_nothing_is_left(
    storages: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = storage._stored
    for name in ("local", "root", "https", "webdav-wsgidav", "sftp"):
        site = site_at(storages.url(name), tmp_path)
        output = site.make("data")
        folder = Path(site.url[7:]) if name == "local" else storages.server(name).folder / site.url.rpartition("/")[2]

        def damaged(*arguments: object, folder: Path = folder) -> object:
            (part,) = (path for path in folder.rglob("*") if path.is_file())
            with part.open("r+b") as file:
                file.seek(100)
                file.write(b"!")
            return looked(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(storage, "_stored", damaged)
        with pytest.raises(StorageError, match="output data is damaged at the storage: 5120000 bytes"):
            storage.stage_out([output], site.work, 7, GO)
        assert site.names == set(), name


def test_a_transfer_stops_when_asked_and_nothing_is_left(site: Site) -> None:
    output = site.make("data")
    with pytest.raises(Stopped):
        storage.stage_out([output], site.work, 7, AtCall(3))
    assert site.names == set()
    storage.stage_out([output], site.work, 7, GO)
    with pytest.raises(Stopped):
        storage.stage_in([as_input(output)], site.work, AtCall(3))


@pytest.mark.parametrize("scheme", ["root", "http", "https", "s3+http", "sftp"])
def test_a_server_that_is_silent_does_not_keep_a_job_from_being_stopped(scheme: str, tmp_path: Path) -> None:
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        site = site_at(f"{scheme}://127.0.0.1:{silent.getsockname()[1]}/bucket", tmp_path)
        threading.Timer(0.3, stop.set).start()
        with pytest.raises(Stopped):
            storage.stage_in([as_input(site.make("data"))], site.work, stop)


@pytest.mark.parametrize("name", ["webdav-rclone", "s3-rclone", "sftp"])
def test_wrong_credentials_are_said_with_the_remedy_and_without_the_secret(
    name: str, storages: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = storages.server(name)
    wrong = {key: value for key, value in server.credentials.items() if key == "known_hosts"}
    wrong |= {"key": "AKID", "secret": "very-secret", "user": "mallory", "password": "very-secret"}
    secrets = tmp_path / "storages.toml"
    secrets.write_text(_table(Server(server.url, server.folder, server.process, wrong)))
    monkeypatch.setenv(VARIABLE, str(secrets))
    site = site_at(server.url, tmp_path)
    for work in (
        lambda: storage.stage_in([as_input(site.make("data"))], site.work, GO),
        lambda: storage.stage_out([site.make("data")], site.work, 7, GO),
    ):
        with pytest.raises(StorageError) as caught:
            work()
        assert (
            caught.value.hint == f"give or renew the credentials of {server.server} in the file that {VARIABLE} names"
        )
        assert "very-secret" not in f"{caught.value}{caught.value.hint}"


def test_servers_that_are_not_known_are_not_trusted(
    storages: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [storages.url(name) for name in ("https", "sftp")]
    (tmp_path / "known").touch()
    host = storages.server("sftp").server
    (tmp_path / "storages.toml").write_text(f'["{host}"]\nknown_hosts = "{tmp_path}/known"\n')
    monkeypatch.setenv(VARIABLE, str(tmp_path / "storages.toml"))
    for url, hint in zip(urls, ("name who signed it", "compare the host key"), strict=True):
        site = site_at(url, tmp_path)
        with pytest.raises(StorageError) as caught:
            storage.stage_out([site.make("data")], site.work, 7, GO)
        assert hint in caught.value.hint


@contextmanager
def alone(name: str, credentials: Path, where: Path | None = None) -> Iterator[Server]:
    """A server of its own, that may be killed or filled."""
    starters = {"webdav": rclone_webdav, "wsgidav": wsgidav, "s3": rclone_s3, "sftp": openssh}
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        if name in ("root", "https"):
            server: Server = getattr(stack.enter_context(xrootd(where)), name)
        else:
            server = stack.enter_context(starters[name](where))
        credentials.write_text(_table(server))
        patch.setenv(VARIABLE, str(credentials))
        yield server


@pytest.mark.parametrize("name", ["root", "https", "webdav", "wsgidav", "s3", "sftp"])
def test_a_server_that_dies_in_mid_transfer_is_said_and_no_file_has_its_final_name(name: str, tmp_path: Path) -> None:
    with alone(name, tmp_path / "storages.toml") as server:
        site = site_at(server.url, tmp_path)
        there = site.make("there")
        storage.stage_out([there], site.work, 7, GO)
        output = site.make("data", CONTENT * 4)
        with pytest.raises(StorageError) as caught:
            storage.stage_out([output], site.work, 7, AtCall(4, lambda _: kill(server)))
        assert "127.0.0.1" in str(caught.value)
        assert "runs" in caught.value.hint or "log" in caught.value.hint
        assert "data" not in {path.name for path in server.folder.rglob("*")}
        with pytest.raises(StorageError, match=r"127\.0\.0\.1"):
            storage.stage_in([as_input(there)], site.work, GO)


@pytest.mark.parametrize("name", ["root", "https", "sftp"])
def test_an_input_that_breaks_off_is_said(name: str, tmp_path: Path) -> None:
    content = CONTENT * 20
    with alone(name, tmp_path / "storages.toml") as server:
        site = site_at(server.url, tmp_path)
        there = site.make("there", content)
        storage.stage_out([there], site.work, 7, GO)
        with pytest.raises(StorageError) as caught:
            storage.stage_in([as_input(there, content)], site.work, AtCall(2, lambda _: kill(server)))
        assert "damaged" not in str(caught.value)


@pytest.mark.parametrize("name", ["root", "https", "wsgidav", "sftp"])
def test_a_full_storage_is_said_and_nothing_is_left(name: str, tmp_path: Path) -> None:
    with small_disk(megabytes=6) as disk, alone(name, tmp_path / "storages.toml", disk) as server:
        site = site_at(server.url, tmp_path)
        output = site.make("data", CONTENT * 2)
        with pytest.raises(StorageError) as caught:
            storage.stage_out([output], site.work, 7, GO)
        assert name == "https" or isinstance(caught.value, DiskFull)
        assert "space" in f"{caught.value} {caught.value.hint}"
        assert [path for path in server.folder.rglob("*") if path.is_file()] == []


def kill(server: Server) -> None:
    """With all its processes: sshd has some for each connection."""
    for child in below(server.process.pid):
        os.kill(child, signal.SIGKILL)
    server.stop()


def below(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for each in tasks for child in each.read_text().split()]
    return children + [each for child in children for each in below(child)]


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("FULL DISK NOT TESTED: only root can mount a small file system")
    with open_folder() as at:
        mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "tmpfs", str(at)]
        if (done := subprocess.run(mount, capture_output=True, check=False)).returncode:
            pytest.skip(f"FULL DISK NOT TESTED: {done.stderr.decode()}")
        try:
            yield at
        finally:
            subprocess.run(["umount", "-l", str(at)], check=True)


@pytest.mark.skipif(not PYTHON_39, reason="no Python 3.9 on this machine")
def test_the_pilots_file_does_it_on_a_python_3_9_that_has_nothing_installed(site: Site) -> None:
    output = site.make("data")
    given = as_input(output)
    code = (
        f"import sys, threading, pathlib; sys.path.insert(0, {str(build_zipapp(site.work / 'pilot.pyz'))!r})\n"
        "from pilot_agent import storage\nfrom pilot_agent.messages import Input, Output\n"
        f"work, go = pathlib.Path({str(site.work)!r}), threading.Event()\n"
        f"storage.stage_out([{output!r}], work, 7, go)\n"
        f"storage.stage_in([{given!r}], work, go)\n"
    )
    run = subprocess.run([PYTHON_39[-1], "-I", "-S", "-W", "error", "-c", code], capture_output=True, check=False)
    assert run.returncode == 0, run.stderr.decode()
    assert (site.work / "in").read_bytes() == CONTENT


@pytest.mark.parametrize(("name", "secret"), [("root", "token"), ("sftp", "password")])
def test_no_secret_stands_on_a_command_line(
    name: str, secret: str, storages: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = storages.server(name)
    secrets = tmp_path / "storages.toml"
    known = {**server.credentials, secret: "very-secret"}
    secrets.write_text(_table(Server(server.url, server.folder, server.process, known)))
    monkeypatch.setenv(VARIABLE, str(secrets))
    site = site_at(server.url, tmp_path)
    lines: list[bytes] = []

    def look(_: threading.Event) -> None:
        lines.extend(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in below(os.getpid()))

    storage.stage_out([site.make("data")], site.work, 7, AtCall(3, look))
    program = {"root": b"xrdcp", "sftp": b"ssh"}[name]
    assert any(line.startswith(program) for line in lines)
    assert not any(b"very-secret" in line for line in lines)


def test_root_without_its_programs_goes_by_fsspec_if_that_is_there(
    storages: Farm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = site_at(storages.url("root"), tmp_path)
    output = site.make("data")
    with monkeypatch.context() as patch:
        patch.setattr("prodchain.pilot_agent.stores.PROGRAMS", ("xrdcp-that-is-not-here",))
        assert not isinstance(locate(output.url)[0], stores_xrootd.XRootDStore)
        storage.stage_out([output], site.work, 7, GO)
        storage.stage_in([as_input(output)], site.work, GO)
        patch.setitem(__import__("sys").modules, "fsspec.core", None)
        with pytest.raises(StorageError, match="cannot be reached") as caught:
            locate(output.url)
    assert caught.value.hint == stores_xrootd.REMEDY
    assert site.names == {"data"}
