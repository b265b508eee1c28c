"""``prodchain ls``: datasets by pattern."""

from concurrent.futures import ThreadPoolExecutor
from typing import Annotated

import typer

from prodchain.broker.client import Document
from prodchain.catalog.names import scope_of

from ..errors import NotFound
from ..options import chosen
from ..output import Column, show_items
from ..values import Kind


def short(dataset: Document) -> str:
    """The shortest name that finds the dataset again: without its scope where the name implies it."""
    did: str = dataset["did"]
    scope, _, name = did.partition(":")
    return name if scope_of(name) == scope else did


def _sites(dataset: Document) -> list[str]:
    return sorted({replica["site"] for replica in dataset["replicas"]})


NAMES = (Column("name", short),)
DETAILS = (
    *NAMES,
    Column("kind", "kind"),
    Column("state", "state"),
    Column("files", "files", Kind.NUMBER),
    Column("events", "events", Kind.NUMBER),
    Column("bytes", "bytes", Kind.BYTES),
    Column("sites", _sites),
)


def ls(
    pattern: Annotated[str | None, typer.Argument(help="Name, or pattern with * and ?.")] = None,
    long: Annotated[bool, typer.Option("-l", "--long", help="Kind, state, files, events, bytes, sites.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Also what the system made for itself.")] = False,
    step: Annotated[str | None, typer.Option(help="Only of this step, as in evgen.")] = None,
    format: Annotated[str | None, typer.Option(help="Only of this format, as in AOD.")] = None,  # noqa: A002
    kind: Annotated[str | None, typer.Option(help="Only of this kind: production, user, log, dispatch, sub.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 1000,
) -> None:
    """List datasets.

    Examples:
      prodchain ls 'mc26*AOD*'              names that fit
      prodchain ls -l --step reco           with sizes and sites
      prodchain ls | xargs -n1 prodchain get
    """
    with chosen().client() as client:
        if pattern and not set("*?") & set(pattern):
            found = [client.dataset(pattern)]
        else:
            found = client.datasets(pattern, kind=kind, step=step, format=format, bookkeeping=everything, limit=limit)
            if pattern and not found:
                hint = "`prodchain ls` lists what there is; --all also what the system made for itself"
                raise NotFound("no dataset fits the pattern", object=pattern, hint=hint)
        if long:  # a list's documents do not say where the files are
            with ThreadPoolExecutor(8) as threads:
                found = list(threads.map(lambda each: client.dataset(each["did"]), found))
    show_items(found, DETAILS if long else NAMES)
