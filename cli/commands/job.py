"""``prodchain job``: single runs, their logs, why they wait."""

import time
from typing import Annotated

import typer

from prodchain.broker.client import Client

from ..options import chosen
from ..orders import DryRun, Reason, Yes, carry_out
from ..output import Column, show_item, show_items, show_json
from ..reasons import At, moment_of, show_why
from ..values import Kind
from .task import STORY

app = typer.Typer(help="Look at jobs, read their logs, steer them.\n\nExamples:\n  prodchain job log -f 4211")

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
def why(job: Id, at: At = None) -> None:
    """Say why a job waits or is where it is, or was at a time in the past, and what would help.

    Examples:
      prodchain job why 4211
      prodchain job why 4211 --at 2h
      prodchain job why 4211 --json | jq -r .cheapest.command
    """
    asked = moment_of(at)
    with chosen().client() as client:
        show_why(client.job_why(job, asked), asked)


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
def kill(job: Id, reason: Reason = "", dry_run: DryRun = False, yes: Yes = False) -> None:
    """Stop a job.

    Examples:
      prodchain job kill 4211 --yes
    """
    with chosen().client() as client:
        carry_out([lambda dry: client.kill_job(job, reason, dry_run=dry)], dry_run=dry_run, yes=yes, ask=True)


@app.command()
def reassign(
    job: Id,
    to: Annotated[str | None, typer.Option(help="Queue or site where it is to run; else another than now.")] = None,
    reason: Reason = "",
    dry_run: DryRun = False,
) -> None:
    """Let the brokerage decide anew on a job that no pilot has.

    Examples:
      prodchain job reassign 4211 --to SITE-B
    """
    with chosen().client() as client:
        carry_out([lambda dry: client.reassign_job(job, to, reason, dry_run=dry)], dry_run=dry_run)


@app.command()
def priority(
    job: Id,
    priority: Annotated[int, typer.Argument(min=0, help="The higher, the earlier among those of its share.")],
    reason: Reason = "",
    dry_run: DryRun = False,
) -> None:
    """Move a job that no pilot has up or down.

    Examples:
      prodchain job priority 4211 2000
    """
    with chosen().client() as client:
        carry_out([lambda dry: client.set_job_priority(job, priority, reason, dry_run=dry)], dry_run=dry_run)
