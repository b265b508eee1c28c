"""``prodchain demo``: the whole system, from an empty folder to a plot."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from prodchain.broker.client import Client

from ..errors import INTERRUPTED, FailedWork
from ..local import overview
from ..local.home import Home
from ..options import chosen
from ..output import Column, draw_table, on_terminal, say, show_items, show_json
from ..progress import bar
from ..values import Kind, size
from .ls import short
from .services import tell

DATASETS = (
    Column("dataset", short),
    Column("files", "files", Kind.NUMBER),
    Column("events", "events", Kind.NUMBER),
    Column("bytes", "bytes", Kind.BYTES),
    Column("sites", "sites"),
)


def demo(
    events: Annotated[int, typer.Option(min=4, help="Events to generate.")] = 800,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the system running at the end.")] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare the result, bit by bit, with the same physics in one process.")
    ] = False,
) -> None:
    """Run a whole chain over two sites: generation, simulation, reconstruction, merging; then plot the Z's mass.

    Brings the system up, and stops it at the end if it was not up before. Run again, it finds its datasets.

    Examples:
      prodchain demo
      prodchain demo --events 4000 --keep
      prodchain demo --json --verify --home ./trial
    """
    from ..local.demo import Demo, need_physics
    from ..local.demo_view import watching

    began = time.monotonic()
    need_physics()
    home = Home(chosen().home)
    with running(home, keep, f"prodchain demo --events {events} --home {home.path}"):
        run = Demo(home, Client.from_settings(home.path), events, began)
        with watching() as show:
            run.produce(show)
        files = run.fetch(bar())
        document, histogram = run.result(files)
        if verify:
            say("the same physics in one process, for comparison ...")
            if difference := run.difference(files):
                hint = "the physics must not depend on the split into jobs: report this"
                raise FailedWork(f"the result differs: {difference}", object=str(files[0].parent), hint=hint)
            document["verified"] = True
        show_result(home, document, histogram, keep)


@contextmanager
def running(home: Home, keep: bool, again: str) -> Iterator[None]:
    """The system, for the time of the demo at least; ``again`` is the command that goes on after a Ctrl-C."""
    from ..local.demo import bring_up

    started = bring_up(home, tell)
    try:
        yield
    except KeyboardInterrupt:
        say(f"interrupted; nothing is lost: `{again}` goes on here")
        raise typer.Exit(INTERRUPTED) from None
    finally:
        if started and not keep:
            overview.stop_all(home)


def show_result(home: Home, document: dict[str, Any], histogram: list[str], keep: bool) -> None:
    if chosen().json:
        return show_json(document)
    if on_terminal():
        draw_table(document["datasets"], DATASETS)
    else:
        show_items(document["datasets"], DATASETS)
    moved = f"{size(document['bytes_moved'])} moved between sites, dispatch datasets: {document['dispatch_datasets']}"
    say("\n".join(["", *histogram, "", f"median {document['median_mass']:.2f} GeV, {moved}"]))
    say(f"plot     {document['plot']}")
    where = f" --home {home.path}"
    say(f"fetch    prodchain get {short(document['datasets'][-1])}{where}")
    for name, link in overview.links(home).items():
        say(f"{name:<8} {link}")
    if not keep:
        say(f"what was started stops now; `prodchain up{where}` brings it back, links included")
    say(f"{document['wall_s']} s" + (", verified: identical to one process" if document.get("verified") else ""))
    return None
