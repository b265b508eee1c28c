"""Our storages as Rucio's RSEs: the name, and the protocol under which Rucio computes the URLs that ours are."""

import re
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from ..errors import BadStorage, ExternalDenied
from ..models import Storage, StorageKind
from .client import Client

ATTRIBUTE = "rucio_rse"
"""The attribute of a storage that gives its RSE another name than its own."""

_NAME = re.compile(r"[A-Z0-9]+([_-][A-Z0-9]+)*")
_ALL = {"read": 1, "write": 1, "delete": 1}
_DOMAINS = {"lan": _ALL, "wan": _ALL | {"third_party_copy_read": 1, "third_party_copy_write": 1}}
_PROTOCOLS = {
    "root": ("root", "xrootd", 1094),
    "https": ("https", "webdav", 443),
    "http": ("http", "webdav", 80),
    "file": ("file", "posix", 0),
    "sftp": ("sftp", "ssh", 22),
    "s3+https": ("https", "webdav", 443),
    "s3+http": ("http", "webdav", 80),
}
"""Scheme of our URL -> Rucio's scheme, its module, and the port that goes without saying."""


class Protocol(NamedTuple):
    scheme: str
    hostname: str
    port: int
    prefix: str
    impl: str


def name_of(storage: Storage) -> str:
    """The RSE of a storage: its attribute ``rucio_rse``, else its name in capitals; BadStorage if none can be."""
    name = (storage.attributes or {}).get(ATTRIBUTE, storage.name.upper())
    if _NAME.fullmatch(name) is None:
        raise BadStorage(
            f"'{name}' cannot be the name of an RSE",
            object=storage.name,
            hint=f"give the storage an attribute {ATTRIBUTE} of capitals, digits, '-' and '_'",
        )
    return name


def protocol_of(storage: Storage) -> Protocol:
    """What tells Rucio the URLs of the storage's files."""
    parts = urlsplit(storage.url)
    if parts.scheme not in _PROTOCOLS:
        raise BadStorage(
            f"Rucio has no protocol for {storage.url}",
            object=storage.name,
            hint=f"its URL must begin with one of {', '.join(_PROTOCOLS)}",
        )
    scheme, module, port = _PROTOCOLS[parts.scheme]
    prefix = f"{parts.path.rstrip('/')}/"
    return Protocol(
        scheme, parts.hostname or "localhost", parts.port or port, prefix, f"rucio.rse.protocols.{module}.Default"
    )


async def missing(client: Client, storages: list[Storage]) -> list[Storage]:
    """The storages for which Rucio has no RSE. BadStorage if two of ours were one RSE."""
    seen: dict[str, str] = {}
    for storage in storages:
        other = seen.setdefault(name_of(storage), storage.name)
        if other != storage.name:
            raise BadStorage(
                f"{other} and {storage.name} would be the same RSE {name_of(storage)}",
                object=storage.name,
                hint=f"give one of them an attribute {ATTRIBUTE}",
            )
    there = {each["rse"] for each in await client.lines("GET", "rses", "", about=client.url)}
    return [storage for storage in storages if name_of(storage) not in there]


async def make(client: Client, storage: Storage) -> None:
    """Make the RSE of a storage with its protocol; ExternalDenied says what an administrator has to do."""
    rse, protocol = name_of(storage), protocol_of(storage)
    fields: dict[str, Any] = {
        "deterministic": True,
        "rse_type": "TAPE" if storage.kind == StorageKind.TAPE else "DISK",
    }
    how: dict[str, Any] = protocol._asdict() | {"domains": _DOMAINS, "extended_attributes": None}
    try:
        await client.call("POST", "rses", rse, about=rse, body=fields)
        await client.call("POST", "rses", rse, "protocols", how.pop("scheme"), about=rse, body=how)
    except ExternalDenied as error:
        raise ExternalDenied(
            str(error),
            object=rse,
            hint=f"ask a Rucio administrator for a deterministic RSE {rse} with {protocol.scheme}://"
            f"{protocol.hostname}:{protocol.port}{protocol.prefix} (hash convention)",
        ) from None
