"""``prodchain subscription``: wishes for complete copies."""

from typing import Annotated

import typer

from ..confirm import confirm
from ..options import chosen
from ..output import Column, say, show_item, show_items, show_json
from ..values import Kind
from .ls import short_name

app = typer.Typer(
    help="Look at wishes for copies, end them.\n\nExamples:\n  prodchain subscription ls --state active"
)

DETAILS = (
    Column("id", "id"),
    Column("dataset", lambda each: short_name(each["dataset"])),
    Column("at", "storage"),
    Column("state", "state"),
    Column("there", lambda each: f"{each['files_there']}/{each['files']}"),
    Column("bytes missing", "bytes_missing", Kind.BYTES),
    Column("failing", "failing", Kind.NUMBER),
    Column("owner", "owner"),
    Column("expires", "expires_at", Kind.TIME),
    Column("last error", "error"),
)
COLUMNS = tuple(each for each in DETAILS if each.title not in ("bytes missing", "owner", "expires"))
SUMMARY = (
    Column("kind", "kind"),
    Column("active", "active", Kind.NUMBER),
    Column("files missing", "files_missing", Kind.NUMBER),
    Column("bytes missing", "bytes_missing", Kind.BYTES),
    Column("failing", "failing", Kind.NUMBER),
)


@app.command()
def ls(
    dataset: Annotated[str | None, typer.Option(help="Only of this dataset.")] = None,
    at: Annotated[str | None, typer.Option(metavar="STORAGE", help="Only at this storage.")] = None,
    state: Annotated[str | None, typer.Option(help="Only in this state, as in active.")] = None,
    owner: Annotated[str | None, typer.Option(help="Only of this owner.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    long: Annotated[
        bool, typer.Option("-l", "--long", help="Also bytes that are missing, owner, and when it expires.")
    ] = False,
) -> None:
    """List wishes, newest first, with how much is there and what fails.

    Examples:
      prodchain subscription ls --state active
      prodchain subscription ls --dataset NAME
    """
    with chosen().client() as client:
        found = client.subscriptions(dataset=dataset, at=at, state=state, owner=owner, limit=limit)
        show_items(found, DETAILS if long else COLUMNS)


@app.command()
def summary() -> None:
    """Count what is active, missing and failing for each kind: dispatch, destination, other.

    Examples:
      prodchain subscription summary
    """
    with chosen().client() as client:
        counts = client.subscription_summary()
    if chosen().json:
        show_json(counts)
    else:
        show_items([{"kind": kind, **numbers} for kind, numbers in counts.items()], SUMMARY)


@app.command()
def cancel(
    ids: Annotated[list[int], typer.Argument(metavar="ID...", help="Their numbers.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only say what would end.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """End wishes: what is queued for nobody else is not copied; what has arrived stays.

    Examples:
      prodchain subscription cancel 12 13 --yes
    """
    with chosen().client() as client:
        wishes = [client.subscription(number) for number in ids]
        what = "; ".join(
            f"the wish for {wish['dataset']} at {wish['storage']} ({wish['files_there']} of {wish['files']} there)"
            for wish in wishes
        )
        if dry_run:
            say(f"would end {what}")
        else:
            confirm(f"end {what}", yes=yes)
            wishes = [client.cancel_subscription(number) for number in ids]
            for wish in wishes:
                say(f"subscription {wish['id']} is {wish['state']}")
    if chosen().json:
        show_item({"items": wishes}, ())
