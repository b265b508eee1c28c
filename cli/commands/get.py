"""``prodchain get``: a dataset's files, here."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from prodchain.catalog.names import parse_did

from ..errors import FailedWork
from ..fetch import THREADS, Summary, fetch
from ..options import chosen
from ..output import Column, say, show_item
from ..progress import bar
from ..values import Kind, size

LINES = (
    Column("dataset", "dataset"),
    Column("directory", "directory"),
    Column("files", "files", Kind.NUMBER),
    Column("present", "present", Kind.NUMBER),
    Column("fetched", "fetched", Kind.NUMBER),
    Column("bytes", "bytes", Kind.BYTES),
    Column("seconds", "seconds"),
    Column("failed", lambda summary: len(summary["failed"])),
)


def get(
    name: Annotated[str, typer.Argument(help="Name of the dataset, or scope:name.")],
    directory: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="Where to; ./NAME if not given.")] = None,
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=1, max=64, help="Files at once.")] = THREADS,
) -> None:
    """Copy a dataset's files here, verified by size and adler32.

    Run it again after an interruption: files that are here and right are not moved again.

    Examples:
      prodchain get mc26_13p6TeV.700001.Zmumu.merge.AOD.v1
      prodchain get NAME /data/zmumu -j 8
    """
    target = directory or Path(parse_did(name).name)
    with chosen().client() as client, bar() as progress:
        try:
            summary = fetch(client, name, target, progress, jobs)
        except KeyboardInterrupt:
            again = shlex.join(["prodchain", "get", name, *([str(directory)] if directory else [])])
            say(f"stopped; nothing is lost. continue with: {again}")
            raise
    _tell(summary)


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
