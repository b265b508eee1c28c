"""``prodchain storage``: what each one holds and has room for, and whether it works."""

from typing import Annotated

import typer

from ..options import chosen
from ..output import Column, show_item, show_items
from ..values import Kind
from . import storage_checks

app = typer.Typer(help="Look at storages, test them.\n\nExamples:\n  prodchain storage ls")

COLUMNS = (
    Column("name", "name"),
    Column("site", "site"),
    Column("kind", "kind"),
    Column("files", "files", Kind.NUMBER),
    Column("used", "bytes", Kind.BYTES),
    Column("capacity", "capacity_bytes", Kind.BYTES),
    Column("free", "free_bytes", Kind.BYTES),
    Column("on its way", "moving_bytes", Kind.BYTES),
    Column("url", "url"),
)
LINES = (
    *COLUMNS,
    Column("readable", "readable"),
    Column("writable", "writable"),
    Column("deletable", "deletable"),
    Column("keeps free", "min_free_bytes", Kind.BYTES),
    Column("copies at a time", "max_transfers", Kind.NUMBER),
    Column("attributes", "attributes"),
    Column("as of", "as_of", Kind.TIME),
)


@app.command()
def ls() -> None:
    """List storages with what they hold, what is on its way there, and the room that is left.

    Examples:
      prodchain storage ls
    """
    with chosen().client() as client:
        show_items(client.storages(), COLUMNS)


@app.command()
def show(name: Annotated[str, typer.Argument(help="Name of the storage.")]) -> None:
    """Show a storage.

    Examples:
      prodchain storage show SITE-A-DISK
    """
    with chosen().client() as client:
        show_item(client.storage(name), LINES)


app.command("test")(storage_checks.test)
app.command("audit")(storage_checks.audit)
