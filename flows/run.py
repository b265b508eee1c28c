"""A chain that runs: each step is followed by a Prefect task, all of them at the same time."""

import asyncio
import os
import socket
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect import get_run_logger
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Failed

from prodchain.tasks.dataset import Dataset
from prodchain.tasks.errors import RunStopped, UpstreamFailed

from . import engine
from .cancel import kill_tasks
from .context import Context
from .definition import Definition
from .errors import StepsFailed
from .load import bad_chain

TAG = "chain"
"""The tag of flow runs and deployments that are chains."""
ENTRYPOINT, HOST, PID = "prodchain.entrypoint", "prodchain.host", "prodchain.pid"
"""Labels of a flow run: what it takes to resume it, and who drives it."""


class Run(Context):
    """One drive of a flow run; after a kill another process drives the same flow run again."""

    def __init__(self, definition: Definition, flow_run: UUID) -> None:
        super().__init__(definition.facets)
        self._definition = definition
        self._flow_run = flow_run

    def start(self, request: dict[str, Any], source: Dataset | None) -> Dataset:
        return engine.start(self._flow_run, request, source)

    async def drive(self, *args: Any, **kwargs: Any) -> list[str] | State[Any]:
        """Call the chain's function and wait for its steps; the answer is its datasets, or that it was cancelled."""
        try:
            self.facets = self._definition.facets_for(*args, **kwargs)
            await self._sign()
            await self._definition.call(self, *args, **kwargs)
            await self._finish()
        except RunStopped:
            killed = await asyncio.to_thread(kill_tasks, str(self._flow_run))
            return Cancelled(message=f"cancelled; {len(killed)} tasks killed")
        except Exception as error:
            # Raised, it would be shown with Prefect's traceback, in which nobody finds what is to be done
            get_run_logger().debug("the chain failed", exc_info=True)
            return Failed(message=self._said(error))
        finally:
            # What is still followed here (the function itself failed) goes on in the broker
            await self._let_go()
        return [dataset.did for dataset in self.datasets]

    def _said(self, error: Exception) -> str:
        """What failed and what to do; for a mistake in the chain's function the line in its file."""
        hint = getattr(error, "hint", None)
        if hint is None:
            return str(bad_chain(error, Path(self._definition.function.__code__.co_filename)))
        return str(error) if hint in str(error) else f"{error}; {hint}"

    async def _sign(self) -> None:
        """Write on the flow run what it takes to resume it: then no file can get lost or out of step."""
        async with get_client() as client:
            labels: dict[str, bool | int | float | str] = {
                ENTRYPOINT: self._definition.entrypoint,
                HOST: socket.gethostname(),
                PID: os.getpid(),
            }
            await client.update_flow_run_labels(self._flow_run, labels)
            flow_run = await client.read_flow_run(self._flow_run)
            if TAG not in flow_run.tags:
                await client.update_flow_run(self._flow_run, tags=[*flow_run.tags, TAG])

    async def _finish(self) -> None:
        """Wait for all steps, also when one fails: those that do not depend on it are still followed."""
        ends = await asyncio.gather(*(dataset.work for dataset in self.datasets), return_exceptions=True)
        failures = [end for end in ends if isinstance(end, BaseException)]
        for failure in failures:
            if isinstance(failure, RunStopped):
                raise failure
        causes = [failure for failure in failures if not isinstance(failure, UpstreamFailed)]
        if len(causes) == 1:
            raise causes[0]
        if causes:
            raise StepsFailed(
                f"{len(causes)} steps failed: " + " | ".join(str(cause) for cause in causes),
                object=str(self._flow_run),
                hint="`prodchain task why` says why for each",
            )

    async def _let_go(self) -> None:
        following = [dataset.work for dataset in self.datasets if isinstance(dataset.work, asyncio.Future)]
        for work in following:
            work.cancel()
        await asyncio.gather(*following, return_exceptions=True)
