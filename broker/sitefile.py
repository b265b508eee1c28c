"""The sites file: which sites, storages and queues there are (format: docs/plans/main-job.md).

Reading it is pure: text in, SiteFile or the first mistake out, with line, object and remedy.
"""

import difflib
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import fsspec

from .errors import BadSiteFile
from .tomllines import Keys
from .tomltables import Tables

STATUSES = ("online", "drain", "offline")
URL = re.compile(r"([a-z][a-z0-9+.-]*):(.*)", re.DOTALL)


@dataclass(frozen=True)
class Site:
    name: str
    description: str = ""


@dataclass(frozen=True)
class Storage:
    """``url`` is absolute; relative ones of the file start from the file's folder."""

    name: str
    site: str
    url: str
    kind: str = "disk"
    writable: bool = True


@dataclass(frozen=True)
class Queue:
    """What one slot offers to a job, how many slots there are, and how many pilots ``up`` starts on its machine."""

    name: str
    site: str
    storage: str
    status: str = "online"
    slots: int = 1
    local_pilots: int = 0
    cores: int = 1
    memory_mb: int = 2000
    walltime_s: int = 86400


@dataclass(frozen=True)
class SiteFile:
    """``home`` names the storage where results end up unless a task says otherwise."""

    home: str
    sites: tuple[Site, ...]
    storages: tuple[Storage, ...]
    queues: tuple[Queue, ...]


def read(path: Path) -> SiteFile:
    """The sites file at ``path``."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadSiteFile(f"cannot read {path}: {error}", object=str(path), hint="name a sites file") from None
    return parse(text, path.absolute().parent, str(path))


def parse(text: str, base: Path, name: str = "sites.toml") -> SiteFile:
    """What the text says; ``base`` is the folder that relative URLs start from, ``name`` stands in errors."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, _, at = str(error).partition(" (at ")
        line = re.match(r"line (\d+)", at)
        where = f"{name}:{line[1] if line else text.count(chr(10)) + 1}"
        hint = "tables look like [site.SITE-A], values like slots = 4 or text in double quotes"
        raise BadSiteFile(f"{where}: {message}", object=where, hint=hint) from None
    return _Reader(document, text, name, base).site_file()


class _Reader(Tables):
    """Takes the document apart, table by table."""

    def __init__(self, document: dict[str, Any], text: str, name: str, base: Path) -> None:
        super().__init__(document, text, name)
        self.base = base

    def site_file(self) -> SiteFile:
        self.allow((), self.document, {"home", "site"})
        sites = [self.site(keys, table) for keys, table in self.tables(("site",), self.document)]
        if not sites:
            self.refuse(("site",), "there is no site", "add a table [site.NAME] with a storage")
        inside = [(site.name, self.document["site"][site.name]) for site in sites]
        storages = [
            self.storage(keys, table, name)
            for name, site in inside
            for keys, table in self.tables(("site", name, "storage"), site)
        ]
        queues = [
            self.queue(keys, table, name)
            for name, site in inside
            for keys, table in self.tables(("site", name, "queue"), site)
        ]
        found = SiteFile(self.text((), self.document, "home"), tuple(sites), tuple(storages), tuple(queues))
        self.check(found)
        return found

    def site(self, keys: Keys, table: dict[str, Any]) -> Site:
        self.allow(keys, table, {"description", "storage", "queue"})
        return Site(keys[-1], self.text(keys, table, "description", ""))

    def storage(self, keys: Keys, table: dict[str, Any], site: str) -> Storage:
        self.allow(keys, table, {"url", "kind", "writable"})
        kind = self.text(keys, table, "kind", "disk")
        if kind not in ("disk", "tape"):
            self.refuse((*keys, "kind"), f"kind is {kind!r}", 'write kind = "disk" or kind = "tape"')
        writable = table.get("writable", True)
        if not isinstance(writable, bool):
            self.refuse((*keys, "writable"), f"writable is {writable!r}", "write true or false")
        return Storage(keys[-1], site, self.url(keys, self.text(keys, table, "url")), kind, writable)

    def queue(self, keys: Keys, table: dict[str, Any], site: str) -> Queue:
        numbers = {"slots": 1, "local_pilots": 0, "cores": 1, "memory_mb": 2000, "walltime_s": 86400}
        self.allow(keys, table, {"storage", "status", *numbers})
        values = {key: self.number(keys, table, key, default) for key, default in numbers.items()}
        status = self.text(keys, table, "status", "online")
        if status not in STATUSES:
            self.refuse((*keys, "status"), f"status is {status!r}", f"write one of {', '.join(STATUSES)}")
        return Queue(keys[-1], site, self.text(keys, table, "storage"), status, **values)

    def check(self, found: SiteFile) -> None:
        """What no table shows alone: names used twice, and names of storages that are not there."""
        storages = [storage.name for storage in found.storages]
        for kind, named in (("storage", found.storages), ("queue", found.queues)):
            seen: dict[str, str] = {}
            for entry in named:
                if entry.name in seen:
                    keys: Keys = ("site", entry.site, kind, entry.name)
                    at = f"{seen[entry.name]} already has a {kind} of this name"
                    self.refuse(keys, at, f"names of {kind}s are unique over all sites: rename one")
                seen[entry.name] = entry.site
        places: dict[str, str] = {}
        for storage in found.storages:
            if storage.url in places:
                keys = ("site", storage.site, "storage", storage.name, "url")
                self.refuse(keys, f"{places[storage.url]} has the same url", "give each storage a place of its own")
            places[storage.url] = storage.name
        for queue in found.queues:
            self.known(("site", queue.site, "queue", queue.name, "storage"), queue.storage, storages)
        self.known(("home",), found.home, storages)

    def known(self, keys: Keys, name: str, storages: list[str]) -> None:
        if name not in storages:
            near = difflib.get_close_matches(name, storages, 1)
            hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(storages) or '(there is none)'}"
            self.refuse(keys, f"there is no storage {name!r}", hint)

    def url(self, keys: Keys, url: str) -> str:
        keys = (*keys, "url")
        match = URL.fullmatch(url)
        if match is None:
            self.refuse(keys, f"{url!r} is not a URL", 'write url = "file:folder" or "s3://bucket/folder"')
        protocol, rest = match[1], match[2]
        if protocol not in fsspec.available_protocols():
            self.refuse(
                keys, f"nothing here reads {protocol}: URLs", "install the fsspec backend for it, or correct it"
            )
        if "@" in rest.removeprefix("//").split("/")[0]:
            self.refuse(keys, "credentials in a URL", "keep them in the backend's own configuration: URLs are public")
        if protocol != "file":
            if not rest.removeprefix("//"):
                self.refuse(keys, f"{url!r} names no place", f'write url = "{protocol}://host/folder"')
            return url.rstrip("/")
        if not rest.strip("/") or (rest.startswith("//") and not rest.startswith("///")):
            self.refuse(keys, f"{url!r} names no folder", 'write url = "file:folder" or "file:///folder"')
        return f"file://{(self.base.absolute() / re.sub('^/+', '/', rest)).as_posix()}"
