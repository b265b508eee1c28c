"""Lines to copy into a shell or a program: how somebody reads a dataset."""

import asyncio
import shlex
from collections.abc import Sequence

from prodchain.catalog import backends, names
from prodchain.catalog.backends.credentials import credentials
from prodchain.catalog.errors import BadStorage
from prodchain.catalog.lookup import FileView

from .task_views import View


async def ways_in(did: str, files: Sequence[FileView]) -> list[View]:
    """The whole by the command line, then the first file that has a copy: by fsspec, and by uproot if it is for it.

    ``[{"by": "shell", "line": ...}, ...]``; each line works as it is where credentials, if the storage wants any,
    are set.
    """
    lines = [way("shell", shlex.join(["prodchain", "get", short(did)]))]
    copies = [copy.url for file in files for copy in file.replicas]
    if copies:
        lines += await asyncio.to_thread(lambda: _of_file(min(copies, key=_trouble)))
    return lines


def _trouble(url: str) -> int:
    """What reading it asks of the reader: least in a folder, more where somebody has to know who reads."""
    scheme = url.partition(":")[0]
    if scheme == "file":
        return 0
    server = f"{scheme}://{url.partition('://')[2].partition('/')[0]}"
    return 2 if scheme in ("sftp", "s3", "s3+https", "s3+http") or credentials(server) else 1


def way(by: str, line: str) -> View:
    return {"by": by, "line": line}


def short(did: str) -> str:
    """The DID without its scope where the name implies it."""
    scope, _, name = did.partition(":")
    return name if names.scope_of(name) == scope else did


def _of_file(url: str) -> list[View]:
    try:
        there = backends.place(url)
    except BadStorage:  # this machine lacks the protocol's package; the reader's may not
        return []
    address, options = there.backend.opening(there.path)
    more = "".join(f", {name}={value!r}" for name, value in options.items())
    lines = [way("fsspec", f"import fsspec; file = fsspec.open({address!r}{more}).open()")]
    if ".root" in there.path:  # uproot would take what follows a colon of the URL for the name of an object
        lines.append(way("uproot", f"import uproot; file = uproot.open({{{address!r}: None}}{more})"))
    return lines
