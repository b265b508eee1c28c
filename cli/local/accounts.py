"""The system user that owns embedded databases when prodchain runs as root (PostgreSQL refuses to run as root)."""

import os
import pwd
import shutil
import subprocess

from ..errors import CliError

NAME = "prodchain-postgres"


def service_account() -> pwd.struct_passwd | None:
    """None for an ordinary user (the database runs as that user); as root the dedicated account, made if new."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(NAME)
    except KeyError:
        make_account()
        return pwd.getpwnam(NAME)


def make_account() -> None:
    program = shutil.which("useradd", path="/usr/sbin:/usr/bin:/sbin:/bin")
    hint = f"make a system user named {NAME}, run prodchain as an ordinary user, or set PRODCHAIN_DATABASE_URL"
    if program is None:
        raise CliError("the database needs an account, and there is no useradd here", object=NAME, hint=hint)
    options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    made = subprocess.run(
        [program, *options, "--shell", "/usr/sbin/nologin", NAME], capture_output=True, text=True, check=False
    )
    if made.returncode not in (0, 9):  # 9: another process made it in this moment
        raise CliError(f"could not make the database's account: {made.stderr.strip()}", object=NAME, hint=hint)
