"""``prodchain token``: the keys that let users and pilots in."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..errors import NotAllowed, Usage
from ..options import chosen
from ..orders import DryRun, Reason, Yes, carry_out
from ..output import Column, say, show_items, show_json
from ..values import Kind, exact

app = typer.Typer(
    help="Make tokens, withdraw them.\n\nExamples:\n  prodchain token create --subject ada --out ada.token"
)

DAY_S = 86_400
COLUMNS = (
    Column("token", "id"),
    Column("kind", "kind"),
    Column("of", "subject"),
    Column("queue", "queue"),
    Column("made", "created_at", Kind.TIME),
    Column("good until", "expires_at", Kind.TIME),
)


class TokenKind(StrEnum):
    USER = "user"
    PILOT = "pilot"
    ADMIN = "admin"


@app.command()
def create(
    subject: Annotated[str, typer.Option(help="Whose token it is; owner of what is made with it.")],
    kind: Annotated[TokenKind, typer.Option(help="What it allows.")] = TokenKind.USER,
    queue: Annotated[str | None, typer.Option(help="For a pilot: the only queue it may serve.")] = None,
    days: Annotated[int, typer.Option(min=1, help="How long it is good for.")] = 30,
    out: Annotated[Path | None, typer.Option(help="File to write it to, readable by you only.")] = None,
) -> None:
    """Make a token. Needs an administrator's token; the new one is shown once and cannot be shown again.

    Examples:
      prodchain token create --subject ada --out ada.token
      prodchain token create --kind pilot --subject slurm --queue SITE-B-BATCH > pilot.token
    """
    if (kind is TokenKind.PILOT) != (queue is not None):
        raise Usage("a pilot's token needs --queue, and no other has one", object=kind, hint="see --help")
    handle = _reserve(out) if out else None
    try:
        with chosen().client("admin") as client:
            made = client.create_token(kind, subject, days * DAY_S, queue)
    except BaseException:
        if out:
            out.unlink()
        raise
    if handle is not None:
        with os.fdopen(handle, "w") as file:
            file.write(made["token"] + "\n")
    if chosen().json:
        show_json(made)
    elif out is None:
        print(made["token"])
    say(f"{kind} token of {subject}, good until {exact(made['expires_at'], Kind.TIME)}")


@app.command()
def ls(subject: Annotated[str | None, typer.Option(help="Only of this user or program.")] = None) -> None:
    """List tokens that are good now, the newest first. Needs an administrator's token.

    Examples:
      prodchain token ls --subject ada
    """
    with chosen().client("admin") as client:
        show_items(client.tokens(subject), COLUMNS)


@app.command()
def revoke(
    token: Annotated[str, typer.Argument(help="As `token ls` names it.")],
    reason: Reason = "",
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Withdraw a token: within seconds it opens nothing any more. Needs an administrator's token.

    Examples:
      prodchain token revoke 3f9a0c11d2e4 --reason "it was in a log"
    """
    with chosen().client("admin") as client:
        carry_out([lambda dry: client.revoke_token(token, reason, dry_run=dry)], dry_run=dry_run, yes=yes, ask=True)


def _reserve(out: Path) -> int:
    """The file's handle before there is a token to lose; never readable by others, never over another token."""
    try:
        return os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise NotAllowed(
            f"cannot write the file: {error.strerror}", object=str(out), hint="name a new file with --out"
        ) from None
