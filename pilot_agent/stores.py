"""Which storage a URL leads to: one class for each protocol that sites speak, fsspec for all others."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from . import stores_fsspec
from .store import Store
from .stores_credentials import credentials
from .stores_local import LocalStore, local_path
from .stores_s3 import S3Store
from .stores_sftp import SftpStore
from .stores_webdav import WebDavStore
from .stores_xrootd import PROGRAMS, REMEDY, XRootDStore

STORES: dict[str, Callable[[str, dict[str, str]], Store]] = {
    "http": WebDavStore,
    "https": WebDavStore,
    "s3+http": S3Store,
    "s3+https": S3Store,
    "sftp": SftpStore,
    "root": XRootDStore,
}


def locate(url: str) -> tuple[Store, str]:
    """The store of a URL and the path in it; raises StorageError where this node cannot go there."""
    if url.startswith("file:"):
        return LocalStore(), local_path(url)
    parts = urlsplit(url)
    if parts.scheme == "root" and not all(map(shutil.which, PROGRAMS)):
        return stores_fsspec.locate(url, REMEDY)
    if parts.scheme in STORES:
        server = f"{parts.scheme}://{parts.netloc}"
        return STORES[parts.scheme](server, credentials(server)), unquote(parts.path)
    return stores_fsspec.locate(url)
