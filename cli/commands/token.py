"""``prodchain token``: the keys that let users and pilots in."""

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ..errors import NotAllowed, Usage
from ..options import chosen
from ..output import say, show_json
from ..values import Kind, exact

app = typer.Typer(help="Make tokens.\n\nExamples:\n  prodchain token create --subject ada --out ada.token")

DAY_S = 86_400


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


def _reserve(out: Path) -> int:
    """The file's handle before there is a token to lose; never readable by others, never over another token."""
    try:
        return os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise NotAllowed(
            f"cannot write the file: {error.strerror}", object=str(out), hint="name a new file with --out"
        ) from None
