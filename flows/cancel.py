"""Cancelling a flow run kills its tasks in the broker. A crash does not: the work goes on and is found again."""

import time
from typing import Any

from prodchain.broker.client import ApiError, Client
from prodchain.tasks.patience import ask, is_outage
from prodchain.tasks.progress import FINAL

PATIENCE_S, PAUSE_S = 30.0, 1.0
"""A worker gives the process of a cancelled run little time, so this cannot wait for long."""


def kill_tasks(run: str) -> list[int]:
    """Kill all unfinished tasks that a flow run submitted; the answer is their ids."""
    give_up = time.monotonic() + PATIENCE_S
    while True:
        try:
            return ask(lambda broker: _kill(broker, run))
        except ApiError as error:
            if not is_outage(error) or time.monotonic() > give_up:
                raise
        time.sleep(PAUSE_S)


def _kill(broker: Client, run: str) -> list[int]:
    unfinished = [task["id"] for task in broker.tasks(run=run, limit=None) if task["state"] not in FINAL]
    for task in unfinished:
        broker.kill_task(task)
    return unfinished


def kill_tasks_of_run(flow: Any, flow_run: Any, state: Any) -> None:
    """The hook. Prefect's worker passes the arguments by these very names."""
    kill_tasks(str(flow_run.id))
