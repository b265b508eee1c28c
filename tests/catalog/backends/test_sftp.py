"""What only SFTP has: host keys, passwords, connections that break, servers of less than OpenSSH's extensions."""

import os
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from prodchain.catalog.backends import base
from prodchain.catalog.backends.sftp import Sftp
from prodchain.catalog.backends.ssh import Channel
from prodchain.catalog.errors import BadStorage, FileMissing, StorageDenied, StorageFull, StorageTimeout

from ...storages.farm import Farm
from ...storages.servers import Server, open_folder
from ...storages.sftp import openssh, rclone_sftp
from .conftest import Storage, storage_at

LARGE = bytes(range(256)) * 100_000


@pytest.fixture
def storage(storages: Farm, tmp_path: Path) -> Storage:
    return storage_at(storages, "sftp", tmp_path)


@pytest.fixture
def server(storages: Farm) -> Server:
    return storages.server("sftp")


def nobody(_: int) -> None:
    pass


def folder_of(server: Server) -> str:
    return server.url.removeprefix(server.server)


def test_an_unknown_host_key_is_denied_with_the_remedy(server: Server, tmp_path: Path) -> None:
    empty = tmp_path / "known_hosts"
    empty.touch()
    stranger = Sftp(server.server, {**server.credentials, "known_hosts": str(empty)})
    with pytest.raises(StorageDenied, match="host key") as caught:
        stranger.size(folder_of(server))
    assert str(empty) in caught.value.hint
    assert empty.read_text() == ""


def test_another_key_than_the_known_one_is_denied(server: Server, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    known = tmp_path / "known_hosts"
    host = Path(server.credentials["known_hosts"]).read_text().split()[0]
    known.write_text(f"{host} {(tmp_path / 'other.pub').read_text()}")
    with pytest.raises(StorageDenied, match="host key"):
        Sftp(server.server, {**server.credentials, "known_hosts": str(known)}).size(folder_of(server))


def test_a_key_that_the_server_does_not_know_is_denied(server: Server, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    with pytest.raises(StorageDenied, match="does not let us in") as caught:
        Sftp(server.server, {**server.credentials, "private_key": str(tmp_path / "other")}).size(folder_of(server))
    assert "credentials" in caught.value.hint


def test_a_server_without_extensions_and_with_a_password_will_do(tmp_path: Path) -> None:
    with rclone_sftp() as server:
        backend = Sftp(server.server, server.credentials)
        (tmp_path / "source").write_bytes(LARGE)
        backend.put(tmp_path / "source", "/a/b/part", nobody)
        backend.write("/a/b/file", [b"old"], 3)
        backend.rename("/a/b/part", "/a/b/file")
        backend.get("/a/b/file", tmp_path / "back", nobody)
        assert (tmp_path / "back").read_bytes() == LARGE
        assert [(entry.path, entry.bytes) for entry in backend.list("/a")] == [("/a/b/file", len(LARGE))]
        with pytest.raises(FileMissing):
            backend.rename("/a/b/part", "/a/b/file")
        wrong = Sftp(server.server, {**server.credentials, "password": "wrong"})
        with pytest.raises(StorageDenied):
            wrong.size("/a/b/file")


def test_a_connection_that_was_dropped_is_opened_again(storage: Storage) -> None:
    storage.backend.write(storage.path("file"), [b"x"], 1)
    assert isinstance(storage.backend, Sftp)
    for channel in storage.backend._idle:
        channel._process.kill()
        channel._process.wait()
    assert storage.content(storage.path("file")) == b"x"


def test_connections_are_used_again_and_few_are_kept(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(storage.backend, Sftp)
    storage.backend.size(storage.folder)
    opened = counted(monkeypatch)
    for number in range(20):
        storage.backend.write(storage.path(f"file-{number}"), [b"x"], 1)
    assert opened == []
    with ThreadPoolExecutor(12) as threads:
        list(threads.map(lambda number: storage.content(storage.path(f"file-{number % 20}")), range(100)))
    assert len(opened) <= 12
    assert len(storage.backend._idle) <= 8


def test_a_server_that_ends_in_mid_transfer_is_an_error_and_leaves_nothing_here(tmp_path: Path) -> None:
    with openssh() as server:
        backend, path = Sftp(server.server, server.credentials), f"{folder_of(server)}/file"
        backend.write(path, [LARGE], len(LARGE))

        def end(_: int) -> None:
            kill_all_below(server.process.pid)

        with pytest.raises(BadStorage) as caught:
            backend.get(path, tmp_path / "here", end)
        assert caught.value.object == server.server + path
        assert not (tmp_path / "here").exists()
        with pytest.raises(StorageTimeout, match="refused"):
            backend.size(path)


def test_a_server_that_is_silent_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with openssh() as server:
        backend, path = Sftp(server.server, server.credentials), f"{folder_of(server)}/file"
        backend.write(path, [b"x"], 1)
        monkeypatch.setattr(base, "TIMEOUT_S", 0.3)
        with stopped(below(server.process.pid)), pytest.raises(StorageTimeout):
            backend.size(path)


def test_a_full_disk_is_said_though_the_protocol_has_no_word_for_it() -> None:
    with open_folder() as disk:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0755", "none", disk], capture_output=True, check=False
        )
        if mounted.returncode != 0:
            pytest.skip("mounting a small disk needs root")
        try:
            with openssh(disk) as server:
                backend = Sftp(server.server, server.credentials)
                with pytest.raises(StorageFull):
                    backend.write(f"{folder_of(server)}/file", [LARGE], len(LARGE))
                assert list(backend.list(folder_of(server))) == []
        finally:
            subprocess.run(["umount", "--lazy", disk], check=True)  # the server may be in it still


def test_what_nobody_may_write_to_is_denied(server: Server) -> None:
    closed = server.folder / "closed"
    closed.mkdir()
    closed.chmod(0o555)
    with pytest.raises(StorageDenied, match="Permission denied"):
        Sftp(server.server, server.credentials).write(f"{folder_of(server)}/closed/file", [b"x"], 1)


def test_what_is_no_sftp_server_is_said(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "prodchain.catalog.backends.sftp._command", lambda *_: ["sh", "-c", "echo Welcome here; cat >&2"]
    )
    with pytest.raises(BadStorage, match="not an SFTP server"):
        Sftp(server.server, {}).size("/file")


def test_people_are_told_how_to_open_it(server: Server) -> None:
    url, options = Sftp(server.server, server.credentials).opening("/a/file")
    assert url == f"{server.server}/a/file"
    assert options == {"username": server.credentials["user"]}


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Channel]:
    """The channels that are opened from now on."""
    opened: list[Channel] = []
    real = Channel.__init__

    def counting(self: Channel, *arguments: object) -> None:
        opened.append(self)
        real(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Channel, "__init__", counting)
    return opened


def below(parent: int) -> list[int]:
    """The processes that a process started, and these."""
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [process for child in map(int, children) for process in (child, *below(child))]


def kill_all_below(parent: int) -> None:
    for process in (parent, *below(parent)):
        os.kill(process, signal.SIGKILL)


@contextmanager
def stopped(processes: list[int]) -> Iterator[None]:
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            os.kill(process, signal.SIGCONT)
