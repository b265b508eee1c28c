"""``prodchain chain``: plan, run, resume and list chains. Prefect is loaded by a command, never by this module."""

import asyncio
import json
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prodchain.broker.client import Document

from .. import errors
from ..options import chosen
from ..output import Column, say, show_item, show_items
from ..values import Kind

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

    from prodchain.flows.load import Chain

app = typer.Typer(
    help="Plan, run and resume chains.\n\nExamples:\n  prodchain chain plan my_chain.py\n"
    "  prodchain chain run my_chain.py -p tag=v2"
)

Reference = Annotated[str, typer.Argument(metavar="CHAIN", help="FILE.py[:name] or module:name.")]
Parameters = Annotated[
    list[str] | None,
    typer.Option("--parameter", "-p", metavar="KEY=VALUE", help="A parameter of the chain; may be repeated."),
]
STEPS = (
    Column("step", "step"),
    Column("jobs", "jobs", Kind.NUMBER),
    Column("merge jobs", "merge_jobs", Kind.NUMBER),
    Column("files", "files", Kind.NUMBER),
    Column("events", "events", Kind.NUMBER),
    Column("output", "output"),
)
RUNS = (
    Column("name", "name"),
    Column("state", "state"),
    Column("started", "started_at", Kind.TIME),
    Column("starts", "starts", Kind.NUMBER),
    Column("by", lambda run: "deployment" if run["deployed"] else "hand"),
    Column("run", "run"),
)
OUTCOME = (Column("run", "run"), Column("name", "name"), Column("state", "state"))


@app.command()
def plan(chain: Reference, parameter: Parameters = None) -> None:
    """Show the steps, jobs and datasets of a chain; nothing is submitted, no server is needed.

    Counts are left out where a step's input is a dataset from elsewhere.

    Examples:
      prodchain chain plan my_chain.py
      prodchain chain plan prodchain.flows.production:zmumu -p events=10000 -p jobs=20
    """
    from prodchain.flows.prefect_server import use_home

    use_home(chosen().home)
    loaded, parameters = _load(chain, parameter)
    steps = _planned(loaded, parameters)
    show_items(steps, STEPS)
    say(f"{len(steps)} steps, {_jobs(steps)}; nothing was submitted")


def _jobs(steps: list[Document]) -> str:
    """How many there are in all, as far as that is known."""
    jobs, merging = [step["jobs"] for step in steps], [step["merge_jobs"] for step in steps]
    if None in jobs + merging:
        return "? jobs"
    more = f", {sum(merging)} of them merge" if sum(merging) else ""
    return f"{sum(jobs) + sum(merging)} jobs{more}"


@app.command()
def run(chain: Reference, parameter: Parameters = None) -> None:
    """Run a chain in this process and follow it to its end.

    If the process ends before the chain does, by Ctrl-C or otherwise, its jobs go on.

    Examples:
      prodchain chain run my_chain.py
      prodchain chain run my_chains.py:zmumu -p tag=v2 -p events=1000
    """
    _use_servers()
    loaded, parameters = _load(chain, parameter)
    _planned(loaded, parameters)  # a mistake in the chain shows before anything is submitted
    from prodchain.flows import runs

    _drive(loaded, runs.create(loaded, parameters))


@app.command()
def resume(run: Annotated[str, typer.Argument(metavar="RUN", help="A flow run, by id or name.")]) -> None:
    """Start a flow run again that was killed or failed: same run, same parameters, same tasks.

    Examples:
      prodchain chain resume zmumu-v1
    """
    _use_servers()
    from prodchain.flows import load, runs

    found = runs.find(run)
    if found.deployment_id is not None:
        _show(runs.set_to_retry(found, "resumed by hand"))
        say("a worker is going to take it")
        return
    chain = load.load(runs.entrypoint_of(found))
    _drive(chain, runs.set_to_retry(found, "resumed by hand"))


@app.command("ls")
def list_runs(limit: Annotated[int, typer.Option(help="How many.", min=1, max=200)] = 20) -> None:
    """List the runs of chains, newest first.

    Examples:
      prodchain chain ls --limit 5
    """
    from prodchain.flows.prefect_server import use_server_of

    use_server_of(chosen().home)
    from prodchain.flows import runs

    show_items([runs.view(found) for found in runs.newest(limit)], RUNS)


def _use_servers() -> None:
    """Settle the addresses of Prefect and the broker before Prefect is imported; fail now if there is no broker."""
    from prodchain.flows.prefect_server import use_server_of

    use_server_of(chosen().home)
    os.environ["PRODCHAIN_HOME"] = str(chosen().home)  # steps find the broker by it
    with chosen().client() as client:
        client.tasks(limit=1)


def _load(reference: str, given: list[str] | None) -> "tuple[Chain, dict[str, Any]]":
    from prodchain.flows import load, runs

    chain = load.load(reference)
    return chain, runs.parameters_of(chain, dict(_parameter(text) for text in given or []))


def _parameter(text: str) -> tuple[str, object]:
    """``key=value``; a value that is JSON is taken as such, any other as text."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise errors.Usage(f"{text!r} is no parameter", object=text, hint="write -p key=value")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _planned(chain: "Chain", parameters: dict[str, Any]) -> list[Document]:
    from prodchain.flows.load import definition_of
    from prodchain.flows.plan import plan as plan_chain

    return [step.view() for step in plan_chain(definition_of(chain), parameters)]


def _drive(chain: "Chain", flow_run: "FlowRun") -> None:
    """Follow the run in this process to its end; what it ends with is the command's end."""
    from prefect.exceptions import TerminationSignal

    from prodchain.flows import runs

    say(f"flow run {flow_run.id}")
    try:
        state = asyncio.run(runs.drive(chain, flow_run))
    except (KeyboardInterrupt, TerminationSignal):
        say(f"detached; its jobs go on, and `prodchain chain resume {flow_run.id}` follows them again")
        raise typer.Exit(errors.INTERRUPTED) from None
    found = runs.find(str(flow_run.id))
    if not state.is_completed():
        raise errors.FailedWork(
            f"chain {found.name}: {state.message or state.name}",
            object=f"flow run {found.id}",
            hint=f"once that is mended: `prodchain chain resume {found.id}`",
        )
    _show(found)


def _show(flow_run: "FlowRun") -> None:
    from prodchain.flows import runs

    show_item(runs.view(flow_run), OUTCOME)
