"""``prodchain site``: places with storages and queues."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import NotAllowed, NotFound
from ..options import chosen
from ..output import Column, draw_table, on_terminal, say, show_item, show_items, show_json
from ..pick import pick
from ..values import Kind, exact
from . import queue

app = typer.Typer(help="Look at sites, change them.\n\nExamples:\n  prodchain site apply sites.toml --dry-run")

COLUMNS = (
    Column("name", "name"),
    Column("storages", "storages"),
    Column("queues", "queues"),
    Column("jobs", "jobs"),
    Column("description", "description"),
)
STORAGES = (
    Column("storage", "name"),
    Column("kind", "kind"),
    Column("files", "files", Kind.NUMBER),
    Column("bytes", "bytes", Kind.BYTES),
    Column("url", "url"),
)


@app.command()
def ls() -> None:
    """List sites with their storages, queues and jobs.

    Examples:
      prodchain site ls
    """
    with chosen().client() as client:
        show_items(client.sites(), COLUMNS)


@app.command()
def show(name: Annotated[str, typer.Argument(help="Name of the site.")]) -> None:
    """Show a site, what it stores and what it offers.

    Examples:
      prodchain site show SITE-A
    """
    with chosen().client() as client:
        site = pick("site", name, client.sites())
        if chosen().json or not on_terminal():
            show_item(site, COLUMNS)
            return
        storages = [each for each in client.storages() if each["site"] == name]
        queues = [each for each in client.queues() if each["site"] == name]
    show_item(site, COLUMNS)
    for things, columns in ((storages, STORAGES), (queues, queue.COLUMNS)):
        print()
        draw_table(things, columns)


@app.command()
def apply(
    file: Annotated[Path, typer.Argument(help="The sites file.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only say what would change.")] = False,
) -> None:
    """Make sites, storages and queues what a sites file says. Needs an administrator's token.

    Examples:
      prodchain site apply sites.toml --dry-run
      prodchain site apply sites.toml
    """
    text = _read(file)
    with chosen().client("admin") as client:
        answer = client.apply_sites(text, str(file.absolute().parent), dry_run=dry_run)
    if chosen().json:
        show_json(answer)
        return
    for change in answer["changes"]:
        print(_line(change))
    if not answer["changes"]:
        say("nothing changes: the sites are what the file says")
    elif dry_run:
        say("nothing was changed: this was a dry run")


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except FileNotFoundError:
        raise NotFound("no such file", object=str(file), hint="name an existing sites file") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise NotAllowed(
            f"cannot read the file: {reason}", object=str(file), hint="name a sites file that you can read"
        ) from None


def _line(change: Any) -> str:
    return "\t".join(exact(value) for value in change.values()) if isinstance(change, dict) else exact(change)
