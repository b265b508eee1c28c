"""``prodchain get``: a dataset's files, here."""

import os
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from prodchain.broker.client import Client
from prodchain.catalog.names import parse_versioned

from ..errors import FailedWork, Usage
from ..fetch import Summary, Wish, fetch
from ..laptop import fetch_into_storage
from ..options import chosen
from ..output import Column, say, show_item
from ..progress import bar
from ..values import Kind, size

ENDED = ("done", "finished", "failed", "aborted")
"""States of a task that makes no more files."""

LINES = (
    Column("dataset", "dataset"),
    Column("directory", "directory"),
    Column("files", "files", Kind.NUMBER),
    Column("present", "present", Kind.NUMBER),
    Column("fetched", "fetched", Kind.NUMBER),
    Column("bytes", "bytes", Kind.BYTES),
    Column("resumed", "resumed", Kind.BYTES),
    Column("seconds", "seconds"),
    Column("failed", lambda summary: len(summary["failed"])),
)


def get(
    name: Annotated[str, typer.Argument(help="Name of the dataset, or scope:name; NAME@2 is the second version.")],
    directory: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="Where to; ./NAME if not given.")] = None,
    jobs: Annotated[
        int | None, typer.Option("-j", "--jobs", min=1, max=64, help="Files at once; measured if not given.")
    ] = None,
    match: Annotated[
        str, typer.Option(metavar="PATTERN", help="Only files whose names fit, as in '*._00001*'.")
    ] = "*",
    first: Annotated[int | None, typer.Option(min=1, help="Only so many files, the first ones.")] = None,
    partial: Annotated[bool, typer.Option("--partial", help="What is there of a dataset that still grows.")] = False,
    source: Annotated[
        str | None, typer.Option("--from", metavar="STORAGE", help="Only copies at this storage.")
    ] = None,
    register: Annotated[
        str | None,
        typer.Option(
            metavar="STORAGE", help="Into this storage of yours on this machine, as copies the catalog knows."
        ),
    ] = None,
) -> None:
    """Copy a dataset's files here, verified by size and adler32.

    Run it again after an interruption: no byte that is here and right is moved again.

    Examples:
      prodchain get mc26_13p6TeV.700001.Zmumu.merge.AOD.v1
      prodchain get NAME /data/zmumu -j 8
      prodchain get NAME --match '*._00000[1-3].*'
      prodchain get NAME --partial                 # in the middle of a production
      prodchain get NAME --from SITE-A-DISK        # from there and from nowhere else
      prodchain get NAME --register ADA-LAPTOP     # the laptop becomes a place of the dataset
    """
    os.environ["PRODCHAIN_HOME"] = str(chosen().home)  # where the credentials of storages are
    wish = Wish(match, first, source) if first is not None or match != "*" or source is not None else None
    with chosen().client() as client, bar() as progress:
        if source is not None:
            client.storage(source)  # a wrong name is told what comes near
        growing = _growing(client, name, partial)
        try:
            if register is None:
                summary = fetch(client, name, directory or Path(parse_versioned(name)[0].name), progress, jobs, wish)
            else:
                if directory is not None:
                    hint = "leave one of the two out"
                    raise Usage("a storage says itself where files lie", object=str(directory), hint=hint)
                summary = fetch_into_storage(client, name, register, progress, jobs, wish)
        except KeyboardInterrupt:
            again = shlex.join(["prodchain", "get", name, *([str(directory)] if directory else [])])
            say(f"stopped; nothing is lost. continue with: {again}")
            raise
    _tell(summary)
    if growing:
        say(growing)


def _growing(client: Client, name: str, partial: bool) -> str | None:
    """What to say of a dataset that tasks still fill; refused unless a part of it is what is wanted."""
    dataset = client.dataset(name)
    if dataset["state"] != "open":
        return None
    tasks = [client.task(task) for task in dataset["made_by"]]
    if all(task["state"] in ENDED for task in tasks):
        return None
    so_far = f"{dataset['files']}/{sum(task['numbers'] for task in tasks)} files"
    if not partial:
        raise FailedWork(
            f"{dataset['did']} is still being filled: {so_far} so far",
            object=dataset["did"],
            hint="--partial gets what is there; without it wait until its task has ended",
        )
    return f"{dataset['did']} still grows: {so_far} so far; run it again for what comes later"


def _tell(summary: Summary) -> None:
    show_item(asdict(summary), LINES)
    for bad in summary.retried:
        say(f"bad replica of {bad.file}: {bad.reason}; another one was good")
    if not summary.failed:
        rate = summary.bytes / summary.seconds if summary.seconds else 0
        here = f", {summary.present} of them were here already" if summary.present else ""
        say(f"{summary.files} files are in {summary.directory}{here}; {size(summary.bytes)} moved, {size(rate)}/s")
        return
    for missing in summary.failed:
        say(f"failed: {missing.file}: {missing.reason}")
    raise FailedWork(
        f"{len(summary.failed)} of {summary.files} files could not be had, as {summary.failed[0].file}",
        object=summary.dataset,
        hint="run it again for what is missing; `prodchain dataset files NAME` shows the replicas",
    )
