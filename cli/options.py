"""The options that every command takes, before or after its name: ``--home`` and ``--json``.

They are hung on each command when it is loaded, so no command has to declare them and none can forget them;
a command asks ``chosen()``.
"""

import re
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from prodchain.broker.client import Client, default_home


@dataclass
class Chosen:
    """What the user chose for this run of the program."""

    home: Path
    json: bool = False

    def client(self, role: str = "user", *, timeout_s: float = 30) -> Client:
        """The broker of this home; ``role`` "admin" takes the administrator's token."""
        return Client.from_settings(self.home, role=role, timeout_s=timeout_s)


_chosen: ContextVar[Chosen] = ContextVar("chosen")


def start() -> Chosen:
    """Forget what an earlier run in this process chose."""
    fresh = Chosen(home=default_home())
    _chosen.set(fresh)
    return fresh


def chosen() -> Chosen:
    """What the user chose; defaults outside of a run."""
    return _chosen.get(None) or start()


def _take_home(home: Path | None) -> None:
    if home is not None:
        chosen().home = home.expanduser().absolute()


def _take_json(as_json: bool) -> None:
    if as_json:
        chosen().json = True


def _probe(
    home: Annotated[
        Path | None,
        typer.Option(
            "--home",
            metavar="DIR",
            help="Home directory of the system. Default: PRODCHAIN_HOME, or your data home.",
            callback=_take_home,
            expose_value=False,
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON document.", callback=_take_json, expose_value=False),
    ] = False,
) -> None:
    """Not run: its two options are what other commands get."""


def _common() -> list[Any]:
    app = typer.Typer(add_completion=False)
    app.command()(_probe)
    return typer.main.get_command(app).params


def prepare(command: Any) -> Any:
    """Make the command, and if it is a group all below it, one of ours: common options, plain help with examples."""
    taken = {name for parameter in command.params for name in parameter.opts}
    command.params += [option for option in _common() if not taken & set(option.opts)]
    command.rich_markup_mode = None  # plain help: starts faster, and a pipe gets no boxes
    command.no_args_is_help = False  # a missing command is an error like any other
    command.short_help = _in_a_list(command.help)
    command.help = _keep_lines(command.help)
    for below in _below(command):
        prepare(below)
    return command


def _in_a_list(text: str | None) -> str:
    """What a list of commands says: the first sentence up to where it goes into details, never cut in mid-word."""
    summary = " ".join((text or "").partition("\n\n")[0].split())
    return re.split(r"[.;:](?: |$)", summary, maxsplit=1)[0] + "."


def _keep_lines(text: str | None) -> str | None:
    """Mark paragraphs with indented lines, as examples are, so that help does not fill them."""
    paragraphs = (text or "").split("\n\n")
    return "\n\n".join("\b\n" + each if "\n " in each else each for each in paragraphs) or None


def _below(command: Any) -> Iterable[Any]:
    return command.commands.values() if isinstance(command, TyperGroup) else ()
