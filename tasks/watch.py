"""Whether the flow run that a step belongs to is being cancelled."""

import time
from uuid import UUID

from prefect.client.orchestration import get_client

from .errors import RunStopped

PERIOD_S = 4.0


class Watch:
    """Asks Prefect's server from time to time for the state of the flow run.

    A worker kills the process of a cancelled run, but a run that was started by hand has nobody to do that: it
    would stay Cancelling for ever and go on.
    """

    def __init__(self, run: str | None) -> None:
        self._run = UUID(run) if run else None
        self._next = time.monotonic() + PERIOD_S

    async def check(self) -> None:
        """Raise RunStopped if the run is cancelled; a server that cannot be asked counts as no."""
        if self._run is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + PERIOD_S
        try:
            async with get_client() as client:
                state = (await client.read_flow_run(self._run)).state
        except Exception:  # the server restarts: following the work matters more than watching for a cancel
            return
        if state is not None and (state.is_cancelling() or state.is_cancelled()):
            raise RunStopped(
                "the flow run was cancelled", object=f"flow run {self._run}", hint="its tasks are killed"
            )
