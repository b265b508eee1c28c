"""``prodchain journal``: what people ordered, whoever did and by whatever way."""

from typing import Annotated

import typer

from prodchain.broker.client import Document

from ..options import chosen
from ..output import Column, show_items
from ..values import Kind, exact


def _changes(entry: Document) -> str:
    return "; ".join(
        f"{field} {exact(before)} -> {exact(after)}" for field, (before, after) in entry["detail"]["changes"].items()
    )


COLUMNS = (
    Column("at", "at", Kind.TIME),
    Column("by", "actor"),
    Column("order", "verb"),
    Column("object", "object"),
    Column("changes", _changes),
    Column("jobs", lambda entry: entry["detail"]["jobs"]),
    Column("reason", "reason"),
)


def journal(
    of: Annotated[str | None, typer.Option("--object", help="Only of this, as in 'task 10000001'.")] = None,
    by: Annotated[str | None, typer.Option(help="Only by this user.")] = None,
    verb: Annotated[str | None, typer.Option(help="Only this order, as in kill.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
) -> None:
    """List orders, newest first: when, who, what it changed, and why; also when the broker drained a queue.

    Examples:
      prodchain journal --object "task 10000001"
      prodchain journal --by ada --verb kill --json
    """
    with chosen().client() as client:
        show_items(client.journal(object=of, by=by, verb=verb, limit=limit), COLUMNS)
