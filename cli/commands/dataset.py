"""``prodchain dataset``: what a dataset is, what it holds, and how to reach it."""

from typing import Annotated

import typer

from prodchain.broker.client import Document

from ..options import chosen
from ..output import Column, draw_lines, draw_table, on_terminal, say, show_item, show_items
from ..values import Kind
from .ls import short

app = typer.Typer(help="Look at datasets, close them.\n\nExamples:\n  prodchain dataset show NAME")

Name = Annotated[str, typer.Argument(help="Name, or scope:name.")]


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


@app.command()
def show(name: Name) -> None:
    """Show a dataset: what is in it, where it is, who made it, who uses it, and how to read it.

    Examples:
      prodchain dataset show mc26_13p6TeV.700001.Zmumu.evgen.EVNT.v1
      prodchain dataset show NAME --json
    """
    with chosen().client() as client:
        dataset = client.dataset(name)
        draw = on_terminal() and not chosen().json
        one = next(client.dataset_files(name, limit=1), None) if draw else None
    show_item(dataset, LINES if draw else (*LINES, Column("replicas", _places)))
    if draw:
        print()
        draw_table(dataset["replicas"], REPLICAS)
        print()
        draw_lines(_ways_in(dataset, one))


def _ways_in(dataset: Document, file: Document | None) -> list[tuple[str, str]]:
    """Lines to copy into a shell or a program."""
    ways = [("get it", f"prodchain get {short(dataset)}")]
    if file and file["replicas"]:
        url = file["replicas"][0]["url"]
        ways.append(("open a file", f"fsspec.open({url!r})"))
        if ".root" in file["name"]:
            ways.append(("with uproot", f"uproot.open({{{url!r}: None}})"))
    return ways


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
        show_items(list(client.dataset_files(name, limit=limit)), FILES)


@app.command()
def close(name: Name) -> None:
    """Close a dataset: its content never changes again. Closing a closed one changes nothing.

    Examples:
      prodchain dataset close user.ada.zmumu.AOD.v3
    """
    with chosen().client() as client:
        dataset = client.close_dataset(name)
    say(f"{dataset['did']} is closed with {dataset['files']} files")
    if chosen().json:
        show_item(dataset, LINES)
