"""WebDAV servers: rclone's (with or without a password) and wsgidav."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .servers import Server, found, free_port, needs, open_folder, running


@contextmanager
def rclone_webdav(where: Path | None = None, user: str = "", password: str = "") -> Iterator[Server]:
    """``rclone serve webdav``; it remembers folders for 5 minutes, so tests use names that are new."""
    needs("rclone")
    with open_folder(where) as at:
        folder, port = at / "root", free_port()
        folder.mkdir()
        command = [
            found("rclone") or "rclone",
            "serve",
            "webdav",
            "--addr",
            f"127.0.0.1:{port}",
            "--config",
            "/dev/null",
        ]
        if user:
            command += ["--user", user, "--pass", password]
        with running([*command, str(folder)], port, at / "log") as process:
            credentials = {"user": user, "password": password} if user else {}
            yield Server(f"http://127.0.0.1:{port}", folder, process, credentials)


@contextmanager
def wsgidav(where: Path | None = None) -> Iterator[Server]:
    """wsgidav on cheroot, open to everybody."""
    needs("wsgidav")
    with open_folder(where) as at:
        folder, port = at / "root", free_port()
        folder.mkdir()
        options = [
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--root",
            str(folder),
            "--auth",
            "anonymous",
            "--no-config",
        ]
        with running([found("wsgidav") or "wsgidav", *options, "-q"], port, at / "log") as process:
            yield Server(f"http://127.0.0.1:{port}", folder, process)
