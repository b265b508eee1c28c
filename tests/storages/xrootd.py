"""Debian's XRootD: root:// and https on one folder, adler32, third-party copies in both protocols."""

import os
import pwd
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .certificates import Certificates, make_certificates
from .servers import Server, free_port, needs, open_folder, running

USER = "xrootd"

CONFIG = """\
all.role server
all.export /store
oss.localroot {at}/root
all.adminpath {at}
all.pidpath {at}
xrd.port {port}
xrootd.chksum max {sums} adler32 md5
xrd.tls {certificates.certificate} {certificates.key}
xrd.tlsca certdir {certificates.folder}
xrd.protocol http:{https_port} libXrdHttp.so
http.exthandler xrdtpc libXrdHttpTPC.so
http.listingdeny no
ofs.tpc ttl 60 60 xfr 9 pgm /usr/bin/xrdcp --server
"""


@dataclass(frozen=True)
class XRootD:
    """One process, two doors to the same folder."""

    root: Server
    https: Server


@contextmanager
def xrootd(where: Path | None = None, trusted: Certificates | None = None, sums: int = 2) -> Iterator[XRootD]:
    """A started server; ``where`` is the parent of its folder (a small file system, say).

    Servers that copy from each other are given the same certificates.
    """
    needs("xrootd", "xrdcp", "openssl")
    with open_folder(where) as at:
        if trusted:  # each has its own, whose key is its user's
            shutil.copytree(trusted.at, at / "tls")
        certificates = Certificates(at / "tls") if trusted else make_certificates(at / "tls")
        port, https_port = free_port(), free_port()
        store = at / "root" / "store"
        store.mkdir(parents=True)
        config = at / "xrootd.cfg"
        config.write_text(
            CONFIG.format(at=at, port=port, https_port=https_port, certificates=certificates, sums=sums)
        )
        with running([*_command(at), "-c", str(config)], (port, https_port), at / "log") as process:
            yield XRootD(
                Server(f"root://127.0.0.1:{port}//store", store, process),
                Server(f"https://127.0.0.1:{https_port}/store", store, process, _trust(certificates)),
            )


def _command(at: Path) -> list[str]:
    """As root it wants another user, to whom all is given; third-party copies on one host work only with -I v4."""
    command = [shutil.which("xrootd") or "xrootd", "-I", "v4"]
    if os.geteuid() != 0:
        return command
    user = pwd.getpwnam(USER)
    for path in (at, *at.rglob("*")):
        os.chown(path, user.pw_uid, user.pw_gid)
    return [*command, "-R", USER]


def _trust(certificates: Certificates) -> dict[str, str]:
    return {"ca": str(certificates.ca)}
