"""``prodchain dataset export``: the catalog taken over by Rucio. Works on the database, where the system runs."""

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import FailedWork, NotFound, Usage
from ..options import chosen
from ..output import say, show_json

if TYPE_CHECKING:
    from prodchain.broker.settings import Settings
    from prodchain.catalog.rucio.export import Report

Pattern = Annotated[str, typer.Argument(help="Only datasets that match, with * and ?.")]


def export(
    pattern: Pattern = "*",
    to_rucio: Annotated[bool, typer.Option("--to-rucio", help="Into the Rucio server of the settings.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count and compare; change nothing.")] = False,
    bookkeeping: Annotated[bool, typer.Option(help="Dispatch and sub-datasets too.")] = False,
    guids: Annotated[bool, typer.Option(help="GUID and events of files, Rucio's slowest part.")] = True,
    rucio_url: Annotated[str | None, typer.Option(help="Another server than that of the settings.")] = None,
    rucio_account: Annotated[str | None, typer.Option(help="Another account than that of the settings.")] = None,
) -> None:
    """Tell Rucio of the catalog: datasets, containers, files and where their copies are. No file moves.

    Run it again after it was killed, or to look for differences: what is there already is only compared. What Rucio
    has otherwise is listed and left alone, and the exit code is 1.

    Examples:
      prodchain dataset export --to-rucio --dry-run
      prodchain dataset export 'mc26*' --to-rucio --rucio-url https://rucio.example.org
    """
    from prodchain.broker.settings import load

    if not to_rucio:
        raise Usage("say where to", object="dataset export", hint="add --to-rucio")
    settings = load(chosen().home, rucio_url=rucio_url, rucio_account=rucio_account)
    if not settings.rucio_url:
        raise Usage("no Rucio server is named", object="rucio_url", hint="set rucio_url, or give --rucio-url URL")
    os.environ["PRODCHAIN_HOME"] = str(settings.home)  # where the credentials are
    report = asyncio.run(_export(settings, pattern, bookkeeping=bookkeeping, guids=guids, dry_run=dry_run))
    _show(report, dry_run=dry_run)


async def _export(settings: "Settings", pattern: str, *, bookkeeping: bool, guids: bool, dry_run: bool) -> "Report":
    from prodchain.broker.database import connect
    from prodchain.catalog.rucio.catalog import RucioCatalog
    from prodchain.catalog.rucio.client import Client
    from prodchain.catalog.rucio.export import Export, everything

    pool = await connect(_database(settings))
    try:
        async with Client(settings.rucio_url, settings.rucio_account) as client:
            work = Export(pool, RucioCatalog(client), guids=guids, dry_run=dry_run)
            for storage in await work.prepare():
                print(f"{'would make' if dry_run else 'made'} an RSE for {storage.name}", file=sys.stderr)
            await everything(pool, work, pattern, bookkeeping, _tell)
            return work.report
    finally:
        await pool.close()


def _database(settings: "Settings") -> str:
    from ..local import postgres

    if settings.database_url:
        return settings.database_url
    data = postgres.data_folder(settings.home)
    if not data.exists():
        raise NotFound("there is no catalog in this home", object=str(settings.home), hint="name it with --home")
    return postgres.start(data).create_database()


def _tell(report: "Report") -> None:
    if sys.stderr.isatty() and not chosen().json:
        print(f"\r{report.seen} datasets, {report.written.files} new files", end="", file=sys.stderr, flush=True)


def _show(report: "Report", *, dry_run: bool) -> None:
    if sys.stderr.isatty() and not chosen().json:
        print(file=sys.stderr)
    made = {
        "seen": report.seen,
        "datasets": report.datasets,
        "containers": report.containers,
        "files": report.written.files,
        "replicas": report.written.replicas,
        "closed": report.closed,
    }
    if chosen().json:
        show_json(made | {"dry_run": dry_run, "differences": [each._asdict() for each in report.differences]})
    else:
        counts = ", ".join(f"{count} {what}" for what, count in made.items() if what != "seen")
        say(f"{report.seen} datasets compared; {'would tell' if dry_run else 'told'} Rucio of {counts}")
        for each in report.differences:
            print(f"{each.object}: {each.words}")
    if report.differences:
        raise FailedWork(
            f"Rucio differs in {len(report.differences)} points, which were left alone",
            object=report.differences[0].object,
            hint="settle them in Rucio or here, then run the export again",
        )
