"""The sites' declaration: which sites, storages, queues and links there are, in one TOML file or a folder of them.

Reading it is pure: texts in, SiteFile or the first mistake out, with file, line, object and remedy. Keys and their
meaning: docs/how-to/add-a-site.md.
"""

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import BadSiteFile
from .sitereader import Reader
from .sitespecs import SiteFile


def texts(path: Path) -> dict[str, str]:
    """The declaration's files by name: the file itself, or the ``*.toml`` of a folder in the order of their names."""
    try:
        files = sorted(path.glob("*.toml")) if path.is_dir() else [path]
        found = {str(file): file.read_text() for file in files}
    except (OSError, UnicodeDecodeError) as error:
        raise BadSiteFile(f"cannot read {path}: {error}", object=str(path), hint="name a sites file") from None
    if not found:
        raise BadSiteFile(f"no *.toml in {path}", object=str(path), hint="name a folder with sites files")
    return found


def read(path: Path) -> SiteFile:
    """The declaration at ``path``, a file or a folder."""
    return parse_all(texts(path), (path if path.is_dir() else path.parent).absolute())


def parse(text: str, base: Path, name: str = "sites.toml") -> SiteFile:
    """What one text says; ``base`` is the folder that relative URLs start from, ``name`` stands in errors."""
    return parse_all({name: text}, base)


def parse_all(files: Mapping[str, str], base: Path) -> SiteFile:
    """What texts by file name say together."""
    readers = [Reader(_document(text, name), text, name, base) for name, text in files.items()]
    for reader in readers:
        reader.read()
    return _Whole(readers).check()


def _document(text: str, name: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message, _, at = str(error).partition(" (at ")
        line = re.match(r"line (\d+)", at)
        where = f"{name}:{line[1] if line else text.count(chr(10)) + 1}"
        hint = "tables look like [site.SITE-A], values like slots = 4 or text in double quotes"
        raise BadSiteFile(f"{where}: {message}", object=where, hint=hint) from None


class _Whole:
    """What no table shows alone: names used twice, and names of storages that are not there."""

    def __init__(self, readers: list[Reader]) -> None:
        self.readers = readers
        self.storages = [storage.name for reader in readers for storage in reader.storages]

    def check(self) -> SiteFile:
        if not any(reader.sites for reader in self.readers):
            self.readers[0].refuse(("site",), "there is no site", "add a table [site.NAME] with a storage")
        self.each_once()
        places: dict[str, str] = {}
        for reader in self.readers:
            for storage in reader.storages:
                if storage.url in places:
                    keys = ("site", storage.site, "storage", storage.name, "url")
                    says = f"{places[storage.url]} has the same url"
                    reader.refuse(keys, says, "give each storage a place of its own")
                places[storage.url] = storage.name
            for queue in reader.queues:
                self.known(reader, ("site", queue.site, "queue", queue.name, "storage"), queue.storage)
            for link in reader.links:
                self.known(reader, ("link", link.source), link.source)
                self.known(reader, ("link", link.source, link.target), link.target)
        return SiteFile(self.home(), *(self.together(kind) for kind in ("sites", "storages", "queues", "links")))

    def each_once(self) -> None:
        for kind in ("site", "storage", "queue"):
            seen: dict[str, str] = {}
            for reader in self.readers:
                for entry in getattr(reader, f"{kind}s"):
                    site = entry.name if kind == "site" else entry.site
                    keys = ("site", site) if kind == "site" else ("site", site, kind, entry.name)
                    if entry.name in seen:
                        at = f"{seen[entry.name]} already has a {kind} of this name"
                        reader.refuse(keys, at, f"names of {kind}s are unique over all sites and files: rename one")
                    seen[entry.name] = reader.name if kind == "site" else site

    def home(self) -> str:
        named = [reader for reader in self.readers if reader.home is not None]
        if not named:
            self.readers[0].refuse((), "home is missing", 'add home = "..."')
        if len(named) > 1:
            named[1].refuse(("home",), f"{named[0].name} already names a home", "keep one of the two")
        home = named[0].home or ""
        self.known(named[0], ("home",), home)
        return home

    def together(self, kind: str) -> tuple[Any, ...]:
        return tuple(entry for reader in self.readers for entry in getattr(reader, kind))

    def known(self, reader: Reader, keys: tuple[str, ...], name: str) -> None:
        if name not in self.storages:
            near = difflib.get_close_matches(name, self.storages, 1)
            hint = (
                f"did you mean {near[0]}?" if near else f"use one of {', '.join(self.storages) or '(there is none)'}"
            )
            reader.refuse(keys, f"there is no storage {name!r}", hint)
