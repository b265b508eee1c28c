"""``prodchain queue``: what sites offer, and what operators say about it."""

from typing import Annotated

import typer

from prodchain.broker.client import Document

from ..options import chosen
from ..orders import DryRun, Reason, Yes, carry_out
from ..output import Column, show_item, show_items
from ..pick import pick
from ..values import Kind
from . import queue_checks

app = typer.Typer(help="Look at queues, drain them.\n\nExamples:\n  prodchain queue ls")


def _status(queue: Document) -> str:
    """An operator's word wins over the sites file's; what the broker holds against the queue comes after it."""
    said = queue["ordered"] or queue["status"]
    return str(said) if queue["health"] == "good" else f"{said}, {queue['health']}"


DETAILS = (
    Column("name", "name"),
    Column("site", "site"),
    Column("status", _status),
    Column("slots", "slots", Kind.NUMBER),
    Column("pilots", "pilots", Kind.NUMBER),
    Column("cores", "cores", Kind.NUMBER),
    Column("memory", lambda queue: queue["memory_mb"] * 1_000_000, Kind.BYTES),
    Column("walltime", "walltime_s", Kind.SECONDS),
    Column("storage", "storage"),
    Column("jobs", "jobs"),
    Column("reason", "health_reason"),
)
COLUMNS = tuple(
    column for column in DETAILS if column.title in ("name", "status", "slots", "pilots", "jobs", "reason")
)
LINES = (
    *DETAILS[:-1],
    Column("ordered", "ordered"),
    Column("health", "health"),
    Column("because", "health_reason"),
    Column("since", "health_since", Kind.TIME),
    Column("canary", "canary"),
    Column("next canary", "canary_at", Kind.TIME),
    Column("scratch", lambda queue: queue.get("scratch_mb", 0) * 1_000_000, Kind.BYTES),
    Column("GPUs", "gpus", Kind.NUMBER),
    Column("architecture", "architecture"),
    Column("software", "software"),
    Column("allowed", "allow"),
    Column("jobs at most", "max_jobs", Kind.NUMBER),
    Column("for analysis, %", "analysis_percent", Kind.NUMBER),
)


Name = Annotated[str, typer.Argument(help="Name of the queue.")]


@app.command()
def ls(
    long: Annotated[bool, typer.Option("-l", "--long", help="Also site, storage, and what one slot has.")] = False,
) -> None:
    """List queues with their status, pilots and jobs.

    Examples:
      prodchain queue ls
      prodchain queue ls -l
    """
    with chosen().client() as client:
        show_items(client.queues(), DETAILS if long else COLUMNS)


@app.command()
def show(name: Name) -> None:
    """Show a queue.

    Examples:
      prodchain queue show SITE-A-BATCH
    """
    with chosen().client() as client:
        show_item(pick("queue", name, client.queues()), LINES)


@app.command()
def drain(name: Name, reason: Reason = "", dry_run: DryRun = False) -> None:
    """Give a queue no more jobs; those with pilots run on, others go elsewhere. Needs an administrator's token.

    Examples:
      prodchain queue drain SITE-A-BATCH --reason "new kernel on Monday"
    """
    _order(name, "drain", reason, dry_run)


@app.command()
def offline(name: Name, reason: Reason = "", dry_run: DryRun = False, yes: Yes = False) -> None:
    """Take a queue out of service. Needs an administrator's token.

    Examples:
      prodchain queue offline SITE-A-BATCH --reason "no power"
    """
    _order(name, "offline", reason, dry_run, yes=yes)


@app.command()
def online(name: Name, reason: Reason = "", dry_run: DryRun = False) -> None:
    """Let a queue get jobs again, whatever the broker held against it. Needs an administrator's token.

    Examples:
      prodchain queue online SITE-A-BATCH
    """
    _order(name, "online", reason, dry_run)


def _order(name: str, status: str, reason: str, dry_run: bool, *, yes: bool = True) -> None:
    with chosen().client("admin") as client:
        carry_out([lambda dry: client.order_queue(name, status, reason, dry_run=dry)], dry_run=dry_run, yes=yes)


app.command()(queue_checks.test)
