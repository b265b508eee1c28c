"""The tools that people use for each storage: what the mover is measured against."""

import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

from prodchain.catalog.backends.webdav import SOON_S
from tests.storages.farm import Farm
from tests.storages.servers import Server, found, needs

AT_ONCE = 4
"""Files at a time where a tool wants to know; as many as the mover has threads."""


TIMEOUT_S = 300
"""A tool that takes longer hangs."""


class Native(ABC):
    """Moves a file or a folder between the local disk and a name at a storage."""

    tools: ClassVar[str]

    @abstractmethod
    def put(self, source: Path, name: str) -> None: ...

    @abstractmethod
    def get(self, name: str, target: Path) -> None: ...

    @abstractmethod
    def put_all(self, folder: Path, name: str) -> None: ...

    @abstractmethod
    def get_all(self, name: str, folder: Path) -> None:
        """Into a folder that is not there."""


class Local(Native):
    tools = "cp, then cksum of the copy"

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, source: Path, name: str) -> None:
        self._copy(source, self.folder / name)

    def get(self, name: str, target: Path) -> None:
        self._copy(self.folder / name, target)

    def put_all(self, folder: Path, name: str) -> None:
        self._copy(folder, self.folder / name)

    def get_all(self, name: str, folder: Path) -> None:
        self._copy(self.folder / name, folder)

    def _copy(self, source: Path, target: Path) -> None:
        run(["cp", "-r", source, target])
        run(["cksum", *(files(target) if target.is_dir() else [target])])


class Root(Native):
    tools = "xrdcp --cksum adler32 (-r --parallel 4)"

    def __init__(self, server: Server) -> None:
        needs("xrdcp")
        self.url = server.url

    def put(self, source: Path, name: str) -> None:
        self._copy(str(source), f"{self.url}/{name}")

    def get(self, name: str, target: Path) -> None:
        self._copy(f"{self.url}/{name}", str(target))

    def put_all(self, folder: Path, name: str) -> None:
        """To ``name/FOLDER``: with --path it makes the folder that it refuses to write to without."""
        self._copy("-r", f"{folder}/", f"{self.url}/{name}/", more=["--parallel", str(AT_ONCE)])

    def get_all(self, name: str, folder: Path) -> None:
        folder.mkdir()
        self._copy("-r", f"{self.url}/{name}/", f"{folder}/", more=["--parallel", str(AT_ONCE)])

    def _copy(self, *what: str, more: Iterable[str] = ()) -> None:
        run(["xrdcp", "--nopbar", "--silent", "--path", "--cksum", "adler32", *more, *what])


class Https(Native):
    tools = "curl, xrdadler32 here and the server's digest (many: curl -Z --parallel-max 4, the server's digests)"

    def __init__(self, server: Server) -> None:
        needs("curl", "xrdadler32")
        self.url = server.url
        self.command = ["curl", "--silent", "--show-error", "--fail", "--cacert", str(server.credentials["ca"])]

    def put(self, source: Path, name: str) -> None:
        run([*self.command, "--upload-file", source, f"{self.url}/{name}"])
        self._verify(source, name)

    def get(self, name: str, target: Path) -> None:
        run([*self.command, "--output", target, f"{self.url}/{name}"])
        self._verify(target, name)

    def _verify(self, file: Path, name: str) -> None:
        """As who uses curl has to: it has no checksums of its own."""
        run(["xrdadler32", file])
        run([*self.command, "--head", "--header", "Want-Digest: adler32", f"{self.url}/{name}"])

    def put_all(self, folder: Path, name: str) -> None:
        self._all((f"{self.url}/{name}/{file.name}", f"upload-file = {file}") for file in files(folder))
        self._digests(name)

    def get_all(self, name: str, folder: Path) -> None:
        folder.mkdir()
        names = (f"file-{number}" for number in range(self.many))
        self._all((f"{self.url}/{name}/{each}", f"output = {folder / each}") for each in names)
        self._digests(name)

    many = 0
    """Files of a folder: curl does not list."""

    def _digests(self, name: str) -> None:
        """What the server has, to be compared: with what is here, which costs curl's user a second program.

        With the mover's patience, for the same reason: XRootD forgets one such question in some thousands.
        """
        urls = (f"{self.url}/{name}/file-{number}" for number in range(self.many))
        asking = 'head\nheader = "Want-Digest: adler32"\noutput = /dev/null'
        self._all(((url, asking) for url in urls), "--max-time", str(SOON_S), "--retry", "3")

    def _all(self, transfers: Iterable[tuple[str, str]], *more: str) -> None:
        text = "\n".join(f"url = {url}\n{line}" for url, line in transfers)
        run([*self.command, *more, "--parallel", "--parallel-max", str(AT_ONCE), "--config", "-"], text=text)


class S3(Native):
    tools = "s5cmd cp"

    def __init__(self, server: Server) -> None:
        needs("s5cmd")
        self.bucket = f"s3://{server.url.rpartition('/')[2]}"
        endpoint = server.server.removeprefix("s3+")
        self.command = [found("s5cmd") or "s5cmd", "--log", "error", "--endpoint-url", endpoint, "cp"]
        key, secret = str(server.credentials["key"]), str(server.credentials["secret"])
        self.env = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": "us-east-1"}

    def put(self, source: Path, name: str) -> None:
        run([*self.command, source, f"{self.bucket}/{name}"], env=self.env)

    def get(self, name: str, target: Path) -> None:
        run([*self.command, f"{self.bucket}/{name}", target], env=self.env)

    def put_all(self, folder: Path, name: str) -> None:
        run([*self.command, f"{folder}/", f"{self.bucket}/{name}/"], env=self.env)

    def get_all(self, name: str, folder: Path) -> None:
        run([*self.command, f"{self.bucket}/{name}/*", f"{folder}/"], env=self.env)


class WebDav(Native):
    tools = "rclone copyto (copy --transfers 4)"

    def __init__(self, server: Server) -> None:
        needs("rclone")
        program = found("rclone") or "rclone"
        hidden = subprocess.run(
            [program, "obscure", server.credentials["password"]], check=True, capture_output=True, text=True
        )
        self.command = [program, "--config", "/dev/null", "--webdav-url", server.url, "--webdav-vendor", "other"]
        self.command += ["--webdav-user", server.credentials["user"], "--webdav-pass", hidden.stdout.strip()]

    def put(self, source: Path, name: str) -> None:
        run([*self.command, "copyto", source, f":webdav:{name}"])

    def get(self, name: str, target: Path) -> None:
        run([*self.command, "copyto", f":webdav:{name}", target])

    def put_all(self, folder: Path, name: str) -> None:
        run([*self.command, "copy", "--transfers", str(AT_ONCE), folder, f":webdav:{name}"])

    def get_all(self, name: str, folder: Path) -> None:
        run([*self.command, "copy", "--transfers", str(AT_ONCE), f":webdav:{name}", folder])


class Sftp(Native):
    tools = "scp (-r)"

    def __init__(self, server: Server) -> None:
        needs("scp")
        known = server.credentials
        options = [
            "-q",
            "-oBatchMode=yes",
            f"-oUserKnownHostsFile={known['known_hosts']}",
            "-i",
            known["private_key"],
        ]
        self.command = ["scp", *options, "-P", server.server.rpartition(":")[2]]
        self.folder = f"{known['user']}@127.0.0.1:{server.folder}"

    def put(self, source: Path, name: str) -> None:
        run([*self.command, source, f"{self.folder}/{name}"])

    def get(self, name: str, target: Path) -> None:
        run([*self.command, f"{self.folder}/{name}", target])

    def put_all(self, folder: Path, name: str) -> None:
        run([*self.command, "-r", folder, f"{self.folder}/{name}"])

    def get_all(self, name: str, folder: Path) -> None:
        run([*self.command, "-r", f"{self.folder}/{name}", folder])


def native(storage: str, servers: Farm) -> Native:
    """The tool for a storage of a farm."""
    if storage == "local":
        return Local(Path(servers.url("local").removeprefix("file://")))
    kinds: dict[str, type[Root | Https | S3 | WebDav | Sftp]] = {
        "root": Root,
        "https": Https,
        "s3-rclone": S3,
        "webdav-rclone": WebDav,
        "sftp": Sftp,
    }
    return kinds[storage](servers.server(storage))


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def run(command: list[str | Path], text: str = "", env: dict[str, str] | None = None) -> None:
    """Run a tool; RuntimeError with its last words if it fails."""
    done = subprocess.run(
        [str(word) for word in command],
        check=False,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **(env or {})},
        timeout=TIMEOUT_S,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{Path(command[0]).name} failed ({done.returncode}): {done.stdout.strip()[-500:]}")
