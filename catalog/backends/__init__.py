"""The protocols that storages speak, one class each behind one interface (base.Backend), loaded when first used."""

from functools import lru_cache
from importlib import import_module
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from ..errors import BadStorage
from .base import Backend
from .credentials import credentials, stamp

BACKENDS = {
    "file": "local:Local",
    "root": "xrootd:XRootD",
    "http": "webdav:WebDav",
    "https": "webdav:WebDav",
    "s3+http": "s3:S3",
    "s3+https": "s3:S3",
    "sftp": "sftp:Sftp",
}
"""Where the class of a URL's scheme is. ``s3+https://HOST/BUCKET/KEY`` names the endpoint with the object."""


class Place(NamedTuple):
    """A path at a server, with the URL that led there."""

    url: str
    backend: Backend
    path: str


def place(url: str) -> Place:
    """Where a URL leads; BadStorage if nothing here speaks its protocol."""
    parts = urlsplit(url)
    if parts.scheme not in BACKENDS:
        raise BadStorage(
            f"nothing here speaks {parts.scheme or 'no protocol'}: {url}",
            object=url,
            hint=f"use one of {', '.join(BACKENDS)}",
        )
    path = unquote(parts.path) if parts.scheme != "file" else url.removeprefix("file:").removeprefix("//")
    return Place(url, _backend(parts.scheme, parts.netloc, stamp(f"{parts.scheme}://{parts.netloc}")), path)


@lru_cache(maxsize=256)
def _backend(scheme: str, netloc: str, _: str) -> Backend:
    """One for each server and its credentials, kept: it holds the connections."""
    module, _, name = BACKENDS[scheme].partition(":")
    try:
        kind = getattr(import_module(f".{module}", __package__), name)
    except ImportError as error:
        raise BadStorage(
            f"a package for {scheme}: URLs is missing: {error.name}",
            object=f"{scheme}://{netloc}",
            hint="pip install 'prodchain[storages]'",
        ) from error
    backend: Backend = kind(f"{scheme}://{netloc}", credentials(f"{scheme}://{netloc}"))
    return backend


def forget() -> None:
    """Let go of all connections; the next use makes new ones."""
    _backend.cache_clear()
