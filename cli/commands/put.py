"""``prodchain put``: files of this machine, or of a storage, into a dataset, all or none."""

import os
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

import typer

from prodchain.broker.client import Document
from prodchain.catalog import storage
from prodchain.catalog.copy import Method, copy
from prodchain.catalog.errors import CatalogError
from prodchain.catalog.names import Did, parse_did

from ..copying import Content, content_of
from ..errors import FailedWork, NotAllowed, NotFound, Usage
from ..fetch import THREADS, Progress
from ..options import chosen
from ..output import Column, say, show_item, show_items
from ..progress import bar
from ..values import size
from .dataset import LINES
from .dataset_changes import remark


def put(
    files: Annotated[
        list[str], typer.Argument(metavar="FILES...", help="Files, or URLs of files at storages; names are kept.")
    ],
    dataset: Annotated[str, typer.Option(metavar="NAME", help="Dataset that gets them; made if it is new.")],
    storage: Annotated[str | None, typer.Option(help="Where to; the server chooses if not given.")] = None,
    events: Annotated[int, typer.Option(min=0, help="Events in each file.")] = 0,
    kind: Annotated[str, typer.Option(help="Kind of the dataset if it is new: user, production.")] = "user",
    meta: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="A remark on each new file; may be repeated.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only say where files would go.")] = False,
) -> None:
    """Copy files into a dataset: all of them become part of it, or none.

    Run it again after an interruption; putting the same files twice changes nothing. From one storage to another the
    servers copy between themselves where both can; what passed this machine is said.

    Examples:
      prodchain put a.root b.root --dataset user.ada.zmumu.NTUP.v1
      prodchain put *.root --dataset user.ada.zmumu.NTUP.v1 --events 1000 --dry-run
      prodchain put a.root --dataset user.ada.zmumu.NTUP.v1 --meta selection=tight --meta by=ada
      prodchain put root://a.example.org//data/x.root --dataset user.ada.x.NTUP.v1 --storage B-DISK
    """
    os.environ["PRODCHAIN_HOME"] = str(chosen().home)  # where the credentials of storages are
    did = parse_did(dataset)
    sources = [Source.of(file) for file in files]
    remarks = dict(remark(each) for each in meta or [])
    entries = {
        source.name: _entry(did, source.name, content, events) | ({"meta": remarks} if remarks else {})
        for source, content in _contents(sources).items()
    }
    wanted: Document = {"dataset": str(did), "storage": storage, "kind": kind, "files": list(entries.values())}
    with chosen().client() as client:
        where = client.uploads(wanted)
        # The second call must mean the storage that the first one chose.
        wanted["storage"] = where["storage"]
        missing = {file["name"]: file for file in where["files"] if not file["present"]}
        if dry_run:
            _tell_plan(where, list(entries.values()))
            return
        with bar() as progress:
            work = [
                (source, entries[source.name], missing[source.name]["url"])
                for source in sources
                if source.name in missing
            ]
            ways = _upload(work, progress)
        result = client.commit_upload(wanted)
    say(f"{result['did']}: {len(files)} files at {where['storage']}, {len(files) - len(missing)} were there already")
    for way in sorted(ways):
        say(f"{ways[way]} {WAYS.get(way, way)}")
    show_item(result, LINES)


WAYS: dict[str, str] = {
    Method.THERE: "had arrived before",
    Method.THIRD_PARTY: "copied by the storages between themselves",
    Method.SERVER: "copied by the storage itself",
    Method.STREAM: "passed through this machine: the two storages do not copy between themselves",
}


@dataclass(frozen=True)
class Source:
    """A file that is to be put, by its URL."""

    name: str
    url: str

    @classmethod
    def of(cls, text: str) -> Self:
        if "://" in text:
            return cls(text.rpartition("/")[2], text)
        return cls(Path(text).name, f"file://{Path(text).absolute()}")

    @property
    def path(self) -> Path | None:
        return Path(self.url.removeprefix("file://")) if self.url.startswith("file:") else None


def _contents(sources: list[Source]) -> dict[Source, Content]:
    """Read each file once before anything is asked for: what it is goes with the question."""
    names = Counter(source.name for source in sources)
    if (twice := names.most_common(1)) and twice[0][1] > 1:
        raise Usage("two files have the same name", object=twice[0][0], hint="rename one of them")
    try:
        return {source: content_of(source.path) if source.path else _at_storage(source.url) for source in sources}
    except FileNotFoundError as error:
        raise NotFound("no such file", object=str(error.filename), hint="name existing files") from None
    except OSError as error:
        message = f"cannot read the file: {error.strerror}"
        raise NotAllowed(message, object=str(error.filename), hint="name files that you can read") from None


def _at_storage(url: str) -> Content:
    """By the server's own word where it has one; the copy is verified against it."""
    size = storage.size(url)
    if size is None:
        raise NotFound("no such file", object=url, hint="name files that are there")
    return Content(size, storage.adler32(url))


def _entry(did: Did, name: str, content: Content, events: int) -> Document:
    """The file's GUID follows from what it is, so that a repeated put names the same file."""
    guid = uuid.uuid5(uuid.NAMESPACE_URL, f"{did.scope}:{name}#{content.bytes}-{content.adler32}")
    return {"name": name, "guid": str(guid), "bytes": content.bytes, "adler32": content.adler32, "events": events}


def _upload(work: list[tuple[Source, Document, str]], progress: Progress) -> Counter[str]:
    """Copy what is not there; how many files went which way."""
    progress.begin(len(work), sum(entry["bytes"] for _, entry, _ in work))

    def one(item: tuple[Source, Document, str]) -> str:
        source, entry, url = item
        try:
            outcome = copy(source.url, url, entry["bytes"], entry["adler32"])
        except CatalogError as failure:
            raise FailedWork(
                f"{source.name} could not be copied: {failure}; nothing was registered",
                object=url,
                hint=f"{failure.hint}; then run the same command again",
            ) from None
        progress.moved(entry["bytes"])
        progress.done(source.name)
        return "" if source.path and outcome.method != Method.THERE else outcome.method

    with ThreadPoolExecutor(THREADS) as pool:
        ways = Counter(pool.map(one, work))
    del ways[""]
    return ways


def _tell_plan(where: Document, entries: list[Document]) -> None:
    """Where the files would go, and what the quota leaves."""
    missing = {file["name"] for file in where["files"] if not file["present"]}
    wanted = sum(entry["bytes"] for entry in entries if entry["name"] in missing)
    show_items(where["files"], (Column("name", "name"), Column("present", "present"), Column("url", "url")))
    say(f"{len(missing)} files with {size(wanted)} would go to {where['storage']}; nothing was changed")
    if (left := where["quota_left_bytes"]) is not None:
        say(f"of your quota there {size(left)} are left, {size(left - wanted)} afterwards")
