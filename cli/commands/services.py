"""``prodchain up``, ``down``, ``status``: the system on this machine."""

import time
from typing import Annotated, Any

import typer

from ..errors import FAILED
from ..local import overview
from ..local.home import Home
from ..local.supervisor import NAME, AlreadyRuns, Change
from ..options import chosen
from ..output import Column, on_terminal, say, show_item, show_items, show_json
from ..values import Kind

PROCESSES = (
    Column("process", "name"),
    Column("state", "state"),
    Column("pid", "pid"),
    Column("port", "port"),
    Column("up", "uptime_s", Kind.SECONDS),
    Column("restarts", "restarts"),
    Column("log", "log"),
)
LINKS = (Column("monitor", "monitor"), Column("prefect", "prefect"), Column("home", "home"))
Port = Annotated[int | None, typer.Option(min=1, max=65535, help="Port of the server. Default: a free one, kept.")]
PrefectPort = Annotated[
    int | None, typer.Option(min=1, max=65535, help="Port of the Prefect server. Default: a free one, kept.")
]


def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when all is up; it goes on.")] = False,
    port: Port = None,
    prefect_port: PrefectPort = None,
) -> None:
    """Start the system on this machine: database, server, agents, Prefect, pilots.

    Programs that die are started again. Ctrl-C, or `prodchain down`, stops them all; nothing is lost.

    Examples:
      prodchain up --detach
      prodchain up --port 8080 --home ./trial
    """
    from ..local import supervise

    home = Home(chosen().home)
    flags = {name: value for name, value in (("port", port), ("prefect_port", prefect_port)) if value}
    began = time.monotonic()

    def ready() -> None:
        show_up(home)
        say(f"up after {time.monotonic() - began:.1f} s" + ("" if detach else "; Ctrl-C stops it"))

    try:
        if detach:
            supervise.detach(home, flags, tell)
            ready()
        else:
            supervise.supervise(home, flags, tell, ready)
            say("stopped")
    except AlreadyRuns:
        say(f"prodchain already runs in {home.path}; `prodchain down` stops it")
        show_up(home)


def tell(change: Change) -> None:
    say(f"{change.after_s:6.1f} s  {change.name:<24} {change.state}  {change.problem}".rstrip())


def show_up(home: Home) -> None:
    document = overview.overview(home)
    if chosen().json:
        show_json(document)
    else:
        show_item(document["links"] | {"home": document["home"]}, LINKS)


def down() -> None:
    """Stop the system on this machine, in reverse order of its start.

    Data stay; `prodchain up` goes on where it stopped.

    Examples:
      prodchain down
    """
    home = Home(chosen().home)
    stopped = overview.stop_all(home)
    if chosen().json:
        show_json({"home": str(home.path), "stopped": stopped})
    else:
        say(f"stopped {', '.join(stopped)}" if stopped else f"nothing runs in {home.path}")


def status() -> int:
    """Show what runs and whether it is healthy. The exit code is 0 only if all is.

    Examples:
      prodchain status
      prodchain status --json | jq .healthy
    """
    document: dict[str, Any] = overview.overview(Home(chosen().home))
    if chosen().json:
        show_json(document)
    else:
        show_items(document["processes"], PROCESSES)
        if on_terminal() and document["links"]:
            show_item(document["links"], LINKS)
    if not document["running"]:
        alone = [each["name"] for each in document["processes"] if each["state"] != "dead" and each["name"] != NAME]
        left = f"; without a supervisor run {', '.join(alone)}" if alone else ""
        say(f"not running in {document['home']}{left}; `prodchain up` starts it")
    return 0 if document["healthy"] else FAILED
