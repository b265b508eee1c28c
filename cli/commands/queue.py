"""``prodchain queue``: what sites offer."""

from typing import Annotated

import typer

from ..options import chosen
from ..output import Column, show_item, show_items
from ..pick import pick
from ..values import Kind

app = typer.Typer(help="Look at queues.\n\nExamples:\n  prodchain queue ls")

COLUMNS = (
    Column("name", "name"),
    Column("site", "site"),
    Column("status", "status"),
    Column("slots", "slots", Kind.NUMBER),
    Column("pilots", "pilots", Kind.NUMBER),
    Column("cores", "cores", Kind.NUMBER),
    Column("memory", lambda queue: queue["memory_mb"] * 1_000_000, Kind.BYTES),
    Column("walltime", "walltime_s", Kind.SECONDS),
    Column("storage", "storage"),
    Column("jobs", "jobs"),
)


@app.command()
def ls() -> None:
    """List queues with what one slot has, their pilots and jobs.

    Examples:
      prodchain queue ls
    """
    with chosen().client() as client:
        show_items(client.queues(), COLUMNS)


@app.command()
def show(name: Annotated[str, typer.Argument(help="Name of the queue.")]) -> None:
    """Show a queue.

    Examples:
      prodchain queue show SITE-A-BATCH
    """
    with chosen().client() as client:
        show_item(pick("queue", name, client.queues()), COLUMNS)
