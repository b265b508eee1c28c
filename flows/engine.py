"""The one place that uses a call of Prefect's that it does not promise to keep.

``prefect.task_engine.run_task_async`` is what Prefect's own task runners call. It is used since nothing public
runs a task with a given id and with edges to tasks that still run: a future as a parameter means "wait for it",
and steps of a chain must run side by side. tests/flows/test_edges.py says what must hold.
"""

import asyncio
from typing import Any
from uuid import UUID, uuid5

from prefect.client.schemas.objects import TaskRunResult
from prefect.task_engine import run_task_async

from prodchain.tasks.dataset import Dataset, View
from prodchain.tasks.produce import produce


def task_run_id(flow_run: UUID, output: str) -> UUID:
    """The same dataset of the same flow run is the same task run, also after the process was killed."""
    return uuid5(flow_run, output)


def start(flow_run: UUID, request: dict[str, Any], source: Dataset | None) -> Dataset:
    """Start following a step in the background of the running event loop."""
    run_id = task_run_id(flow_run, request["output"])
    parents = {TaskRunResult(id=source.run_id)} if source is not None and source.run_id else set()
    following: asyncio.Task[View] = asyncio.get_running_loop().create_task(
        _follow(run_id, {"step": request["step"], "request": request, "source": source}, parents)
    )
    return Dataset(request["output"], request["step"], following, run_id)


async def _follow(run_id: UUID, parameters: dict[str, Any], parents: set[TaskRunResult]) -> View:
    view: Any = await run_task_async(
        produce,
        task_run_id=run_id,
        parameters=parameters,
        dependencies={"source": set(parents)} if parents else None,
    )
    return dict(view)
