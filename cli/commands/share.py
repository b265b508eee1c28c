"""``prodchain share``: who gets how much of the slots."""

from pathlib import Path
from typing import Annotated, Any

import typer

from prodchain.broker.client import Document

from ..documents import text_of
from ..options import chosen
from ..orders import DryRun, Reason, say_rest
from ..output import Column, on_terminal, show_items, show_json
from ..values import Kind, exact

app = typer.Typer(help="Look at shares, change them.\n\nExamples:\n  prodchain share set higgs 30 --dry-run")


def _percent(name: str) -> Any:
    return lambda share: f"{100 * share[name]:.1f} %"


COLUMNS = (
    Column("share", lambda share: "· " * share["depth"] * on_terminal() + share["name"]),
    Column("value", "value", Kind.NUMBER),
    Column("target", _percent("target")),
    Column("use", _percent("use")),
    Column("cores", "cores", Kind.NUMBER),
    Column("waiting", "waiting", Kind.NUMBER),
    Column("core-hours", lambda share: f"{share['core_hours']:.1f}"),
    Column("tasks", lambda share: " ".join(f"{key}={value}" for key, value in share["match"].items())),
)


@app.command()
def ls(days: Annotated[int, typer.Option(min=1, help="Core-hours of so many days.")] = 7) -> None:
    """List shares with targets, use now, jobs that wait at queues, and core-hours of the last days.

    Examples:
      prodchain share ls
      prodchain share ls --days 30 --json
    """
    with chosen().client() as client:
        show_items(client.shares(days=days), COLUMNS)


@app.command("set")
def set_(
    name: Annotated[str, typer.Argument(help="Name of the share.")],
    value: Annotated[float, typer.Argument(min=0, help="Counts among its siblings; 0: what they leave.")],
    reason: Reason = "",
    dry_run: DryRun = False,
) -> None:
    """Give one share another value. Needs an administrator's token, or to lead the group whose share is above it.

    Examples:
      prodchain share set higgs 30 --dry-run
      prodchain share set higgs 30 --reason "for the conference"
    """
    with chosen().client("admin") as client:
        _told(client.set_share(name, value, reason, dry_run=dry_run))


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(help="TOML document with the shares.")],
    reason: Reason = "",
    dry_run: DryRun = False,
) -> None:
    """Make the tree of shares what a file says. Needs an administrator's token.

    Shares that are not in the file any more take no new tasks; their jobs go on.

    Examples:
      prodchain share apply shares.toml --dry-run
    """
    text = text_of(file, "a tree of shares, as TOML")
    with chosen().client("admin") as client:
        _told(client.apply_shares(text, reason, name=str(file), dry_run=dry_run))


def _told(outcome: Document) -> None:
    if chosen().json:
        show_json(outcome)
        return
    for field, (before, after) in outcome["changes"].items():
        print(f"{field}\t{exact(before)}\t{exact(after)}")
    say_rest(outcome)
