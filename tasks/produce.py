"""The one Prefect task: hands a step's work to the broker and follows it to its end.

Nothing of value lives here. The broker takes a second submission of the same output dataset as the first one,
so a step that is killed and run again attaches to the same work.
"""

import asyncio
from typing import Any

from prefect import get_run_logger, runtime, task
from prefect.cache_policies import NO_CACHE

from prodchain.broker.client import ApiError

from .artifacts import Artifacts
from .dataset import Dataset, View
from .errors import StepError, UpstreamFailed
from .outcome import failure
from .patience import Log, ask_patiently, is_outage
from .progress import FINAL
from .watch import Watch

SHORTEST_POLL_S, LONGEST_POLL_S = 0.5, 8.0
"""A step asks often while things change and seldom while they do not."""


async def _worth_a_retry(task: object, task_run: object, state: Any) -> bool:
    """Failed work and refusals stay so; anything else (a defect, a lost connection) gets another try."""
    try:
        await state.aresult()
    except StepError:
        return False
    except ApiError as error:
        return is_outage(error) or error.status >= 500
    except Exception:
        return True
    return False


def _raise_if_failed(source: Dataset | None) -> None:
    if source is not None and source.failure is not None:
        raise UpstreamFailed(
            f"step {source.step}, which makes the input, failed",
            object=source.did,
            hint="jobs that have their input go on; once that step is well, resume the chain",
        )


async def follow(request: dict[str, Any], source: Dataset | None, watch: Watch, log: Log) -> View:
    """Submit, and wait for the end of the work; the answer is the view of a task that is done."""
    view, url = await _submit(request, source, watch, log)
    task_id = view["id"]
    log.info("task %s makes %s", task_id, view["output"])
    artifacts = Artifacts(url, log)
    await artifacts.show(view)
    pause = SHORTEST_POLL_S
    while view["state"] not in FINAL:
        await watch.check()
        _raise_if_failed(source)
        await asyncio.sleep(pause)
        before, view = view, await ask_patiently(lambda broker: broker.task(task_id), watch.check, log)
        pause = SHORTEST_POLL_S if view != before else min(1.5 * pause, LONGEST_POLL_S)
        if view != before:
            await artifacts.show(view)
    if error := failure(view):
        raise error
    return view


async def _submit(request: dict[str, Any], source: Dataset | None, watch: Watch, log: Log) -> tuple[View, str]:
    """The task's view and the broker's address. Steps run side by side, so the step that makes the input may not
    have submitted yet: its dataset is not there for a moment."""
    while True:
        try:
            return await ask_patiently(lambda broker: (broker.submit_task(request), broker.url), watch.check, log)
        except ApiError as error:
            if error.code != "dataset-not-found" or source is None:
                raise
        await watch.check()
        _raise_if_failed(source)
        await asyncio.sleep(SHORTEST_POLL_S)


@task(
    task_run_name="{step}",
    tags=["prodchain"],
    retries=3,
    retry_delay_seconds=10,
    retry_condition_fn=_worth_a_retry,
    cache_policy=NO_CACHE,
    persist_result=False,
)
async def produce(step: str, request: dict[str, Any], source: Dataset | None = None) -> View:
    """Make one dataset: the broker does the work, this follows it."""
    run = runtime.flow_run.id
    return await follow({**request, "run": run}, source, Watch(run), get_run_logger())
