"""SFTP servers: OpenSSH's with a key and a configuration of its own, and rclone's with a password."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .servers import Server, found, free_port, needs, open_folder, running

UNPACKED = Path(__file__).parents[2] / "build" / "openssh"
"""Where ``make services`` unpacks Debian's package: installed, it would start a server for all the world."""

USER = "daemon"
"""Whom the server runs as for root, who would have to make a user ``sshd`` for its privilege separation."""

CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {at}/host
AuthorizedKeysFile {at}/user.pub
StrictModes no
UsePAM no
PidFile none
MaxStartups 100
MaxSessions 100
Subsystem sftp internal-sftp
"""


@contextmanager
def openssh(where: Path | None = None) -> Iterator[Server]:
    """A started server whose one user is who runs it: for root that is ``daemon``, who then owns the folder."""
    sshd = UNPACKED / "usr" / "sbin" / "sshd"
    needs("ssh-keygen", str(sshd))
    user = USER if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    with open_folder(where) as at:
        port, folder = free_port(), at / "root"
        folder.mkdir()
        for key in ("host", "user"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(at / key)], check=True)
        (at / "sshd_config").write_text(CONFIG.format(at=at, port=port))
        known = at / "known_hosts"
        known.write_text(f"[127.0.0.1]:{port} {(at / 'host.pub').read_text()}")
        libraries = UNPACKED / "usr" / "lib" / f"{os.uname().machine}-linux-gnu"
        command = [*_become(user, folder, at / "host"), str(sshd), "-D", "-e", "-f", str(at / "sshd_config")]
        with running(command, port, at / "log", {**os.environ, "LD_LIBRARY_PATH": str(libraries)}) as process:
            credentials = {"user": user, "private_key": str(at / "user"), "known_hosts": str(known)}
            yield Server(f"sftp://127.0.0.1:{port}{folder}", folder, process, credentials)


def _become(user: str, *owned: Path) -> list[str]:
    if os.geteuid() != 0:
        return []
    for path in owned:
        shutil.chown(path, user)
    return ["setpriv", f"--reuid={user}", f"--regid={pwd.getpwnam(user).pw_gid}", "--clear-groups"]


@contextmanager
def rclone_sftp(where: Path | None = None) -> Iterator[Server]:
    """``rclone serve sftp``: with a password, without OpenSSH's extensions."""
    needs("rclone", "ssh-keygen")
    with open_folder(where) as at:
        port, folder = free_port(), at / "root"
        folder.mkdir()
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(at / "host")], check=True)
        known = at / "known_hosts"
        known.write_text(f"[127.0.0.1]:{port} {(at / 'host.pub').read_text()}")
        user, password = "user", "test-password"
        command = [found("rclone") or "rclone", "serve", "sftp", "--config", "/dev/null", "--key", str(at / "host")]
        command += ["--addr", f"127.0.0.1:{port}", "--user", user, "--pass", password, str(folder)]
        with running(command, port, at / "log") as process:
            credentials = {"user": user, "password": password, "known_hosts": str(known)}
            yield Server(f"sftp://127.0.0.1:{port}", folder, process, credentials)
