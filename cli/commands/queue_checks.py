"""``prodchain queue test``: whether a queue works, tried with one small job and its storage."""

import time
from typing import Annotated

import typer

from prodchain.broker.client import Client, Document

from ..errors import FailedWork, TimedOut
from ..options import chosen
from ..output import say, show_items, show_json
from ..pick import pick
from .storage_checks import STEPS

FINAL = ("done", "finished", "failed", "aborted")
POLL_S = 0.5


def test(
    name: Annotated[str, typer.Argument(help="Name of the queue.")],
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait for the job, and test the storage too.")] = False,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", help="How long to wait.")] = 600.0,
) -> None:
    """Send a queue one small job that writes a file, whatever its status and health. Needs an administrator's token.

    With --wait: a line for the job and one for each step of its storage's test, and exit code 1 if one failed.

    Examples:
      prodchain queue test SITE-A-BATCH
      prodchain queue test SITE-A-BATCH --wait
    """
    with chosen().client("admin") as client:
        task = client.test_queue(name)["task"]
        if not wait:
            if chosen().json:
                show_json({"queue": name, "task": task})
            say(f"task {task} tries {name} out: see `prodchain task show {task}`")
            return
        steps = [_canary(client, name, task, timeout)]
        steps += client.test_storage(pick("queue", name, client.queues())["storage"])["steps"]
    ok = all(step["ok"] for step in steps)
    if chosen().json:
        show_json({"queue": name, "task": task, "ok": ok, "steps": steps})
    else:
        show_items(steps, STEPS)
    if not ok:
        bad = next(step for step in steps if not step["ok"])
        raise FailedWork(f"{bad['name']} failed: {bad['words']}", object=f"queue {name}", hint=bad["hint"])


def _canary(client: Client, name: str, task: int, timeout: float) -> Document:
    """How the job went, as a step of the test."""
    start = time.monotonic()
    while (found := client.task(task))["state"] not in FINAL:
        if time.monotonic() - start > timeout:
            reasons = "; ".join(reason["what"] for reason in client.task_why(task)["reasons"])
            raise TimedOut(
                f"its job has not run within {timeout:g} s: {reasons}",
                object=f"queue {name}",
                hint=f"start a pilot for {name}; the job waits for it: `prodchain task why {task}`",
            )
        time.sleep(POLL_S)
    jobs = client.jobs(task=task)
    failed = found["state"] != "done"
    words = (jobs[0]["error"] if failed and jobs else "") or found["reason"]
    hint = f"prodchain job log {jobs[0]['id']}" if failed and jobs else ""
    return {
        "name": "job",
        "ok": not failed,
        "seconds": round(time.monotonic() - start, 3),
        "words": words,
        "hint": hint,
    }
