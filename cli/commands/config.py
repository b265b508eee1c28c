"""``prodchain config``: the settings and where they come from."""

from dataclasses import asdict

import typer

from ..options import chosen
from ..output import Column, show_items

app = typer.Typer(help="Look at the settings.\n\nExamples:\n  prodchain config show")

COLUMNS = (
    Column("setting", "name"),
    Column("value", "value"),
    Column("from", "origin"),
    Column("meaning", "description"),
)


@app.command()
def show() -> None:
    """Show every setting, its value and its origin; passwords are masked.

    A flag beats an environment variable PRODCHAIN_*, that beats HOME/prodchain.toml, that beats the default.

    Examples:
      prodchain config show
      prodchain config show --json
    """
    from prodchain.broker.settings import explain

    show_items([asdict(value) for value in explain(chosen().home)], COLUMNS)
