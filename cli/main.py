"""The program ``prodchain``: loads the one command that is asked for and turns errors into exit codes."""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from . import errors
from .options import chosen, prepare, start


class Entry(NamedTuple):
    """Where a command lives (``app`` for a group of commands), and its line in the list of commands."""

    module: str
    name: str
    help: str


COMMANDS = {
    "demo": Entry("demo", "demo", "Run a whole chain over two sites, from an empty folder to a plot."),
    "up": Entry("services", "up", "Start the system on this machine."),
    "down": Entry("services", "down", "Stop the system on this machine."),
    "status": Entry("services", "status", "Show what runs and whether it is healthy."),
    "ls": Entry("ls", "ls", "List datasets."),
    "get": Entry("get", "get", "Copy a dataset's files here."),
    "put": Entry("put", "put", "Copy files into a dataset."),
    "dataset": Entry("dataset", "app", "Look at datasets, make, change and delete them."),
    "subscription": Entry("subscription", "app", "Look at wishes for copies, end them."),
    "transfer": Entry("transfer", "app", "Look at copies on their way."),
    "quota": Entry("quota", "app", "Look at quotas, set them."),
    "storage": Entry("storage", "app", "Look at storages, test and audit them."),
    "chain": Entry("chain", "app", "Run chains, resume them."),
    "task": Entry("task", "app", "Submit tasks, look at them, steer them."),
    "job": Entry("job", "app", "Look at jobs, read their logs, steer them."),
    "retry": Entry("retry", "app", "Look at the rules for failed jobs, try and change them."),
    "site": Entry("site", "app", "Look at sites, change them."),
    "brokerage": Entry("brokerage", "app", "Look at decisions of the brokerage again."),
    "queue": Entry("queue", "app", "Look at queues, drain them."),
    "share": Entry("share", "app", "Look at shares, change them."),
    "group": Entry("group", "app", "Look at working groups, change who is in them."),
    "journal": Entry("journal", "journal", "List what people ordered."),
    "pilot": Entry("pilot", "app", "Look at pilots."),
    "token": Entry("token", "app", "Make tokens, withdraw them."),
    "config": Entry("config", "app", "Look at the settings."),
}


class LazyGroup(TyperGroup):
    """Lists all commands without importing any; imports the one that runs."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        return name, load(name) if name else command, rest


def load(name: str) -> Any:
    """The command itself, with the options that every command takes."""
    entry = COMMANDS[name]
    found = getattr(import_module(f".commands.{entry.module}", __package__), entry.name)
    if isinstance(found, typer.Typer):
        command: Any = typer.main.get_group(found)
    else:
        app = typer.Typer(add_completion=False)
        app.command(name)(found)
        command = typer.main.get_command(app)
    command.name = name
    return prepare(command)


def program() -> Any:
    """The whole program as a command; its commands are stubs until they run."""
    app = typer.Typer(cls=LazyGroup)
    app.callback(invoke_without_command=True)(_root)
    group: Any = prepare(typer.main.get_command(app))
    for name, entry in COMMANDS.items():
        group.add_command(TyperCommand(name, help=entry.help, short_help=entry.help))
    return group


def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Production of physics Monte-Carlo chains.

    Examples:
      prodchain demo                     the whole system in a minute
      prodchain ls 'mc26*AOD*'           datasets by pattern
      prodchain get NAME                 a dataset's files, into ./NAME
      prodchain task why 10000001        why a task does not advance

    Tables on a terminal, tab-separated lines in a pipe, one JSON document with --json.

    Exit codes: 0 ok, 1 failed work, 2 usage, 3 not found, 4 not allowed, 5 server unreachable, 6 timed out.
    """
    if version:
        from importlib.metadata import version as installed

        print(installed("prodchain"))
    elif context.invoked_subcommand is None:
        print(context.get_help())


def main(args: Sequence[str] | None = None) -> int:
    """Run one command line; the answer is the exit code."""
    start()
    try:
        code = program().main(args, prog_name="prodchain", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        asked = "--json" in (sys.argv[1:] if args is None else args)  # the mistake may stand before it
        return errors.report(_usage(error), as_json=asked)
    except typer.Abort:
        print("nothing was changed", file=sys.stderr)
        return errors.FAILED
    except Exception as error:
        return errors.report(error, as_json=chosen().json)
    return code if isinstance(code, int) else errors.OK


def _usage(error: Any) -> errors.Usage:
    path = error.ctx.command_path if getattr(error, "ctx", None) else "prodchain"
    return errors.Usage(error.format_message(), object=path, hint=f"`{path} --help` shows how it is used")


if __name__ == "__main__":
    sys.exit(main())
