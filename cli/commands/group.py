"""``prodchain group``: who works together, and who leads."""

from typing import Annotated

import typer

from ..options import chosen
from ..orders import DryRun, Reason, carry_out
from ..output import Column, show_item, show_items

app = typer.Typer(help="Look at working groups, change who is in them.\n\nExamples:\n  prodchain group ls")

COLUMNS = (
    Column("group", "name"),
    Column("leaders", "leaders"),
    Column("members", "members"),
)
Name = Annotated[str, typer.Argument(help="Name of the group.")]
User = Annotated[str, typer.Argument(help="Name of the user.")]


@app.command()
def ls(user: Annotated[str | None, typer.Option(help="Only those of this user.")] = None) -> None:
    """List groups with who leads them and who is in them.

    Examples:
      prodchain group ls --user ada
    """
    with chosen().client() as client:
        show_items(client.groups(user), COLUMNS)


@app.command()
def show(name: Name) -> None:
    """Show a group.

    Examples:
      prodchain group show higgs
    """
    with chosen().client() as client:
        show_item(client.group(name), COLUMNS)


@app.command()
def add(
    name: Name,
    user: User,
    leads: Annotated[bool, typer.Option("--leads", help="They lead it: an administrator's word.")] = False,
    reason: Reason = "",
    dry_run: DryRun = False,
) -> None:
    """Add somebody to a group; the first one makes it. For those who lead the group, and administrators.

    Examples:
      prodchain group add higgs ada --leads
      prodchain group add higgs bob
    """
    with chosen().client("admin") as client:
        carry_out([lambda dry: client.add_to_group(name, user, reason, leads=leads, dry_run=dry)], dry_run=dry_run)


@app.command()
def remove(name: Name, user: User, reason: Reason = "", dry_run: DryRun = False) -> None:
    """Take somebody out of a group. For those who lead the group, and administrators.

    Examples:
      prodchain group remove higgs bob
    """
    with chosen().client("admin") as client:
        carry_out([lambda dry: client.remove_from_group(name, user, reason, dry_run=dry)], dry_run=dry_run)
