"""What the supervisor does with runs that no process drives."""

from typing import Any
from uuid import UUID

import pytest

pytestmark = [
    pytest.mark.prefect,
    # Prefect leaves connections to its server to the garbage collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


async def _run_in(deployment: str, *states: Any) -> UUID:
    """A deployed run that has gone through the states."""
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        found = await client.read_deployment_by_name(deployment)
        run = await client.create_flow_run_from_deployment(found.id)
        for state in states:
            await client.set_flow_run_state(run.id, state, force=True)
        return run.id


async def _round(**limits: float) -> None:
    from prefect.client.orchestration import get_client

    from prodchain.flows.supervisor import Supervisor
    from prodchain.flows.verdicts import Limits

    async with get_client() as client:
        await Supervisor(Limits(**limits)).round(client)  # type: ignore[arg-type]


async def _state(run: UUID) -> Any:
    from prefect.client.orchestration import get_client

    async with get_client() as client:
        return (await client.read_flow_run(run)).state


async def test_a_crashed_run_is_resumed_and_a_hopeless_one_is_not(deployed: str, broker: Any) -> None:
    from prefect.states import Crashed, Running

    once = await _run_in(deployed, Running(), Crashed())
    often = await _run_in(deployed, *([Running(), Crashed()] * 6))
    await _round(first_pause_s=0)
    assert (await _state(once)).name == "AwaitingRetry"
    assert "crash 1 of at most 5" in (await _state(once)).message
    assert (await _state(often)).is_crashed()


async def test_silent_runs_are_crashed_or_cancelled_as_they_were_meant_to(deployed: str, broker: Any) -> None:
    from prefect.states import Cancelling, Running

    running = await _run_in(deployed, Running())
    cancelling = await _run_in(deployed, Running(), Cancelling())
    broker.auto = False
    broker.post("/api/tasks", {"step": "sim", "output": "a:a.b", "input": None, "run": str(cancelling)})
    await _round(silence_s=3600)
    assert (await _state(running)).is_running()
    await _round(silence_s=0)
    assert (await _state(running)).is_crashed()
    assert (await _state(cancelling)).is_cancelled()
    assert broker.states == {"sim": "aborted"}


async def test_runs_started_by_hand_are_not_touched(deployed: str, broker: Any, chain_file: Any) -> None:
    from prefect.client.orchestration import get_client
    from prefect.states import Crashed

    from prodchain.flows.load import load
    from prodchain.flows.run import TAG

    flow = load(str(chain_file))
    async with get_client() as client:
        by_hand = await client.create_flow_run(flow, state=Crashed(), tags=[TAG])
    await _round(silence_s=0, first_pause_s=0)
    assert (await _state(by_hand.id)).is_crashed()
