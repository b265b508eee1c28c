"""kill -9 at named points of the code: the chain completes, the physics is the same, nothing is done twice."""

import importlib.util
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from .system import KILLER, System, dataset, parameters, wait_until

pytestmark = [pytest.mark.acceptance, pytest.mark.physics, pytest.mark.timeout(600)]

EVENTS, JOBS = 40, 2
HEAVY = str(Path(__file__).with_name("heavy_chain.py"))
spec = importlib.util.spec_from_file_location("killer_points", KILLER / "sitecustomize.py")
assert spec is not None and spec.loader is not None
killer = importlib.util.module_from_spec(spec)
spec.loader.exec_module(killer)
POINTS = list(killer.POINTS)
SETTINGS = "lease_s = 6\nheartbeat_s = 1\n"
"""What was in a killed hand is taken up after 6 seconds."""


def points(of_flows: bool) -> list[Any]:
    """Points as parameters, in two groups: each has a system of its own, and they may run beside each other."""
    return [
        pytest.param(point, marks=pytest.mark.xdist_group(f"kills-{number % 2}"))
        for number, point in enumerate(POINTS)
        if point.startswith("flow") == of_flows
    ]


@pytest.fixture(scope="module")
def system(home: Path) -> Iterator[System]:
    system = System(home, killing=True)
    (home / "prodchain.toml").write_text(SETTINGS)
    small = files("prodchain.cli").joinpath("local", "sites.toml").read_text()
    part, large = small.split("[site.SITE-B.queue")
    (home / "sites.toml").write_text(
        f"{part}[site.SITE-B.queue{large.replace('memory_mb = 2000', 'memory_mb = 4000')}"
    )
    system.up()
    yield system
    system.remove()


def tag_of(point: str) -> str:
    return f"k{POINTS.index(point):02d}"


def runs_of(system: System, name: str) -> list[dict[str, Any]]:
    return [run for run in system.json("chain", "ls")["items"] if run["name"] == name]


def check(system: System, tag: str, expected: Any, tmp_path: Path) -> None:
    """Same arrays; each piece of work finished once; each file registered once."""
    from prodchain.tasks.payloads.reference import compare, read_aod

    steps = {"evgen.EVNT": 2, "simul.HITS": 2, "recon.AOD": 2, "merge.AOD": 1}
    with system.client() as client:
        for step, jobs in steps.items():
            view = client.dataset(dataset(step, tag))
            assert (view["state"], view["files"], view["events"]) == ("closed", jobs, EVENTS)
            assert len(view["made_by"]) == 1
            task = client.task(view["made_by"][0])
            assert (task["state"], task["jobs"]["finished"]) == ("done", jobs)
    system.run("get", dataset("merge.AOD", tag), str(tmp_path))
    assert compare(expected, read_aod(sorted(tmp_path.rglob("*.root*")))) is None


@pytest.mark.parametrize("point", points(of_flows=False))
def test_a_chain_survives_the_kill_of_a_service(
    system: System, point: str, reference: Callable[[int, int], Any], tmp_path: Path
) -> None:
    system.arm(point)
    system.run("chain", "run", HEAVY, *parameters(tag=tag_of(point), events=EVENTS, jobs=JOBS))
    assert system.fired
    check(system, tag_of(point), reference(EVENTS, JOBS), tmp_path)


@pytest.mark.parametrize("point", points(of_flows=True))
def test_a_killed_flow_process_is_resumed_on_the_same_run(
    system: System, point: str, reference: Callable[[int, int], Any], tmp_path: Path
) -> None:
    tag = tag_of(point)
    system.arm(point)
    flow = system.start("chain", "run", HEAVY, *parameters(tag=tag, events=EVENTS, jobs=JOBS))
    assert flow.wait(timeout=240) == -9
    assert system.fired
    (run,) = runs_of(system, f"zmumu-{tag}")
    system.run("chain", "resume", run["run"])
    (again,) = runs_of(system, f"zmumu-{tag}")
    assert (again["run"], again["state"]) == (run["run"], "Completed")
    check(system, tag, reference(EVENTS, JOBS), tmp_path)


@pytest.mark.xdist_group("kills-1")
def test_a_run_of_a_worker_is_resumed_by_itself(
    system: System, reference: Callable[[int, int], Any], tmp_path: Path
) -> None:
    """Deployed with ``up``; its flow process is killed between submission and the answer."""
    from .deployed import run_deployment

    system.arm("flow: submitted, not yet followed")
    run = run_deployment(system, tag="worker", events=EVENTS, jobs=JOBS)
    wait_until(lambda: system.fired, "the flow process is killed")

    def completed() -> bool:
        return [each["state"] for each in runs_of(system, "zmumu-worker") if each["run"] == run] == ["Completed"]

    wait_until(completed, "the worker's run is resumed and completes", timeout_s=300)
    check(system, "worker", reference(EVENTS, JOBS), tmp_path)
