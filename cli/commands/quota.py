"""``prodchain quota``: how much of a storage a user or group may fill, and how much work they may have."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer

from prodchain.broker.client import Document

from ..errors import Usage
from ..options import chosen
from ..orders import DryRun, Reason, carry_out
from ..output import Column, on_terminal, say, show_item, show_items, show_json
from ..values import Kind, bytes_of, readable

app = typer.Typer(help="Look at quotas, set them.\n\nExamples:\n  prodchain quota show ada")

COLUMNS = (
    Column("owner", "owner"),
    Column("storage", "storage"),
    Column("limit", "limit_bytes", Kind.BYTES),
    Column("used", "used_bytes", Kind.BYTES),
    Column("on its way", "moving_bytes", Kind.BYTES),
    Column("left", "left_bytes", Kind.BYTES),
)
WORK = (
    Column("who", "subject"),
    Column("what", "what"),
    Column("limit", "limit"),
    Column("used", "used"),
    Column("left", "left"),
)
LIMITS = (
    ("running", "cores_used", "cores in use"),
    ("queued", "queued_used", "jobs at queues"),
    ("core_hours", "core_hours_used", "core hours"),
)


@app.command()
def ls(owner: Annotated[str | None, typer.Option(help="Only of this owner.")] = None) -> None:
    """List quotas of bytes at storages, with what is used and on its way; then those of work.

    Examples:
      prodchain quota ls
      prodchain quota ls --owner ada
    """
    _list(owner, None if owner is None else _subject(owner))


@app.command()
def show(subject: Annotated[str, typer.Argument(help="A user, or group:NAME.")]) -> None:
    """Show the quotas of a user or group.

    Examples:
      prodchain quota show ada
      prodchain quota show group:higgs
    """
    _list(subject.removeprefix("user:"), _subject(subject))


def _list(owner: str | None, subject: str | None) -> None:
    with chosen().client() as client:
        stored, work = client.quotas(owner), client.work_quotas(subject)
        if subject is not None and subject.startswith("user:") and not work:
            work = [{**each, "subject": "user:* (each user)"} for each in client.work_quotas("user:*")]
    rows = [row for quota in work for row in _limits(quota)]
    if chosen().json:
        show_json({"items": stored, "work": work})
        return
    if on_terminal():
        print("bytes at storages")
    show_items(stored, COLUMNS)
    if on_terminal():
        print("\nwork")
    show_items(rows, WORK)
    for quota in (*stored, *work):
        if quota["stopped"]:
            say(quota["stopped"])


def _limits(quota: Document) -> Iterator[Document]:
    """A row for each limit of a quota."""
    for limit, used, words in LIMITS:
        if quota[limit] is not None:
            what = f"{words} in {quota['days']} days" if limit == "core_hours" else words
            left = None if quota[used] is None else round(max(0, quota[limit] - quota[used]), 1)
            yield {
                "subject": quota["subject"],
                "what": what,
                "limit": quota[limit],
                "used": None if quota[used] is None else round(quota[used], 1),
                "left": left,
            }


def _subject(text: str) -> str:
    return text if ":" in text else f"user:{text}"


@app.command("set")
def set_(
    subject: Annotated[str, typer.Argument(help="A user, group:NAME, or user:* for each user without one.")],
    storage: Annotated[str | None, typer.Argument(help="Name of the storage, for bytes there.")] = None,
    limit: Annotated[
        str | None, typer.Argument(metavar="LIMIT", help="Most bytes there, as in 500GB; or none.")
    ] = None,
    running: Annotated[str | None, typer.Option(help="Most cores in use at once; or none.")] = None,
    queued: Annotated[str | None, typer.Option(help="Most jobs that wait at queues; or none.")] = None,
    core_hours: Annotated[str | None, typer.Option(help="Most core hours in --days; or none.")] = None,
    days: Annotated[int | None, typer.Option(min=1, max=366, help="Over which core hours count.")] = None,
    reason: Reason = "",
    dry_run: DryRun = False,
) -> None:
    """Limit what the datasets of a user or group may have at a storage, or their work.

    Needs an administrator's token.

    Examples:
      prodchain quota set ada SITE-A-DISK 500GB
      prodchain quota set group:higgs SITE-A-DISK 20TB
      prodchain quota set ada --running 200 --core-hours 50000 --days 30
      prodchain quota set group:higgs --queued none
    """
    work = {"running": running, "queued": queued, "core_hours": core_hours}
    limits: dict[str, Any] = {name: _number(name, text) for name, text in work.items() if text is not None}
    if days is not None:
        limits["days"] = days
    if bool(limits) == bool(storage) or bool(storage) != bool(limit):
        raise Usage(
            "it wants a storage and a limit, or limits of work",
            object=subject,
            hint="as in `SITE-A-DISK 500GB`, or `--running 200`; see --help",
        )
    if storage is None or limit is None:
        with chosen().client("admin") as client:
            order = [lambda dry: client.set_work_quota(_subject(subject), limits, reason, dry_run=dry)]
            carry_out(order, dry_run=dry_run)
        return
    _set_bytes(subject.removeprefix("user:"), storage, limit, dry_run)


def _number(name: str, text: str) -> float | None:
    if text == "none":
        return None
    try:
        return float(text) if name == "core_hours" else int(text)
    except ValueError:
        raise Usage("this is no number", object=text, hint="write a number, or none") from None


def _set_bytes(owner: str, storage: str, limit: str, dry_run: bool) -> None:
    limit_bytes = None if limit == "none" else bytes_of(limit)
    with chosen().client("admin") as client:
        quota = client.set_quota(owner, storage, limit_bytes, dry_run=dry_run)
    said = "would have" if dry_run else "has"
    most = readable(quota["limit_bytes"], Kind.BYTES) if quota["limit_bytes"] is not None else "no limit"
    say(f"{owner} {said} {most} at {storage}, {readable(quota['used_bytes'], Kind.BYTES)} are used")
    if chosen().json:
        show_item(quota, COLUMNS)
