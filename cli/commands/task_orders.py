"""Orders for tasks: stopped, paused, ended, tried again, sent elsewhere, changed."""

from collections.abc import Callable
from typing import Annotated

import typer

from prodchain.broker.client import Client, Document

from ..errors import Usage
from ..options import chosen
from ..orders import DryRun, Reason, Yes, carry_out

Ids = Annotated[list[int], typer.Argument(metavar="TASK...", help="Numbers of the tasks.")]


def kill(tasks: Ids, reason: Reason = "", dry_run: DryRun = False, yes: Yes = False) -> None:
    """Stop tasks and their jobs; what is finished stays.

    Examples:
      prodchain task kill 10000001 --reason "wrong geometry"
      prodchain task kill 10000001 10000002 --yes
    """
    _each(Client.kill_task, tasks, reason, dry_run, yes, ask=True)


def pause(tasks: Ids, reason: Reason = "", dry_run: DryRun = False, yes: Yes = False) -> None:
    """Make and place no more jobs of tasks; those that wait at queues go back, those with pilots run on.

    Examples:
      prodchain task pause 10000001 --reason "the release is bad"
    """
    _each(Client.pause_task, tasks, reason, dry_run, yes)


def resume(tasks: Ids, reason: Reason = "", dry_run: DryRun = False, yes: Yes = False) -> None:
    """Let paused tasks go on, and exhausted ones with what is left of their work.

    Examples:
      prodchain task resume 10000001
    """
    _each(Client.resume_task, tasks, reason, dry_run, yes)


def finish(tasks: Ids, reason: Reason = "", dry_run: DryRun = False, yes: Yes = False) -> None:
    """End tasks with what there is: jobs that wait are cancelled, those with pilots run on. `retry` makes the rest.

    Examples:
      prodchain task finish 10000001 --dry-run
    """
    _each(Client.finish_task, tasks, reason, dry_run, yes, ask=True)


def _each(
    order: Callable[..., Document], tasks: list[int], reason: str, dry_run: bool, yes: bool, *, ask: bool = False
) -> None:
    with chosen().client() as client:
        orders = [lambda dry, task=task: order(client, task, reason, dry_run=dry) for task in tasks]
        carry_out(orders, dry_run=dry_run, yes=yes, ask=ask)


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
            lambda dry, task=task: client.retry_task(task, reason, new_inputs=new_inputs, dry_run=dry)
            for task in tasks
        ]
        carry_out(orders, dry_run=dry_run, yes=yes)


def reassign(
    task: Annotated[int, typer.Argument(help="Number of the task.")],
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
        orders = [lambda dry, task=task: client.set_task(task, changes, reason, dry_run=dry) for task in tasks]
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
