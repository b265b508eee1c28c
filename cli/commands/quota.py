"""``prodchain quota``: how much of a storage an owner may fill."""

from typing import Annotated

import typer

from ..options import chosen
from ..output import Column, say, show_item, show_items
from ..values import Kind, bytes_of, readable

app = typer.Typer(help="Look at quotas, set them.\n\nExamples:\n  prodchain quota ls --owner ada")

COLUMNS = (
    Column("owner", "owner"),
    Column("storage", "storage"),
    Column("limit", "limit_bytes", Kind.BYTES),
    Column("used", "used_bytes", Kind.BYTES),
    Column("on its way", "moving_bytes", Kind.BYTES),
    Column("left", "left_bytes", Kind.BYTES),
)


@app.command()
def ls(owner: Annotated[str | None, typer.Option(help="Only of this owner.")] = None) -> None:
    """List quotas with what is used and on its way.

    Examples:
      prodchain quota ls
      prodchain quota ls --owner ada
    """
    with chosen().client() as client:
        show_items(client.quotas(owner), COLUMNS)


@app.command("set")
def set_(
    owner: Annotated[str, typer.Argument(help="Whose datasets.")],
    storage: Annotated[str, typer.Argument(help="Name of the storage.")],
    limit: Annotated[str, typer.Argument(metavar="LIMIT", help="Most bytes, as in 500GB; or none.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only say what would be so.")] = False,
) -> None:
    """Limit what the datasets of an owner may have at a storage. Needs an administrator's token.

    Examples:
      prodchain quota set ada SITE-A-DISK 500GB
      prodchain quota set ada SITE-A-DISK none
    """
    limit_bytes = None if limit == "none" else bytes_of(limit)
    with chosen().client("admin") as client:
        quota = client.set_quota(owner, storage, limit_bytes, dry_run=dry_run)
    said = "would have" if dry_run else "has"
    most = readable(quota["limit_bytes"], Kind.BYTES) if quota["limit_bytes"] is not None else "no limit"
    say(f"{owner} {said} {most} at {storage}, {readable(quota['used_bytes'], Kind.BYTES)} are used")
    if chosen().json:
        show_item(quota, COLUMNS)
