"""Commands about the copies of a dataset: wished for, explained, read again."""

from typing import Annotated, Any

import typer

from prodchain.broker.client import Client, Document

from ..errors import FailedWork, Usage
from ..options import chosen
from ..output import Column, draw_table, on_terminal, say, show_items, show_json
from ..progress import bar
from ..values import Kind, exact, seconds_of, size
from .dataset_changes import DryRun, Name

PLANS = (
    Column("storage", "storage"),
    Column("files", "files", Kind.NUMBER),
    Column("bytes", "bytes", Kind.BYTES),
    Column("takes about", "seconds", Kind.SECONDS),
    Column("reckoned", "time"),
    Column("quota", "quota"),
    Column("refused", "refusal"),
)
FILES = (
    Column("file", "file"),
    Column("state", "state"),
    Column("attempts", "attempts", Kind.NUMBER),
    Column("from", "source"),
    Column("next try", "next_try", Kind.TIME),
    Column("error", "error"),
)
BAD = (Column("file", "file"), Column("storage", "storage"), Column("reason", "reason"))


def subscribe(
    name: Name,
    to: Annotated[str, typer.Option(metavar="EXPR", help="Storages, as in SITE-A-DISK or 'kind=disk & cloud=DE'.")],
    sources: Annotated[str | None, typer.Option(metavar="EXPR", help="Only from these storages.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Only what is in it now, not what joins later.")] = False,
    priority: Annotated[int, typer.Option(help="Higher moves earlier; more than 100 is for admins.")] = 0,
    lifetime: Annotated[str | None, typer.Option(help="Time after which the wish ends, as in 30d.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Wish for complete copies of a dataset; a standing wish also brings what joins it later.

    With --dry-run: how many files and bytes would move, about how long that takes, and what the quota says.

    Examples:
      prodchain dataset subscribe NAME --to SITE-B-DISK --dry-run
      prodchain dataset subscribe NAME --to 'kind=disk & !SITE-C*' --once --lifetime 30d
    """
    lifetime_s = seconds_of(lifetime) if lifetime else None
    with chosen().client() as client:
        answer = client.subscribe(
            name, to, sources=sources, standing=not once, priority=priority, lifetime_s=lifetime_s, dry_run=dry_run
        )
    if chosen().json:
        show_json(answer)
        return
    show_items(answer["plans"], PLANS)
    said = "nothing was changed: this was a dry run" if dry_run else f"`prodchain dataset why {name}@STORAGE` follows"
    say(said)


def why(
    name: Annotated[str, typer.Argument(metavar="NAME@STORAGE", help="NAME@2@STORAGE: of the second version.")],
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many files.")] = 100,
) -> None:
    """Say why a copy is not complete: what is missing there, with each file's attempts, last error and next try.

    Examples:
      prodchain dataset why mc26_13p6TeV.700001.Zmumu.evgen.EVNT.v1@SITE-B-DISK
    """
    did, storage = split_place(name)
    with chosen().client() as client:
        answer = client.dataset_why(did, storage, limit=limit)
    if chosen().json:
        show_json(answer)
        return
    for reason in answer["reasons"]:
        print(reason["what"])
        if reason["remedy"]:
            print(f"  do: {reason['remedy']}")
    if answer["files"] and on_terminal():
        print()
        draw_table(answer["files"], FILES)
    else:
        for file in answer["files"]:
            print("\t".join(exact(column.of(file), column.kind) for column in FILES))
    if answer["next"] is not None:
        say(f"these are the first {len(answer['files'])} files; --limit shows more")


def split_place(text: str) -> tuple[str, str]:
    """``NAME@STORAGE`` or ``NAME@2@STORAGE``: digits behind an @ are a version, anything else is a storage."""
    name, _, storage = text.rpartition("@")
    if not name or not storage or storage.isdecimal():
        raise Usage(
            "this does not say at which storage",
            object=text,
            hint="write NAME@STORAGE; `prodchain storage ls` lists the storages",
        )
    return name, storage


def verify(
    name: Name,
    at: Annotated[str | None, typer.Option(metavar="STORAGE", help="Only the copies there.")] = None,
    declare: Annotated[bool, typer.Option("--declare", help="Declare what is damaged bad: it is replaced.")] = False,
) -> None:
    """Read every copy of a dataset's files again and compare size and adler32 with the catalog.

    Exits with 1 if a copy is damaged or gone.

    Examples:
      prodchain dataset verify user.ada.zmumu.AOD.v3
      prodchain dataset verify NAME --at SITE-A-DISK --declare
    """
    with chosen().client() as client:
        summary = _verify(client, name, at)
        if declare:
            summary["declared"] = _declare(client, name, summary["bad"])
    if chosen().json:
        show_json(summary)
    else:
        show_items(summary["bad"], BAD)
    read = f"{summary['checked']} copies were read, {size(summary['bytes'])}"
    if summary["bad"]:
        raise FailedWork(
            f"{read}; {len(summary['bad'])} are damaged or gone",
            object=name,
            hint="they are being replaced" if declare else "--declare lets them be replaced from good ones",
        )
    say(f"{read}; all are right")


def _verify(client: Client, name: str, at: str | None) -> Document:
    summary: Document = {"checked": 0, "bytes": 0, "bad": []}
    with bar() as progress:
        dataset = client.dataset(name)
        copies = [each for each in dataset["replicas"] if at in (None, each["storage"])]
        progress.begin(sum(each["files"] for each in copies), sum(each["bytes"] for each in copies))
        after = None
        while True:
            page = client.verify_dataset(name, at=at, after=after)
            for key in summary:
                summary[key] += page[key]
            progress.moved(page["bytes"])
            for _ in range(page["checked"]):
                progress.done("")
            after = page["next"]
            if after is None:
                return summary


def _declare(client: Client, name: str, found: list[Document]) -> list[Any]:
    declared: list[Any] = []
    for storage in sorted({each["storage"] for each in found}):
        files = {each["file"]: each["reason"] for each in found if each["storage"] == storage}
        for reason in sorted(set(files.values())):
            wrong = [file for file, why_ in files.items() if why_ == reason]
            declared += client.declare_bad(name, storage, wrong, f"verify: {reason}")["items"]
    for each in declared:
        say(f"{each['file']} at {each['storage']}: {each['state']}")
    return declared
