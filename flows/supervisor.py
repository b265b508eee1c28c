"""``python -m prodchain.flows.supervisor``: sees to it that deployed chains survive what kills their processes.

* A run that crashed (its worker saw the process die) is set to AwaitingRetry, as by Retry in Prefect's pages: a
  worker starts the same flow run again, which attaches to its tasks in the broker.
* A run whose worker died too stays Running in Prefect for ever. It is found by its heartbeats, events that the
  engine sends from a thread of its own: that works for processes on any machine, unlike a look at a process table,
  and a wrong guess does no harm, since two drivers of one run submit the same keys. Deployments set
  PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30 (prefect.yaml), so the limit holds four heartbeats and some.
* A run that was cancelled while no process was left stays Cancelling; its tasks are killed and it is Cancelled.

Only runs of deployments with the tag ``chain``: a run that was started by hand is resumed by hand
(``prodchain chain resume``), as nobody but its user knows whether it should.
"""

import asyncio
import logging
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from uuid import UUID

from prodchain.broker.client import default_home

from .errors import NoPrefect
from .prefect_server import use_server_of

if __name__ == "__main__":
    try:
        use_server_of(default_home())
    except NoPrefect as error:
        sys.exit(f"{error} ({error.object}); {error.hint}")

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterTags,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events.filters import EventFilter, EventNameFilter, EventResourceFilter
from prefect.states import AwaitingRetry, Cancelled, Crashed

from .cancel import kill_tasks
from .run import TAG
from .verdicts import Change, Limits, Verb, Verdict, on_crashed, on_silence

PERIOD_S = 5.0
ALIVE = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)
"""States in which a process is at work."""
RECENT = timedelta(days=7)
"""Runs that crashed longer ago are history."""

log = logging.getLogger("prodchain.supervisor")


class Supervisor:
    """Looks at the runs in rounds; all that it knows between rounds is since when it has been able to watch."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._watching_since = datetime.now(UTC)
        self._last_round = self._watching_since
        self._said: dict[UUID, str] = {}

    async def round(self, client: PrefectClient) -> None:
        """Look once at every run that needs it. A failure with one run does not keep the others waiting."""
        now = datetime.now(UTC)
        if now - self._last_round > timedelta(seconds=4 * PERIOD_S):
            # this machine slept or the server was away: heartbeats were lost, which says nothing about the runs
            self._watching_since = now
        runs = await _runs(client, (StateType.CRASHED, *ALIVE))
        self._last_round = now
        for run in runs:
            try:
                await self._act(client, run, await self._verdict(client, run, now))
            except Exception as error:
                log.warning("%s: %s", run.name, error)

    async def _verdict(self, client: PrefectClient, run: FlowRun, now: datetime) -> Verdict:
        state = run.state
        if state is None:
            return Verdict(Verb.LEAVE)
        if state.type == StateType.CRASHED:
            if now - state.timestamp > RECENT:
                return Verdict(Verb.LEAVE)
            states = await client.read_flow_run_states(run.id)
            history = sorted(
                (Change(state.type.value, state.timestamp) for state in states), key=lambda change: change.at
            )
            return on_crashed(history, now, self._limits)
        signs = [state.timestamp, self._watching_since]
        if now - max(signs) > timedelta(seconds=self._limits.silence_s):  # spares most of the questions
            signs.append(await _last_heartbeat(client, run.id))
        return on_silence(state.type.value, max(signs), now, self._limits)

    async def _act(self, client: PrefectClient, run: FlowRun, verdict: Verdict) -> None:
        if verdict.verb is Verb.RESUME:
            message = f"resumed by the supervisor: {verdict.reason}"
            await client.set_flow_run_state(run.id, AwaitingRetry(message=message), force=True)
        elif verdict.verb is Verb.CRASH:
            await client.set_flow_run_state(run.id, Crashed(message=verdict.reason), force=True)
        elif verdict.verb is Verb.CANCEL:
            killed = await asyncio.to_thread(kill_tasks, str(run.id))
            message = f"{verdict.reason}; {len(killed)} tasks killed"
            await client.set_flow_run_state(run.id, Cancelled(message=message), force=True)
        if verdict.reason and self._said.get(run.id) != verdict.reason:
            self._said[run.id] = verdict.reason
            log.info("%s (%s): %s: %s", run.name, run.id, verdict.verb, verdict.reason)


async def _runs(client: PrefectClient, states: tuple[StateType, ...]) -> list[FlowRun]:
    return await client.read_flow_runs(
        flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states)))),
        deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG])),
        limit=200,
    )


async def _last_heartbeat(client: PrefectClient, run: UUID) -> datetime:
    beats = EventFilter(
        event=EventNameFilter(name=["prefect.flow-run.heartbeat"]),
        resource=EventResourceFilter(id=[f"prefect.flow-run.{run}"]),
    )
    page = await client.read_events(beats, limit=1)
    return page.events[0].occurred if page.events else datetime.min.replace(tzinfo=UTC)


async def supervise(limits: Limits) -> None:
    """Rounds until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    supervisor = Supervisor(limits)
    while not stop.is_set():
        try:
            async with get_client() as client:
                await supervisor.round(client)
        except Exception as error:
            log.warning("no round: %s", error)
        try:
            await asyncio.wait_for(stop.wait(), PERIOD_S)
        except TimeoutError:
            continue


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    silence_s = float(os.environ.get("PRODCHAIN_RUN_SILENCE_S", Limits.silence_s))
    log.info("resuming crashed runs of deployments tagged %r; silence limit %.0f s", TAG, silence_s)
    asyncio.run(supervise(Limits(silence_s=silence_s)))


if __name__ == "__main__":
    main()
