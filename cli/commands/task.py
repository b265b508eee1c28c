"""``prodchain task``: workloads, how far they are, why they wait."""

from typing import Annotated

import typer

from prodchain.broker.client import Document

from ..confirm import confirm
from ..options import chosen
from ..output import Column, say, show_item, show_items
from ..reasons import show_why
from ..values import Kind, readable

app = typer.Typer(help="Look at tasks, kill and retry them.\n\nExamples:\n  prodchain task why 10000001")

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
    Column("output", "output"),
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
def show(task: Id) -> None:
    """Show a task.

    Examples:
      prodchain task show 10000001
    """
    with chosen().client() as client:
        show_item(client.task(task), LINES)


@app.command()
def why(task: Id) -> None:
    """Say why a task does not advance, what each queue lacks, and what would help.

    Examples:
      prodchain task why 10000001
    """
    with chosen().client() as client:
        show_why(client.task_why(task))


@app.command()
def story(task: Id) -> None:
    """Tell what happened to a task and its jobs, in order: when, what, who and why.

    Examples:
      prodchain task story 10000001
    """
    with chosen().client() as client:
        show_items(client.task_story(task), STORY)


@app.command()
def kill(task: Id, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Stop a task and its jobs; what is finished stays.

    Examples:
      prodchain task kill 10000001
      prodchain task kill 10000001 --yes
    """
    with chosen().client() as client:
        now = client.task(task)
        what = f"task {task} ({now['step']}, {now['state']}) makes {now['output']}"
        confirm(f"kill {what}; its jobs: {readable(now['jobs'])}", yes=yes)
        _tell(client.kill_task(task))


@app.command()
def retry(task: Id) -> None:
    """Run again what failed or was killed in a task; what is finished is not redone.

    Examples:
      prodchain task retry 10000001
    """
    with chosen().client() as client:
        _tell(client.retry_task(task))


def _tell(task: Document) -> None:
    say(f"task {task['id']} is {task['state']}: {task['reason']}")
    if chosen().json:
        show_item(task, LINES)
