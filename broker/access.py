"""Lines to copy into a shell or a program: how somebody reads a dataset."""

import asyncio
import shlex
from collections.abc import Sequence

from prodchain.catalog import backends, names
from prodchain.catalog.errors import BadStorage
from prodchain.catalog.lookup import FileView

from .task_views import View


async def ways_in(did: str, files: Sequence[FileView]) -> list[View]:
    """The whole by the command line, then the first file that has a copy: by fsspec, and by uproot if it is for it.

    ``[{"by": "shell", "line": ...}, ...]``; each line works as it is where credentials, if the storage wants any,
    are set.
    """
    lines = [way("shell", shlex.join(["prodchain", "get", short(did)]))]
    for file in files:
        for copy in file.replicas:
            lines += await asyncio.to_thread(_of_file, copy.url)
            return lines
    return lines


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
