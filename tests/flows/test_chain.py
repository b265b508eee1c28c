"""Chains that run, against a real Prefect server and a small real broker."""

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import pytest

from prodchain.tasks.dataset import Dataset

pytestmark = [
    pytest.mark.prefect,
    # Prefect leaves connections to its server to the garbage collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

NAMES = "mc26_13p6TeV.700001.Zmumu"


@pytest.fixture
def tiny(prefect_url: str, broker: Any, chain_file: Path) -> Any:
    from prodchain.flows.load import load

    return load(str(chain_file))


async def _task_runs(flow_run: UUID) -> dict[str, Any]:
    """The flow run's task runs by name, once the server has them all in a final state."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    async with get_client() as client:
        for _ in range(100):
            found = await client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run])))
            if found and all(run.state is not None and run.state.is_final() for run in found):
                return {run.name: run for run in found}
            await asyncio.sleep(0.1)
    raise AssertionError(f"not final: {found}")


async def _drive(flow: Any, **parameters: Any) -> tuple[UUID, Any]:
    from prodchain.flows import runs

    flow_run = await asyncio.to_thread(runs.create, flow, runs.parameters_of(flow, parameters))
    return flow_run.id, await runs.drive(flow, flow_run)


async def test_a_chain_makes_its_datasets(tiny: Any, broker: Any) -> None:
    flow_run, state = await _drive(tiny, tag="v7")
    assert state.is_completed(), state
    assert sorted(broker.created) == sorted(
        f"mc26_13p6TeV:{NAMES}.{step}.v7" for step in ("evgen.EVNT", "simul.HITS", "recon.AOD", "merge.AOD")
    )
    assert broker.of("sim")["input"] == broker.of("evgen")["output"]
    assert broker.of("evgen")["request"]["jobs"] == 2
    assert {task["run"] for task in broker.tasks.values()} == {str(flow_run)}


async def test_edges_between_running_steps_with_ids_that_stay(tiny: Any, broker: Any) -> None:
    """What flows/engine.py promises of the call that Prefect does not."""
    flow_run, _ = await _drive(tiny)
    runs = await _task_runs(flow_run)
    assert {name: run.id for name, run in runs.items()} == {
        task["step"]: uuid5(flow_run, task["output"]) for task in broker.tasks.values()
    }
    edges = {
        name: {parent.id for parents in run.task_inputs.values() for parent in parents if hasattr(parent, "id")}
        for name, run in runs.items()
    }
    assert edges == {
        "evgen": set(),
        "sim": {runs["evgen"].id},
        "reco": {runs["sim"].id},
        "merge": {runs["reco"].id},
    }


async def test_all_steps_are_submitted_while_the_first_still_runs(tiny: Any, broker: Any) -> None:
    broker.auto = False
    following = asyncio.create_task(_drive(tiny))
    for _ in range(200):
        if len(broker.tasks) == 4:
            break
        await asyncio.sleep(0.1)
    assert set(broker.states.values()) == {"running"} and len(broker.states) == 4
    for step in ("merge", "reco", "sim", "evgen"):
        broker.end(step)
    _, state = await following
    assert state.is_completed()


async def test_progress_and_link_are_shown(tiny: Any, broker: Any) -> None:
    from prefect.artifacts import Artifact

    await _drive(tiny, tag="shown")
    ring = await Artifact.aget("mc26-13p6tev-700001-zmumu-simul-hits-shown")
    link = await Artifact.aget("mc26-13p6tev-700001-zmumu-simul-hits-shown-task")
    assert ring is not None and ring.data == 100.0
    assert ring.description == "sim done: 2/2 jobs finished, 8/8 events"
    assert link is not None and f"{broker.url}/tasks/{broker.of('sim')['id']}" in str(link.data)


async def test_failed_work_fails_the_step_and_those_after_it(tiny: Any, broker: Any) -> None:
    broker.auto = False
    following = asyncio.create_task(_drive(tiny))
    for _ in range(200):
        if len(broker.tasks) == 4:
            break
        await asyncio.sleep(0.1)
    broker.end("evgen")
    broker.end("sim", "failed", "job 2: exit code 15, no events")
    flow_run, state = await following
    task = broker.of("sim")["id"]
    assert state.is_failed()
    assert f"step sim: task {task} failed" in state.message
    assert "exit code 15, no events" in state.message and f"prodchain task why {task}" in state.message
    runs = await _task_runs(flow_run)
    assert {name: run.state.name for name, run in runs.items()} == {
        "evgen": "Completed",
        "sim": "Failed",
        "reco": "Failed",
        "merge": "Failed",
    }
    assert "step sim, which makes the input, failed" in runs["reco"].state.message
    assert broker.states["reco"] == "running"  # jobs that have their input go on


async def test_a_chain_that_fails_says_what_to_do_without_a_traceback(
    tiny: Any, broker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    broker.auto = False
    following = asyncio.create_task(_drive(tiny, tag="f"))
    for _ in range(200):
        if len(broker.tasks) == 4:
            break
        await asyncio.sleep(0.1)
    broker.end("evgen", "failed", "exit code 1")
    _, state = await following
    task = broker.of("evgen")["id"]
    assert state.message.startswith(f"step evgen: task {task} failed")
    assert state.message.count("prodchain task why") == 1
    assert "step evgen" in caplog.text
    assert "Traceback" not in caplog.text


async def test_a_mistake_that_shows_when_a_chain_runs_is_told_with_its_line(
    prefect_url: str, broker: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from prodchain.flows import chain, evgen

    @chain(name="divides", project="mc26_13p6TeV", number=700001, physics="Zmumu")
    async def divides(tag: str = "v1") -> None:
        view = await evgen(events=8, jobs=2, job_config="Zmumu")
        assert view["events_missing"]

    _, state = await _drive(divides, tag="w")
    assert state.is_failed()
    assert "KeyError: 'events_missing'" in state.message
    assert f"{__file__}:{divides.fn.definition.function.__code__.co_firstlineno + 3}" in state.message
    assert "Traceback" not in caplog.text


async def test_an_outage_of_the_broker_is_waited_for(tiny: Any, broker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    broker.auto = False
    following = asyncio.create_task(_drive(tiny))
    for _ in range(200):
        if len(broker.tasks) == 4:
            break
        await asyncio.sleep(0.1)
    await asyncio.to_thread(broker.stop)
    await asyncio.sleep(4)
    assert not following.done()
    broker.auto = True
    broker.start()
    _, state = await following
    assert state.is_completed()
    assert len(broker.created) == 4


async def test_async_chains_wait_for_a_dataset_when_they_like(prefect_url: str, broker: Any) -> None:
    from prodchain.flows import chain, evgen, sim

    seen: list[object] = []

    @chain(name="waits", project="mc26_13p6TeV", number=700001, physics="Zmumu")
    async def waits(tag: str = "v1") -> None:
        ev = evgen(events=8, jobs=2, job_config="Zmumu")
        assert isinstance(ev, Dataset)
        seen.append(dict(broker.states))
        view = await ev
        seen.append(view["state"])
        sim(ev)

    _, state = await _drive(waits, tag="w")
    assert state.is_completed()
    assert seen == [{}, "done"]  # the handle was there before anything was submitted


async def test_a_run_cancelled_without_a_worker_stops_and_kills_its_tasks(
    tiny: Any, broker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelling

    from prodchain.flows import runs
    from prodchain.tasks import watch

    monkeypatch.setattr(watch, "PERIOD_S", 0.3)
    broker.auto = False
    flow_run = await asyncio.to_thread(runs.create, tiny, runs.parameters_of(tiny, {"tag": "c"}))
    following = asyncio.create_task(runs.drive(tiny, flow_run))
    for _ in range(200):
        if len(broker.tasks) == 4:
            break
        await asyncio.sleep(0.1)
    async with get_client() as client:
        await client.set_flow_run_state(flow_run.id, Cancelling())
    state = await following
    assert state.is_cancelled()
    assert set(broker.states.values()) == {"aborted"}
