"""Commands that change datasets: made, filled, closed, given another version or lifetime, deleted, brought back."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from prodchain.broker.client import Document

from ..confirm import confirm
from ..errors import Usage
from ..options import chosen
from ..output import Column, say, show_item
from ..values import Kind, readable, size, time_after

Name = Annotated[str, typer.Argument(help="Name, or scope:name; NAME@2 is the second version.")]
DryRun = Annotated[bool, typer.Option("--dry-run", "-n", help="Only say what would happen.")]

LINES = (
    Column("did", "did"),
    Column("kind", "kind"),
    Column("state", "state"),
    Column("owner", "owner"),
    Column("files", "files", Kind.NUMBER),
    Column("bytes", "bytes", Kind.BYTES),
    Column("expires", "expires_at", Kind.TIME),
    Column("deleted", "deleted_at", Kind.TIME),
)


def create(
    name: Annotated[str, typer.Argument(help="Name, or scope:name.")],
    kind: Annotated[str, typer.Option(help="Kind: user, production, log, container.")] = "user",
    lifetime: Annotated[str | None, typer.Option(help="Time after which it is deleted, as in 30d.")] = None,
    meta: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="A remark; may be repeated.")] = None,
) -> None:
    """Make an open, empty dataset, or with --kind container one that holds datasets.

    Making it again with the same kind and owner changes nothing.

    Examples:
      prodchain dataset create user.ada.zmumu.NTUP.v1 --lifetime 90d
      prodchain dataset create mc26_13p6TeV.Zmumu.all --kind container --meta physics=Zmumu
    """
    remarks = dict(remark(each) for each in meta or [])
    expires_at = time_after(lifetime, datetime.now(UTC)) if lifetime else None
    with chosen().client() as client:
        _tell(client.create_dataset(name, kind, expires_at=expires_at, meta=remarks or None), "is there, {state}")


def add(
    name: Name,
    members: Annotated[list[str], typer.Argument(metavar="MEMBERS...", help="Names of files; of datasets.")],
    dry_run: DryRun = False,
) -> None:
    """Let known files join an open dataset, or datasets join a container. Members may join again.

    Files of your machine join with `prodchain put`.

    Examples:
      prodchain dataset add user.ada.best.AOD.v1 mc26.700001.Z.reco.AOD.v1._000007.root.1
      prodchain dataset add mc26_13p6TeV.Zmumu.all mc26_13p6TeV.700001.Zmumu.merge.AOD.v1
    """
    with chosen().client() as client:
        kind = client.dataset(name)["kind"]
        what = {"datasets": members} if kind == "container" else {"files": members}
        said = f"{'would have' if dry_run else 'has'} {{files}} files"
        _tell(client.add_to_dataset(name, **what, dry_run=dry_run), said)


def close(name: Name, dry_run: DryRun = False) -> None:
    """Close a dataset: its content never changes again. Closing a closed one changes nothing.

    Examples:
      prodchain dataset close user.ada.zmumu.AOD.v3
    """
    with chosen().client() as client:
        said = f"{'would be' if dry_run else 'is'} closed with {{files}} files"
        _tell(client.close_dataset(name, dry_run=dry_run), said)


def reopen(name: Name, dry_run: DryRun = False) -> None:
    """Make an open version of a closed dataset, with the same files; the closed one stays as NAME@1, NAME@2 ...

    Examples:
      prodchain dataset reopen-as-new-version user.ada.zmumu.AOD.v3
    """
    with chosen().client() as client:
        said = f"{'would be' if dry_run else 'is'} open as version {{version}} with {{files}} files"
        _tell(client.new_version(name, dry_run=dry_run), said)


def lifetime(
    name: Name,
    time: Annotated[str, typer.Argument(metavar="TIME", help="From now, as in 30d; or never.")],
    dry_run: DryRun = False,
) -> None:
    """Say after which time a dataset deletes itself.

    Examples:
      prodchain dataset lifetime user.ada.zmumu.AOD.v3 30d
      prodchain dataset lifetime user.ada.zmumu.AOD.v3 never
    """
    expires_at = None if time == "never" else time_after(time, datetime.now(UTC))
    with chosen().client() as client:
        dataset = client.set_lifetime(name, expires_at, dry_run=dry_run)
    ends = dataset["expires_at"]
    words = f"expires {readable(ends, Kind.TIME)}, at {ends}" if ends else "does not expire"
    _tell(dataset, f"would be so: it {words}" if dry_run else words)


def rm(
    names: Annotated[list[str], typer.Argument(metavar="NAMES...", help="Names of datasets.")],
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete datasets: hidden at once, their files let go after a time of grace; until then `undelete` helps.

    Refused while a task, a subscription or a container needs it: the refusal names who.

    Examples:
      prodchain dataset rm user.ada.zmumu.AOD.v3 --dry-run
      prodchain dataset rm user.ada.zmumu.AOD.v1 user.ada.zmumu.AOD.v2 --yes
    """
    with chosen().client() as client:
        doomed = [client.delete_dataset(name, dry_run=True) for name in names]
        what = "; ".join(f"{each['did']} ({each['files']} files, {size(each['bytes'])})" for each in doomed)
        if dry_run:
            say(f"would delete {what}")
        else:
            confirm(f"delete {what}", yes=yes)
            doomed = [client.delete_dataset(name) for name in names]
            for each in doomed:
                until = f"until {each['purge_at']} `prodchain dataset undelete {each['did']}` brings it back"
                say(f"{each['did']} is deleted" + (f"; {until}" if each["purge_at"] else ""))
    if chosen().json:
        show_item({"items": doomed}, ())


def undelete(name: Name, dry_run: DryRun = False) -> None:
    """Bring a deleted dataset back, as long as its time of grace lasts.

    Examples:
      prodchain dataset undelete user.ada.zmumu.AOD.v3
    """
    with chosen().client() as client:
        said = f"{'would be' if dry_run else 'is'} back with {{files}} files"
        _tell(client.undelete_dataset(name, dry_run=dry_run), said)


def bad(
    name: Name,
    files: Annotated[list[str], typer.Argument(metavar="FILES...", help="Names of files of the dataset.")],
    at: Annotated[str, typer.Option(metavar="STORAGE", help="Storage with the damaged copies.")],
    reason: Annotated[str, typer.Option(help="What is wrong with them.")] = "declared bad",
    dry_run: DryRun = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Declare copies bad: they are replaced from good ones; a file without another copy is lost.

    `prodchain dataset verify NAME --declare` finds and declares them by itself.

    Examples:
      prodchain dataset bad NAME NAME._000007.root.1 --at SITE-A-DISK --reason 'disk died' --yes
    """
    with chosen().client() as client:
        if not dry_run:
            confirm(f"declare the copies of {', '.join(files)} at {at} bad", yes=yes)
        answer = client.declare_bad(name, at, files, reason, dry_run=dry_run)
    for each in answer["items"]:
        state = f"would be {each['state']}" if dry_run else each["state"]
        say(f"{each['file']} at {each['storage']}: {state}")
    if chosen().json:
        show_item(answer, ())


def _tell(dataset: Document, words: str) -> None:
    say(f"{dataset['did']} {words.format_map(dataset)}")
    if chosen().json:
        show_item(dataset, LINES)


def remark(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise Usage("this is no remark", object=text, hint="write it as KEY=VALUE")
    return key, value
