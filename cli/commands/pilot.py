"""``prodchain pilot``: what runs jobs on batch nodes."""

from typing import Annotated

import typer

from ..options import chosen
from ..output import Column, show_item, show_items
from ..pick import pick
from ..values import Kind

app = typer.Typer(help="Look at pilots.\n\nExamples:\n  prodchain pilot ls")

COLUMNS = (
    Column("name", "name"),
    Column("queue", "queue"),
    Column("host", "host"),
    Column("alive", "alive"),
    Column("job", "job"),
    Column("jobs", "jobs", Kind.NUMBER),
    Column("empty polls", "empty_polls", Kind.NUMBER),
    Column("last seen", "last_seen", Kind.TIME),
    Column("first seen", "first_seen", Kind.TIME),
)


@app.command()
def ls(
    everything: Annotated[bool, typer.Option("--all", help="Also those that are gone.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many; all if not given.")] = None,
) -> None:
    """List pilots that are alive, last seen first.

    Examples:
      prodchain pilot ls
      prodchain pilot ls --all --limit 20
    """
    with chosen().client() as client:
        pilots = client.pilots(limit=limit)
    show_items([pilot for pilot in pilots if everything or pilot["alive"]], COLUMNS)


@app.command()
def show(name: Annotated[str, typer.Argument(help="Name of the pilot.")]) -> None:
    """Show a pilot.

    Examples:
      prodchain pilot show SITE-A-BATCH-1
    """
    with chosen().client() as client:
        show_item(pick("pilot", name, client.pilots()), COLUMNS)
