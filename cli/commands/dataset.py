"""``prodchain dataset``: what a dataset is, what it holds, how to reach it; and the commands that change it."""

import json
from pathlib import Path
from typing import Annotated

import typer

from prodchain.broker.client import Document

from ..errors import NotAllowed
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
    Column("md5", "md5"),
    Column("remarks", "meta"),
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
LINEAGE = (
    Column("step", "step", Kind.NUMBER),
    Column("dataset", lambda dataset: short_name(dataset["did"])),
    Column("kind", "kind"),
    Column("files", "files", Kind.NUMBER),
    Column("events", "events", Kind.NUMBER),
    Column("made by task", "made_by"),
    Column("with", "transformation"),
    Column("seeds", "seeds"),
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
    """List a dataset's files with sizes, events, checksums, remarks and places.

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


@app.command()
def lineage(
    name: Name,
    up: Annotated[int | None, typer.Option(min=0, help="Steps towards what it was made from.")] = None,
    down: Annotated[int | None, typer.Option(min=0, help="Steps towards what was made of it.")] = None,
    export: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it as W3C PROV (JSON).")] = None,
) -> None:
    """Tell what a dataset was made from, up to event generation, and what was made of it.

    Step 0 is the dataset itself, -1 what it was made from, 1 what was made of it.

    Examples:
      prodchain dataset lineage mc26_13p6TeV.700001.Zmumu.merge.AOD.v1
      prodchain dataset lineage NAME --down 0 --export prov.json
    """
    with chosen().client() as client:
        document = client.dataset_lineage(name, up=up, down=down, form="prov" if export else None)
    if export is not None:
        _write(export, json.dumps(document, indent=2) + "\n")
        say(f"{export} has the lineage of {name} as PROV")
        return
    if chosen().json:
        show_json(document)
        return
    tasks = {task["id"]: task for task in document["tasks"]}
    unknown = {"transformation": None, "seeds": None}
    rows = [tasks.get(dataset["made_by"], unknown) | dataset for dataset in document["datasets"]]
    show_items(sorted(rows, key=lambda row: int(row["step"])), LINEAGE)
    if document["cut"]:
        say("there is more: --up and --down follow more steps")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        message = f"cannot write the file: {error.strerror}"
        raise NotAllowed(message, object=str(path), hint="name a file that you can write") from None


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
