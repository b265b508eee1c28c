"""``prodchain dataset``: what a dataset is, what it holds, how to reach it; and the commands that change it."""

from typing import Annotated

import typer

from prodchain.broker.client import Document

from ..options import chosen
from ..output import Column, draw_lines, draw_table, on_terminal, say, show_item, show_items, show_json
from ..values import Kind, size
from . import dataset_changes, dataset_copies, dataset_export
from .dataset_changes import Name
from .ls import short_name

app = typer.Typer(
    help="Look at datasets, make, change and delete them.\n\n"
    "Examples:\n  prodchain dataset show NAME\n  prodchain dataset why NAME@STORAGE"
)


def _places(dataset: Document) -> list[str]:
    return [f"{each['storage']} {each['files']}/{dataset['files']}" for each in dataset["replicas"]]


LINES = (
    Column("did", "did"),
    Column("kind", "kind"),
    Column("state", "state"),
    Column("owner", "owner"),
    Column("files", "files", Kind.NUMBER),
    Column("events", "events", Kind.NUMBER),
    Column("bytes", "bytes", Kind.BYTES),
    Column("created", "created_at", Kind.TIME),
    Column("closed", "closed_at", Kind.TIME),
    Column("expires", "expires_at", Kind.TIME),
    Column("deleted", "deleted_at", Kind.TIME),
    Column("lets go of its files", "purge_at", Kind.TIME),
    Column("versions", lambda dataset: dataset.get("versions") if len(dataset.get("versions") or []) > 1 else None),
    Column("in containers", "parents"),
    Column("remarks", "meta"),
    Column("made by task", "made_by"),
    Column("used by tasks", "used_by"),
)
REPLICAS = (
    Column("storage", "storage"),
    Column("site", "site"),
    Column("files", "files", Kind.NUMBER),
    Column("bytes", "bytes", Kind.BYTES),
    Column("", lambda replica: "complete" if replica["complete"] else "incomplete"),
)
FILES = (
    Column("name", "name"),
    Column("bytes", "bytes", Kind.BYTES),
    Column("events", "events", Kind.NUMBER),
    Column("adler32", "adler32"),
    Column("at", lambda file: [replica["storage"] for replica in file["replicas"]]),
)
CONTENT = (
    Column("name", lambda dataset: short_name(dataset["did"])),
    Column("kind", "kind"),
    Column("state", "state"),
    Column("files", "files", Kind.NUMBER),
    Column("bytes", "bytes", Kind.BYTES),
)
STORY = (
    Column("at", "at", Kind.TIME),
    Column("what", "kind"),
    Column("by", "actor"),
    Column("why", "text"),
)
DIFF = (
    Column("change", lambda file: "+" if file["change"] == "added" else "-"),
    Column("file", "file"),
    Column("bytes", "bytes", Kind.BYTES),
)


@app.command()
def show(name: Name) -> None:
    """Show a dataset: what is in it, where it is, who made it, who uses it, and how to read it.

    Examples:
      prodchain dataset show mc26_13p6TeV.700001.Zmumu.evgen.EVNT.v1
      prodchain dataset show NAME@1 --json
    """
    with chosen().client() as client:
        dataset = client.dataset(name)
        container = dataset["kind"] == "container"
        content = list(client.dataset_content(name)) if container and not chosen().json else []
    ways = [(each["by"], each["line"]) for each in dataset["access"]]
    if not on_terminal() or chosen().json:
        lines = [Column(f"read by {by}", lambda _, line=line: line) for by, line in ways]  # type: ignore[misc]
        show_item(dataset, (*LINES, Column("replicas", _places), *lines))
        return
    show_item(dataset, LINES)
    print()
    draw_table(dataset["replicas"], REPLICAS)
    if content:
        print()
        draw_table(content, CONTENT)
    print("\nTo read it:")
    draw_lines(ways)


@app.command()
def files(
    name: Name, limit: Annotated[int | None, typer.Option(min=1, help="At most so many; all if not given.")] = None
) -> None:
    """List a dataset's files with sizes, events, checksums and places.

    Examples:
      prodchain dataset files NAME
      prodchain dataset files NAME --json | jq -r '.items[].replicas[].url'
    """
    with chosen().client() as client:
        show_items(client.dataset_files(name, limit=limit), FILES)


@app.command()
def story(name: Name) -> None:
    """Tell what happened to a dataset, in order: when, what, who and why.

    Examples:
      prodchain dataset story NAME
    """
    with chosen().client() as client:
        show_items(client.dataset_story(name), STORY)


@app.command()
def diff(name: Name, other: Annotated[str, typer.Argument(help="The dataset or version to compare with.")]) -> None:
    """Say what files the second dataset has more (+) and less (-) than the first.

    Examples:
      prodchain dataset diff user.ada.zmumu.AOD.v3@1 user.ada.zmumu.AOD.v3@2
    """
    with chosen().client() as client:
        answer = client.dataset_diff(name, other)
    if chosen().json:
        show_json(answer)
        return
    show_items(answer["items"], DIFF)
    sums = [f"{answer[key]['files']} files {key}, {size(answer[key]['bytes'])}" for key in ("added", "removed")]
    say("; ".join(sums))


for command, name in (
    (dataset_changes.create, "create"),
    (dataset_changes.add, "add"),
    (dataset_changes.close, "close"),
    (dataset_changes.reopen, "reopen-as-new-version"),
    (dataset_changes.lifetime, "lifetime"),
    (dataset_changes.rm, "rm"),
    (dataset_changes.undelete, "undelete"),
    (dataset_changes.bad, "bad"),
    (dataset_copies.subscribe, "subscribe"),
    (dataset_copies.why, "why"),
    (dataset_copies.verify, "verify"),
    (dataset_export.export, "export"),
):
    app.command(name)(command)
