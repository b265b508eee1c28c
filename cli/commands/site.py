"""``prodchain site``: places with storages and queues."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import FailedWork, NotAllowed, NotFound, Usage
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
HISTORY = (
    Column("id", "id"),
    Column("at", "at", Kind.TIME),
    Column("actor", "actor"),
    Column("changes", "changes"),
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
    for things, columns in ((storages, STORAGES), (queues, queue.DETAILS[:-1])):
        print()
        draw_table(things, columns)


@app.command()
def apply(
    path: Annotated[Path, typer.Argument(help="The sites file, or a folder of *.toml files.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only say what would change.")] = False,
) -> None:
    """Make sites, storages, queues and links what a declaration says. Needs an administrator's token.

    Examples:
      prodchain site apply sites.toml --dry-run
      prodchain site apply sites.d              # every *.toml in it, as one
    """
    files = _read(path)
    base = path if path.is_dir() else path.parent
    with chosen().client("admin") as client:
        answer = client.apply_sites(files, str(base.absolute()), dry_run=dry_run)
    if chosen().json:
        show_json(answer)
        return
    for change in answer["changes"]:
        print(_line(change))
    if not answer["changes"]:
        say("nothing changes: the sites are what the file says")
    elif dry_run:
        say("nothing was changed: this was a dry run")


@app.command("import-cric")
def import_cric(
    queues: Annotated[Path, typer.Option(metavar="FILE", help="JSON of CRIC's panda queues.")],
    endpoints: Annotated[Path, typer.Option(metavar="FILE", help="JSON of CRIC's DDM endpoints.")],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="New folder for the declaration.")],
    home: Annotated[
        str | None, typer.Option("--home-endpoint", help="Endpoint where results end up; else a queue's.")
    ] = None,
) -> None:
    """Write a declaration of what CRIC's documents describe: a file for each site, to look at and then to apply.

    Examples:
      prodchain site import-cric --queues pandaqueues.json --endpoints ddmendpoints.json -o sites.d
      prodchain site apply sites.d --dry-run
    """
    from prodchain.broker import cric, sitefile

    if out.exists() and any(out.iterdir()):
        raise Usage("the folder is not empty", object=str(out), hint="name a new folder: nothing is overwritten")
    found = cric.convert(_json(queues), _json(endpoints), home)
    if "00-home.toml" not in found.files:
        reason = found.notes[-1] if found.notes else "there is no endpoint"
        raise FailedWork(
            f"no declaration: {reason}", object=str(endpoints), hint="name a --home-endpoint that was imported"
        )
    declared = sitefile.parse_all(found.files, out)  # what is written can be applied
    out.mkdir(parents=True, exist_ok=True)
    for name, text in found.files.items():
        (out / name).write_text(text)
    for note in found.notes:
        say(note)
    counts = {name: len(getattr(declared, name)) for name in ("sites", "storages", "queues")}
    if chosen().json:
        show_json({**counts, "files": sorted(found.files), "notes": found.notes})
    else:
        say(f"{out}: {', '.join(f'{number} {name}' for name, number in counts.items())}")


def _json(path: Path) -> Any:
    """A CRIC document: a table by name, or a list of tables."""
    try:
        document = json.loads(path.read_bytes())
        if not isinstance(document, dict | list):
            raise ValueError("it is neither a table nor a list")
        entries = document.values() if isinstance(document, dict) else document
        if not all(isinstance(entry, dict) for entry in entries):
            raise ValueError("its entries are no tables")
    except FileNotFoundError:
        raise NotFound("no such file", object=str(path), hint="name a document that CRIC answered") from None
    except (OSError, ValueError) as error:
        hint = "save what CRIC's query answers with ?json"
        raise Usage(f"not a CRIC document: {error}", object=str(path), hint=hint) from None
    return document


@app.command()
def history(
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
    text: Annotated[bool, typer.Option("--text", help="Also the declarations themselves.")] = False,
) -> None:
    """List what was declared, newest first: when, by whom, and what it changed.

    Examples:
      prodchain site history
      prodchain site history --json --limit 1 | jq -r '.items[0].text'
    """
    with chosen().client() as client:
        show_items(client.site_history(limit=limit), (*HISTORY, Column("text", "text")) if text else HISTORY)


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        raise NotFound("no such file", object=str(path), hint="name an existing sites file, or a folder of them")
    files = sorted(path.glob("*.toml")) if path.is_dir() else [path]
    if not files:
        raise NotFound("no *.toml in this folder", object=str(path), hint="name a folder with sites files")
    try:
        return {str(file): file.read_text() for file in files}
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        about = getattr(error, "filename", None) or str(path)
        raise NotAllowed(
            f"cannot read the file: {reason}", object=about, hint="name sites files that you can read"
        ) from None


def _line(change: Any) -> str:
    return "\t".join(exact(value) for value in change.values()) if isinstance(change, dict) else exact(change)
