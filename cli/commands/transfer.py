"""``prodchain transfer``: copies on their way."""

from typing import Annotated

import typer

from ..options import chosen
from ..output import Column, show_items
from ..values import Kind
from .ls import short_name

app = typer.Typer(help="Look at copies on their way.\n\nExamples:\n  prodchain transfer ls --state failing")

DETAILS = (
    Column("file", lambda each: short_name(each["file"])),
    Column("from", "source"),
    Column("to", "destination"),
    Column("state", "state"),
    Column("bytes", "bytes", Kind.BYTES),
    Column("attempts", "attempts", Kind.NUMBER),
    Column("how", "method"),
    Column("queued", "queued_at", Kind.TIME),
    Column("next try", "next_try", Kind.TIME),
    Column("error", "error"),
)
COLUMNS = tuple(each for each in DETAILS if each.title in ("file", "from", "to", "state", "bytes", "queued", "error"))
LINKS = (
    Column("from", "source"),
    Column("to", "destination"),
    Column("files", "files", Kind.NUMBER),
    Column("bytes", "bytes", Kind.BYTES),
    Column("bytes per second", "rate", Kind.BYTES),
    Column("failures", "failures", Kind.NUMBER),
)


@app.command()
def ls(
    state: Annotated[str | None, typer.Option(help="Only queued, active, failing or done ones.")] = None,
    at: Annotated[str | None, typer.Option(metavar="STORAGE", help="Only from or to this storage.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    long: Annotated[
        bool, typer.Option("-l", "--long", help="Also attempts, how, and when it is tried next.")
    ] = False,
) -> None:
    """List copies of files between storages, newest first, with what went wrong.

    Examples:
      prodchain transfer ls --state failing
      prodchain transfer ls --at SITE-B-DISK --json | jq -r '.items[].error'
    """
    with chosen().client() as client:
        show_items(client.transfers(state=state, at=at, limit=limit), DETAILS if long else COLUMNS)


@app.command()
def links() -> None:
    """Show how fast copies went from one storage to another lately, and how many failed.

    Examples:
      prodchain transfer links
    """
    with chosen().client() as client:
        show_items(client.links(), LINKS)
