"""``prodchain task``: workloads, how far they are, why they wait."""

import json
import tomllib
from pathlib import Path
from typing import Annotated

import typer

from prodchain.broker.client import Document

from ..documents import text_of
from ..errors import Usage
from ..options import chosen
from ..output import Column, say, show_item, show_items, show_json
from ..reasons import At, moment_of, show_decisions, show_why
from ..values import Kind, size, span
from . import task_orders
from .ls import short_name

app = typer.Typer(help="Submit tasks, look at them, steer them.\n\nExamples:\n  prodchain task why 10000001")

Id = Annotated[int, typer.Argument(help="Number of the task.")]


def _events(task: Document) -> str:
    return f"{task['events_done']}/{task['events_total']}"


COLUMNS = (
    Column("id", "id"),
    Column("step", "step"),
    Column("state", "state"),
    Column("events", _events),
    Column("jobs", "jobs"),
    Column("changed", "changed_at", Kind.TIME),
    Column("output", lambda task: short_name(task["output"])),
)
LINES = (
    Column("task", "id"),
    Column("step", "step"),
    Column("state", "state"),
    Column("reason", "reason"),
    Column("by", "actor"),
    Column("owner", "owner"),
    Column("input", "input"),
    Column("output", "output"),
    Column("destination", "destination"),
    Column("events", _events),
    Column("jobs", "jobs"),
    Column("all jobs made", "generated"),
    Column("priority", "priority"),
    Column("run", "run"),
    Column("created", "created_at", Kind.TIME),
    Column("changed", "changed_at", Kind.TIME),
    Column("command", lambda task: " ".join(task["request"].get("command", []))),
)
STORY = (
    Column("at", "at", Kind.TIME),
    Column("job", "job"),
    Column("before", "before"),
    Column("state", "state"),
    Column("by", "actor"),
    Column("reason", "reason"),
)


@app.command()
def ls(
    state: Annotated[str | None, typer.Option(help="Only in this state, as in running.")] = None,
    step: Annotated[str | None, typer.Option(help="Only of this step, as in evgen.")] = None,
    run: Annotated[str | None, typer.Option(help="Only of this run of a chain.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
) -> None:
    """List tasks, newest first.

    Examples:
      prodchain task ls --state running
      prodchain task ls --json | jq '.items[].id'
    """
    with chosen().client() as client:
        show_items(client.tasks(state=state, step=step, run=run, limit=limit), COLUMNS)


@app.command()
def submit(
    file: Annotated[Path, typer.Argument(help="The request, as TOML or JSON.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only say where it would go.")] = False,
) -> None:
    """Submit a task. Repeated, it finds the same task again: its output dataset is the key.

    With --dry-run it says how many jobs there would be, where the first of them would go and why, and what would be
    copied; nothing is done. A request has step, output and command, then input, or events or jobs; and memory_mb,
    walltime_s, sites and so on. How to split work (docs/how-to/split-work.md) has examples.

    Examples:
      prodchain task submit evgen.toml --dry-run
      prodchain task submit evgen.toml --json | jq .id
    """
    request = _request(file)
    with chosen().client() as client:
        if dry_run:
            _show_trial(client.try_task(request))
            return
        task = client.submit_task(request)
    say(f"task {task['id']} makes {task['output']}; `prodchain task why {task['id']}` says how far it is")
    if task["notice"]:
        say(task["notice"])
    if chosen().json:
        show_item(task, LINES)


def _request(file: Path) -> Document:
    text = text_of(file, "a task's request")
    try:
        document: Document = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise Usage(
            f"not a request: {error}", object=str(file), hint="write TOML, or JSON in a file *.json"
        ) from None
    return document


def _show_trial(trial: Document) -> None:
    if chosen().json:
        show_json(trial)
        return
    more = "" if trial["all_jobs"] else " or more"
    print(f"{trial['output']}: {'' if trial['new'] else 'known already, '}{trial['jobs']} jobs{more}")
    for sentence in filter(None, (trial["notice"], trial["waits"])):
        print(sentence)
    for decision in trial["decisions"]:
        if decision["bytes"]:
            told = f"{decision['files']} files, {size(decision['bytes'])} in {span(decision['seconds'])}"
            print(f"{decision['queue']} would get {told}")
    show_decisions(trial["decisions"])
    say("nothing was submitted: this was a dry run")


@app.command()
def show(task: Id) -> None:
    """Show a task.

    Examples:
      prodchain task show 10000001
    """
    with chosen().client() as client:
        show_item(client.task(task), LINES)


@app.command()
def why(task: Id, at: At = None) -> None:
    """Say why a task does not advance, or did not at a time in the past, and what would help.

    Examples:
      prodchain task why 10000001
      prodchain task why 10000001 --at 2h
      prodchain task why 10000001 --json | jq -r .cheapest.command
    """
    asked = moment_of(at)
    with chosen().client() as client:
        show_why(client.task_why(task, asked), asked)


@app.command()
def story(task: Id) -> None:
    """Tell what happened to a task and its jobs, in order: when, what, who and why.

    Examples:
      prodchain task story 10000001
    """
    with chosen().client() as client:
        show_items(client.task_story(task), STORY)


for verb, name in (
    (task_orders.kill, "kill"),
    (task_orders.pause, "pause"),
    (task_orders.resume, "resume"),
    (task_orders.finish, "finish"),
    (task_orders.retry, "retry"),
    (task_orders.reassign, "reassign"),
    (task_orders.set_, "set"),
):
    app.command(name)(verb)
