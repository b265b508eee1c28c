"""Flow runs of chains: made, driven in this process, resumed, listed."""

import logging
import os
import socket
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterName,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import FlowRun, State
from prefect.client.schemas.sorting import FlowRunSort
from prefect.exceptions import ObjectNotFound
from prefect.flow_engine import run_flow_async
from prefect.states import AwaitingRetry, Pending

from .errors import BadChain, NoSuchChain, StillRuns
from .load import Chain
from .run import ENTRYPOINT, HOST, PID, TAG

NEWEST_FIRST = FlowRunSort.START_TIME_DESC


def parameters_of(chain: Chain, given: dict[str, Any]) -> dict[str, Any]:
    """The parameters, checked and converted as Prefect will do it; BadChain says which one is wrong."""
    unknown = sorted(set(given) - set(chain.parameters.properties))
    missing = sorted(set(chain.parameters.required) - set(given))
    if unknown or missing:
        wrong = f"has no parameter {', '.join(unknown)}" if unknown else f"needs {', '.join(missing)}"
        known = ", ".join(chain.parameters.properties)
        raise BadChain(f"chain {chain.name} {wrong}", object=chain.name, hint=f"its parameters are: {known}")
    prefects_own = logging.getLogger("prefect.flows")  # would show the same mistake again, with a dump
    prefects_own.disabled = True
    try:
        return chain.validate_parameters(given)
    except Exception as error:
        raise BadChain(
            f"chain {chain.name}: {error}", object=chain.name, hint="look at the types of its parameters"
        ) from None
    finally:
        prefects_own.disabled = False


def create(chain: Chain, parameters: dict[str, Any]) -> FlowRun:
    """A flow run that this process is going to drive."""
    with get_client(sync_client=True) as client:
        return client.create_flow_run(
            chain, parameters=chain.serialize_parameters(parameters), state=Pending(), tags=[TAG]
        )


async def drive(chain: Chain, flow_run: FlowRun) -> State[Any]:
    """Run the chain in this process; the answer is its final state."""
    parameters = chain.validate_parameters(flow_run.parameters)
    # its result type covers every kind of flow and return_type; this is the one that we ask for
    state: State[Any] = await run_flow_async(  # type: ignore[assignment]
        chain, flow_run=flow_run, parameters=parameters, return_type="state"
    )
    return state


def find(reference: str) -> FlowRun:
    """The flow run of this id, or the newest one of this name."""
    with get_client(sync_client=True) as client:
        try:
            return client.read_flow_run(UUID(reference))
        except (ValueError, ObjectNotFound):
            named = FlowRunFilter(name=FlowRunFilterName(any_=[reference]))
            runs = client.read_flow_runs(flow_run_filter=named, sort=NEWEST_FIRST, limit=1)
    if not runs:
        hint = "`prodchain chain ls` lists the runs of chains"
        raise NoSuchChain(f"no flow run {reference}", object=reference, hint=hint)
    return runs[0]


def driver_of(flow_run: FlowRun) -> int | None:
    """The process on this machine that drives the run now, if it still does."""
    pid = flow_run.labels.get(PID)
    state = flow_run.state
    if state is None or not state.is_running() or flow_run.labels.get(HOST) != socket.gethostname():
        return None
    if not isinstance(pid, int) or pid == os.getpid():
        return None
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return None
    # the number may have gone to another program since
    return pid if b"python" in command or b"prodchain" in command else None


def set_to_retry(flow_run: FlowRun, reason: str) -> FlowRun:
    """Let the same flow run start again, as Prefect's pages do by Retry: same id, same parameters."""
    if flow_run.state is not None and flow_run.state.is_completed():
        raise StillRuns(
            f"flow run {flow_run.name} is completed",
            object=str(flow_run.id),
            hint="there is nothing to resume; run the chain with a new tag for new datasets",
        )
    if pid := driver_of(flow_run):
        raise StillRuns(
            f"flow run {flow_run.name} still runs, in process {pid}",
            object=str(flow_run.id),
            hint=f"end that process first: kill {pid}",
        )
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(flow_run.id, AwaitingRetry(message=reason), force=True)
        return client.read_flow_run(flow_run.id)


def entrypoint_of(flow_run: FlowRun) -> str:
    """Where the chain of a run is, as the run itself remembers it."""
    entrypoint = flow_run.labels.get(ENTRYPOINT)
    if not isinstance(entrypoint, str):
        raise NoSuchChain(
            f"flow run {flow_run.name} is not the run of a chain, or never began",
            object=str(flow_run.id),
            hint="run the chain again: `prodchain chain run FILE` with the same parameters finds its tasks",
        )
    return entrypoint


def newest(limit: int) -> list[FlowRun]:
    """The runs of chains, newest first."""
    chains = FlowRunFilter(tags=FlowRunFilterTags(all_=[TAG]))
    with get_client(sync_client=True) as client:
        return client.read_flow_runs(flow_run_filter=chains, sort=NEWEST_FIRST, limit=limit)


def view(flow_run: FlowRun) -> dict[str, Any]:
    """A flow run as a command line shows it."""
    return {
        "run": str(flow_run.id),
        "name": flow_run.name,
        "state": flow_run.state.name if flow_run.state else None,
        "message": flow_run.state.message if flow_run.state else None,
        "started_at": flow_run.start_time.isoformat() if flow_run.start_time else None,
        "starts": flow_run.run_count,
        "deployed": flow_run.deployment_id is not None,
        "parameters": flow_run.model_dump(mode="json", include={"parameters"})["parameters"],
    }
