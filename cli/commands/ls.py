"""``prodchain ls``: datasets by pattern, place, time and the fields of their names."""

import shlex
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import Annotated

import typer

from prodchain.broker.client import Client
from prodchain.broker.data_calls import Document, Listing
from prodchain.catalog.names import scope_of

from ..errors import NotFound
from ..options import chosen
from ..output import Column, More, say, show_items, show_json
from ..values import Kind, time_before


def short(dataset: Document) -> str:
    """The shortest name that finds the dataset again: without its scope where the name implies it."""
    return short_name(dataset["did"])


def short_name(did: str) -> str:
    scope, _, name = did.partition(":")
    return name if scope_of(name) == scope else did


NAMES = (Column("name", short),)
DETAILS = (
    *NAMES,
    Column("kind", "kind"),
    Column("state", lambda dataset: "deleted" if dataset["deleted_at"] else dataset["state"]),
    Column("files", "files", Kind.NUMBER),
    Column("events", "events", Kind.NUMBER),
    Column("bytes", "bytes", Kind.BYTES),
    Column("sites", "sites"),
)
FACETS = (Column("field", "field"), Column("value", "value"), Column("datasets", "datasets", Kind.NUMBER))
FILES = (
    Column("dataset", lambda file: short_name(file["dataset"])),
    Column("name", "name"),
    Column("bytes", "bytes", Kind.BYTES),
    Column("events", "events", Kind.NUMBER),
    Column("at", lambda file: [replica["storage"] for replica in file["replicas"]]),
)

FILE_DETAILS = (
    *FILES,
    Column("adler32", "adler32"),
    Column("md5", "md5"),
    Column("remarks", "meta"),
)

Only = str | None


def ls(
    pattern: Annotated[str | None, typer.Argument(help="Name, or pattern with * and ?.")] = None,
    long: Annotated[
        bool,
        typer.Option(
            "-l", "--long", help="Also kind, state, files, events, bytes, sites; of files checksums and remarks."
        ),
    ] = False,
    files: Annotated[bool, typer.Option("--files", help="The files of each dataset, and where they are.")] = False,
    facets: Annotated[bool, typer.Option("--facets", help="How many there are for each field's values.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Also what the system made for itself.")] = False,
    versions: Annotated[bool, typer.Option("--versions", help="Also versions before the latest.")] = False,
    deleted: Annotated[bool, typer.Option("--deleted", help="Also what was deleted.")] = False,
    project: Annotated[Only, typer.Option(help="Only of this project, as in mc26_13p6TeV.")] = None,
    number: Annotated[Only, typer.Option(help="Only of this dataset number, as in 700001.")] = None,
    physics: Annotated[Only, typer.Option(help="Only of this physics, as in Zmumu.")] = None,
    step: Annotated[Only, typer.Option(help="Only of this step, as in evgen.")] = None,
    format: Annotated[Only, typer.Option(help="Only of this format, as in AOD.")] = None,  # noqa: A002
    tags: Annotated[Only, typer.Option(help="Only of these tags, as in v1.")] = None,
    kind: Annotated[Only, typer.Option(help="Only of this kind, as in user, container, dispatch.")] = None,
    owner: Annotated[Only, typer.Option(help="Only of this owner, or on the account of group:NAME.")] = None,
    at: Annotated[Only, typer.Option(metavar="PLACE", help="Only with files at this site or storage.")] = None,
    not_at: Annotated[Only, typer.Option(metavar="PLACE", help="Only without files there.")] = None,
    complete_at: Annotated[Only, typer.Option(metavar="PLACE", help="Only with all files there.")] = None,
    since: Annotated[Only, typer.Option(metavar="TIME", help="Only made since: 7d, 12h, 2026-11-01.")] = None,
    sort: Annotated[Only, typer.Option(help="By name, created, bytes, files or events.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0: all.")] = 1000,
    after: Annotated[Only, typer.Option(metavar="MARK", help="Go on where a list stopped, as it said.")] = None,
) -> None:
    """List datasets.

    A name alone lists that dataset; a pattern all scopes, unless it begins with one: `mc26*:*AOD*`. Of names with
    several versions the latest is meant; NAME@1 is the first.

    Examples:
      prodchain ls 'mc26*AOD*'                    names that fit
      prodchain ls -l --step reco --since 7d      with sizes and sites
      prodchain ls --facets --at SITE-A           what there is, in numbers
      prodchain ls --not-at SITE-B 'mc26*HITS*'   what lacks there
      prodchain ls --files NAME                   its files
      prodchain ls | xargs -n1 prodchain get
    """
    asked = {
        "bookkeeping": everything, "versions": versions, "deleted": deleted, "project": project, "number": number,
        "physics": physics, "step": step, "format": format, "tags": tags, "kind": kind, "owner": owner, "at": at,
        "not_at": not_at, "complete_at": complete_at, "since": time_before(since, datetime.now(UTC)),
    }  # fmt: skip
    with chosen().client() as client:
        if facets:
            _show_facets(client.dataset_facets(pattern, **asked))
        elif pattern and not set("*?") & set(pattern) and not any(asked.values()):
            _show(client, [client.dataset(pattern)], long=long, files=files)  # a wrong name is told what comes near
        else:
            listing = client.dataset_listing(pattern, limit=limit or None, after=after, sort=sort, **asked)
            _show(client, _some(listing, pattern), lambda: listing.next, long=long, files=files)


def _some(listing: Listing, pattern: str | None) -> Iterator[Document]:
    """The items, fetched as they are read; NotFound at once if there is none that fits the pattern."""
    items = iter(listing)
    first = next(items, None)
    if first is None:
        if pattern:
            hint = "`prodchain ls` lists what there is; --all also what the system made for itself"
            raise NotFound("no dataset fits", object=pattern, hint=hint)
        say("no dataset fits; `prodchain put` makes one, --all also shows what the system made for itself")
        return iter(())
    return chain([first], items)


def _show(client: Client, found: Iterable[Document], more: More | None = None, *, long: bool, files: bool) -> None:
    if files:
        show_items(
            (_of(each, file) for each in found for file in client.dataset_files(each["did"])),
            FILE_DETAILS if long else FILES,
            more,
        )
    else:
        show_items(found, DETAILS if long else NAMES, more)
    if more is not None and (mark := more()) is not None:
        say(f"there are more: go on with --after {shlex.quote(str(mark))}, or list all with --limit 0")


def _of(dataset: Document, file: Document) -> Document:
    return {"dataset": dataset["did"], **file}


def _show_facets(counts: Document) -> None:
    if chosen().json:
        show_json(counts)
        return
    rows = [
        {"field": field, "value": value, "datasets": number}
        for field, values in counts["fields"].items()
        for value, number in values.items()
    ]
    show_items(rows, FACETS)
    say(f"{counts['datasets']} datasets" + ("" if counts["exact"] else " or so: there are too many to count"))
