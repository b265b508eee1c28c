"""S3 servers: rclone's, which keeps files on the disk, and moto, which keeps them in memory."""

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .servers import Server, found, free_port, needs, open_folder, running

BUCKET = "bucket"
KEY, SECRET = "test-key", "test-secret"


@contextmanager
def rclone_s3(where: Path | None = None) -> Iterator[Server]:
    """``rclone serve s3``: a bucket is a folder. Without ETags: it would hash a whole object for each ranged read."""
    needs("rclone")
    with open_folder(where) as at:
        port, folder = free_port(), at / "root" / BUCKET
        folder.mkdir(parents=True)
        command = [found("rclone") or "rclone", "serve", "s3", "--etag-hash", "", "--vfs-cache-mode", "off"]
        command += ["--addr", f"127.0.0.1:{port}", "--auth-key", f"{KEY},{SECRET}", "--config", "/dev/null"]
        with running([*command, str(folder.parent)], port, at / "log") as process:
            url = f"s3+http://127.0.0.1:{port}/{BUCKET}"
            yield Server(url, folder, process, {"key": KEY, "secret": SECRET})


@contextmanager
def moto_s3(where: Path | None = None) -> Iterator[Server]:
    """``moto_server``: the API in its details (multipart, ETags, errors), any credentials, nothing on the disk."""
    needs("moto_server")
    with open_folder(where) as at:
        port = free_port()
        command = [found("moto_server") or "moto_server", "-H", "127.0.0.1", "-p", str(port)]
        with running(command, port, at / "log") as process:
            url = f"s3+http://127.0.0.1:{port}/{BUCKET}"
            _make_bucket(port)
            yield Server(url, at, process, {"key": KEY, "secret": SECRET})


def _make_bucket(port: int) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/{BUCKET}", method="PUT")
    with urllib.request.urlopen(request, timeout=20):
        pass
