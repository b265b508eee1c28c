"""``prodchain task``: workloads, how far they are, why they wait."""

import json
import tomllib
from pathlib import Path
from typing import Annotated

import typer

from prodchain.broker.client import Document

from ..confirm import confirm
from ..errors import NotFound, Usage
from ..options import chosen
from ..output import Column, say, show_item, show_items, show_json
from ..reasons import show_decisions, show_why
from ..values import Kind, readable, size, span

app = typer.Typer(help="Submit tasks, look at them, kill and retry them.\n\nExamples:\n  prodchain task why 10000001")

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
def submit(
    file: Annotated[Path, typer.Argument(help="The request, as TOML or JSON.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Only say where it would go.")] = False,
) -> None:
    """Submit a task. Repeated, it finds the same task again: its output dataset is the key.

    With --dry-run it says how many jobs there would be, where the first of them would go and why, and what would be
    copied; nothing is done.

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
    try:
        text = file.read_text()
        document: Document = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except FileNotFoundError:
        raise NotFound("no such file", object=str(file), hint="name a file with a task's request") from None
    except (OSError, ValueError) as error:
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


Ids = Annotated[list[int], typer.Argument(metavar="TASK...", help="Numbers of the tasks.")]


@app.command()
def kill(tasks: Ids, reason: Reason = "", dry_run: DryRun = False, yes: Yes = False) -> None:
    """Stop tasks and their jobs; what is finished stays.

    Examples:
      prodchain task kill 10000001 --reason "wrong geometry"
      prodchain task kill 10000001 10000002 --yes
    """
    with chosen().client() as client:
        orders = [lambda dry, id=task: client.kill_task(id, reason, dry_run=dry) for task in tasks]
        carry_out(orders, dry_run=dry_run, yes=yes, ask=True)


@app.command()
def pause(tasks: Ids, reason: Reason = "", dry_run: DryRun = False, yes: Yes = False) -> None:
    """Make and place no more jobs of tasks; those that wait at queues go back, those with pilots run on.

    Examples:
      prodchain task pause 10000001 --reason "the release is bad"
    """
    with chosen().client() as client:
        orders = [lambda dry, id=task: client.pause_task(id, reason, dry_run=dry) for task in tasks]
        carry_out(orders, dry_run=dry_run, yes=yes)


@app.command()
def resume(tasks: Ids, reason: Reason = "", dry_run: DryRun = False, yes: Yes = False) -> None:
    """Let paused tasks go on, and exhausted ones with what is left of their work.

    Examples:
      prodchain task resume 10000001
    """
    with chosen().client() as client:
        orders = [lambda dry, id=task: client.resume_task(id, reason, dry_run=dry) for task in tasks]
        carry_out(orders, dry_run=dry_run, yes=yes)


@app.command()
def finish(tasks: Ids, reason: Reason = "", dry_run: DryRun = False, yes: Yes = False) -> None:
    """End tasks with what there is: jobs that wait are cancelled, those with pilots run on. `retry` makes the rest.

    Examples:
      prodchain task finish 10000001 --dry-run
    """
    with chosen().client() as client:
        orders = [lambda dry, id=task: client.finish_task(id, reason, dry_run=dry) for task in tasks]
        carry_out(orders, dry_run=dry_run, yes=yes, ask=True)


@app.command()
def retry(
    tasks: Ids,
    new_inputs: Annotated[bool, typer.Option("--new-inputs", help="Also files that joined the input since.")] = False,
    reason: Reason = "",
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Run again what failed or was killed in tasks; what is finished is not redone.

    Examples:
      prodchain task retry 10000001
      prodchain task retry 10000001 --new-inputs
    """
    with chosen().client() as client:
        orders = [
            lambda dry, id=task: client.retry_task(id, reason, new_inputs=new_inputs, dry_run=dry) for task in tasks
        ]
        carry_out(orders, dry_run=dry_run, yes=yes)


@app.command()
def reassign(
    task: Id,
    to: Annotated[
        str | None, typer.Option(help="The only queue or site for it; else as the brokerage decides.")
    ] = None,
    reason: Reason = "",
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Let the brokerage decide anew on a task's jobs that wait at queues.

    Examples:
      prodchain task reassign 10000001
      prodchain task reassign 10000001 --to SITE-B --dry-run
    """
    with chosen().client() as client:
        carry_out([lambda dry: client.reassign_task(task, to, reason, dry_run=dry)], dry_run=dry_run, yes=yes)


@app.command("set")
def set_(
    words: Annotated[
        list[str], typer.Argument(metavar="TASK... KEY=VALUE...", help="Numbers of tasks, and what to change.")
    ],
    reason: Reason = "",
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Change what tasks ask for: of jobs without pilots, and of those to come.

    Keys: priority, cores, memory_mb, walltime_s, scratch_mb, gpus, architecture, software, sites, max_attempts,
    files_per_job, events_per_job, bytes_per_job, target_walltime_s. Lists have commas; none takes a limit away.

    Examples:
      prodchain task set 10000001 priority=2000
      prodchain task set 10000001 10000002 memory_mb=4000 sites=SITE-A,SITE-B --dry-run
    """
    tasks, changes = _assignments(words)
    with chosen().client() as client:
        orders = [lambda dry, id=task: client.set_task(id, changes, reason, dry_run=dry) for task in tasks]
        carry_out(orders, dry_run=dry_run, yes=yes)


LISTS = ("sites", "software")


def _assignments(words: list[str]) -> tuple[list[int], Document]:
    tasks = [int(word) for word in words if word.isdecimal()]
    changes: Document = {}
    for word in words:
        key, equals, value = word.partition("=")
        if equals and key:
            changes[key] = _value(key, value)
        elif not word.isdecimal():
            raise Usage(
                "neither a task nor a change", object=word, hint="write tasks as numbers, changes as KEY=VALUE"
            )
    if not tasks or not changes:
        raise Usage("it wants tasks and changes", object=" ".join(words), hint="as in `10000001 priority=2000`")
    return tasks, changes


def _value(key: str, text: str) -> str | int | list[str] | None:
    if key in LISTS:
        return [] if text in ("", "none") else text.split(",")
    if text == "none":
        return None
    return int(text) if text.isdecimal() else text
