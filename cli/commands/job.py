"""``prodchain job``: single runs, their logs, why they wait."""

import time
from typing import Annotated

import typer

from prodchain.broker.client import Client, Document

from ..confirm import confirm
from ..options import chosen
from ..output import Column, say, show_item, show_items, show_json
from ..reasons import show_why
from ..values import Kind
from .task import STORY

app = typer.Typer(help="Look at jobs, read their logs, kill them.\n\nExamples:\n  prodchain job log -f 4211")

Id = Annotated[int, typer.Argument(help="Number of the job.")]

FINAL = ("finished", "failed", "cancelled", "closed")
POLL_S = 1.0

COLUMNS = (
    Column("id", "id"),
    Column("task", "task"),
    Column("step", "step"),
    Column("number", lambda job: f"{job['number']}.{job['attempt']}"),
    Column("state", "state"),
    Column("queue", "queue"),
    Column("events", "events", Kind.NUMBER),
    Column("changed", "changed_at", Kind.TIME),
    Column("reason", lambda job: job["error"] or job["reason"]),
)
LINES = (
    Column("job", "id"),
    Column("task", "task"),
    Column("step", "step"),
    Column("number", "number"),
    Column("attempt", "attempt"),
    Column("state", "state"),
    Column("reason", "reason"),
    Column("by", "actor"),
    Column("error", "error"),
    Column("exit code", "exit_code"),
    Column("queue", "queue"),
    Column("site", "site"),
    Column("chosen because", lambda job: (job["assignment"] or {}).get("reason")),
    Column("pilot", "pilot"),
    Column("priority", "priority"),
    Column("events", "events", Kind.NUMBER),
    Column("inputs", "inputs"),
    Column("outputs", "outputs"),
    Column("created", "created_at", Kind.TIME),
    Column("changed", "changed_at", Kind.TIME),
    Column("command", lambda job: " ".join(job["command"] or [])),
    Column("metrics", "metrics"),
)


@app.command()
def ls(
    task: Annotated[int | None, typer.Option(help="Only of this task.")] = None,
    state: Annotated[str | None, typer.Option(help="Only in this state, as in failed.")] = None,
    queue: Annotated[str | None, typer.Option(help="Only at this queue.")] = None,
    site: Annotated[str | None, typer.Option(help="Only at this site.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
) -> None:
    """List jobs, newest first.

    Examples:
      prodchain job ls --task 10000001 --state failed
      prodchain job ls --state failed | cut -f1 | xargs -n1 prodchain job log
    """
    with chosen().client() as client:
        show_items(client.jobs(task=task, state=state, queue=queue, site=site, limit=limit), COLUMNS)


@app.command()
def show(job: Id) -> None:
    """Show a job.

    Examples:
      prodchain job show 4211
    """
    with chosen().client() as client:
        show_item(client.job(job), LINES)


@app.command()
def why(job: Id) -> None:
    """Say why a job waits or where it went, what each queue lacks, and what would help.

    Examples:
      prodchain job why 4211
    """
    with chosen().client() as client:
        show_why(client.job_why(job))


@app.command()
def story(job: Id) -> None:
    """Tell what happened to a job, in order: when, what, who and why.

    Examples:
      prodchain job story 4211
    """
    with chosen().client() as client:
        show_items(client.job_story(job), STORY)


@app.command()
def log(
    job: Id,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the job has ended.")] = False,
) -> None:
    """Print a job's log; with -f, as it is written.

    Examples:
      prodchain job log 4211
      prodchain job log -f 4211
    """
    with chosen().client() as client:
        if chosen().json:
            show_json({"job": job, "log": client.job_log(job)})
        else:
            _print_log(client, job, follow)


def _print_log(client: Client, job: int, follow: bool) -> None:
    start = 0
    while True:
        # The state first: what the log has after the end was seen is all there is.
        ended = not follow or client.job(job)["state"] in FINAL
        text = client.job_log(job, start)
        start += len(text)
        print(text, end="", flush=True)
        if ended:
            return
        time.sleep(POLL_S)


@app.command()
def kill(job: Id, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Stop a job.

    Examples:
      prodchain job kill 4211 --yes
    """
    with chosen().client() as client:
        now = client.job(job)
        where = f" at {now['queue']}" if now["queue"] else ""
        confirm(f"kill job {job} ({now['step']} number {now['number']}, {now['state']}{where})", yes=yes)
        _tell(client.kill_job(job))


def _tell(job: Document) -> None:
    say(f"job {job['id']} is {job['state']}: {job['reason']}")
    if chosen().json:
        show_item(job, LINES)
