"""``prodchain storage test`` and ``audit``: whether a storage works, and whether it holds what it should."""

from typing import Annotated

import typer

from prodchain.broker.client import Document

from ..errors import FailedWork
from ..options import chosen
from ..output import Column, draw_table, on_terminal, say, show_items, show_json
from ..values import Kind

STEPS = (
    Column("step", "name"),
    Column("ok", lambda step: "ok" if step["ok"] else "FAILED"),
    Column("seconds", "seconds", Kind.SECONDS),
    Column("what", "words"),
)
ODD = (
    Column("sort", "sort"),
    Column("path", "path"),
    Column("bytes there", "there", Kind.NUMBER),
    Column("bytes known", "known", Kind.NUMBER),
)
LONG_S = 24 * 3600.0

Name = Annotated[str, typer.Argument(help="Name of the storage.")]


def test(name: Name) -> None:
    """Try a storage: put, size, checksum, rename, get, list, delete of a small file. Needs an administrator's token.

    Examples:
      prodchain storage test SITE-A-DISK
    """
    with chosen().client("admin") as client:
        answer = client.test_storage(name)
    if chosen().json:
        show_json(answer)
    else:
        show_items(answer["steps"], STEPS)
    if not answer["ok"]:
        bad = answer["steps"][-1]
        raise FailedWork(f"{bad['name']} failed: {bad['words']}", object=f"storage {name}", hint=bad["hint"])


def audit(
    name: Name,
    declare: Annotated[
        bool, typer.Option("--declare", help="Declare lost and wrong copies bad: they are made again.")
    ] = False,
    give_up: Annotated[
        bool, typer.Option("--give-up", help="Delete dark files after a day, unless they are registered.")
    ] = False,
) -> None:
    """Compare a storage's listing with the catalog: dark files, lost ones, and those of another size.

    Without options nothing is changed; exit code 1 says that something was found. Needs an administrator's token.

    Examples:
      prodchain storage audit SITE-A-DISK
      prodchain storage audit SITE-A-DISK --json | jq '.counts'
      prodchain storage audit SITE-A-DISK --declare      # lost copies are made again from good ones
    """
    with chosen().client("admin", timeout_s=LONG_S) as client:
        found = client.audit_storage(name, declare=declare, give_up=give_up)
    if chosen().json:
        show_json(found)
    else:
        _tell(found)
    left = sum(found["counts"].values()) - found["declared_bad"] - found["given_up"]
    if left:
        raise FailedWork(
            f"{left} files at {name} are not what the catalog says",
            object=f"storage {name}",
            hint="dark files whose path is not one of prodchain's are only reported: delete them yourself"
            if give_up and found["counts"]["dark"] > found["given_up"]
            else "--declare makes lost and wrong copies again, --give-up deletes dark files after a day",
        )


def _tell(found: Document) -> None:
    rows = [{"sort": sort, **odd} for sort, files in found["files"].items() for odd in files]
    if on_terminal():
        draw_table(rows, ODD)
    else:
        show_items(rows, ODD)
    counts = ", ".join(f"{number} {sort.replace('_', ' ')}" for sort, number in found["counts"].items())
    say(f"{found['listed']} files listed, {found['registered']} registered: {counts}")
    if found["declared_bad"]:
        say(f"{found['declared_bad']} copies were declared bad")
    if found["given_up"]:
        say(f"{found['given_up']} dark files will be deleted in a day")
