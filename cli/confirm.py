"""Ask before something is stopped."""

import sys

import typer


def has_person() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(what: str, *, yes: bool) -> None:
    """Say what will happen; go on with ``--yes``, with a person's yes, or where there is no person to ask."""
    print(what, file=sys.stderr)
    if not yes and has_person():
        typer.confirm("do it?", abort=True, err=True)
