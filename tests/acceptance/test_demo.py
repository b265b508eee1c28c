"""The main job, as ``make demo`` runs it: a real chain over two sites, and what must hold of it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .system import System, dataset

pytestmark = [pytest.mark.acceptance, pytest.mark.xdist_group("demo"), pytest.mark.physics, pytest.mark.timeout(1800)]

EVENTS, JOBS = 800, 4
STEPS = ("evgen", "sim", "reco", "merge")


@pytest.fixture(scope="module")
def system(home: Path) -> Iterator[System]:
    system = System(home)
    yield system
    system.remove()


@pytest.fixture(scope="module")
def document(system: System) -> dict[str, Any]:
    """What ``prodchain demo --json`` says; the system is left running."""
    said: dict[str, Any] = json.loads(system.run("demo", "--keep", "--json", timeout_s=1200))
    return said


@pytest.fixture(scope="module")
def jobs(system: System, document: dict[str, Any]) -> list[dict[str, Any]]:
    with system.client() as client:
        return [job for step in document["steps"] for job in client.jobs(task=step["task"], limit=100)]


def test_every_step_has_several_jobs_and_counts_all_events(document: dict[str, Any]) -> None:
    assert [step["step"] for step in document["steps"]] == list(STEPS)
    for step in document["steps"]:
        assert step["events"] == EVENTS
        assert step["jobs"]["finished"] >= 2
        assert set(step["jobs"]) <= {"finished", "failed"}


def test_simulation_and_reconstruction_ran_at_both_sites(jobs: list[dict[str, Any]]) -> None:
    for step in ("sim", "reco"):
        assert {job["site"] for job in jobs if job["step"] == step} == {"SITE-A", "SITE-B"}


def test_each_job_has_a_reason_for_its_queue_and_for_each_queue_passed_over(jobs: list[dict[str, Any]]) -> None:
    for job in jobs:
        assert job["queue"] in job["assignment"]["reason"]
        assert {verdict["queue"] for verdict in job["assignment"]["verdicts"]} == {"SITE-A-BATCH", "SITE-B-BATCH"}
        assert all(verdict["reason"] for verdict in job["assignment"]["verdicts"])


def test_simulation_starts_on_the_first_files_of_the_generation(
    system: System, document: dict[str, Any], jobs: list[dict[str, Any]]
) -> None:
    with system.client() as client:
        stories = {job["id"]: client.job_story(job["id"]) for job in jobs if job["step"] in ("evgen", "sim")}

    def times(step: str, state: str) -> list[str]:
        events = [event for job in jobs if job["step"] == step for event in stories[job["id"]]]
        return [event["at"] for event in events if event["state"] == state]

    assert min(times("sim", "sent")) < max(times("evgen", "finished"))


def test_data_moved_in_dispatch_and_sub_datasets_and_all_results_are_at_home(
    system: System, document: dict[str, Any]
) -> None:
    found = system.json("ls", "mc26*", "--all", "-l")["items"]
    kinds = {kind: [each for each in found if each["kind"] == kind] for kind in ("production", "sub", "dispatch")}
    assert len(kinds["dispatch"]) == document["dispatch_datasets"]
    assert kinds["sub"] and document["bytes_moved"] > 0
    assert all(each["state"] == "closed" for kind in kinds.values() for each in kind)
    with system.client() as client:
        for each in kinds["production"]:
            replicas = {r["storage"]: r for r in client.dataset(each["did"])["replicas"]}
            assert replicas["SITE-A-DISK"]["complete"]


def test_bookkeeping_datasets_are_hidden_unless_asked_for(system: System, document: dict[str, Any]) -> None:
    names = [each["name"] for each in system.json("ls", "mc26*AOD*")["items"]]
    assert names == sorted(dataset(step, "v1") for step in ("merge.AOD", "recon.AOD"))


def test_the_fetched_files_hold_the_physics_of_a_single_process(
    system: System, document: dict[str, Any], reference: Callable[[int, int], Any], tmp_path: Path
) -> None:
    from prodchain.tasks.payloads.reference import compare, read_aod
    from prodchain.tasks.payloads.zmass import measure

    system.run("get", dataset("merge.AOD", "v1"), str(tmp_path))
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert compare(reference(EVENTS, JOBS), read_aod(files)) is None
    median = measure(files).median
    assert median == pytest.approx(90.7, abs=0.5)
    assert document["median_mass"] == pytest.approx(median, abs=0.01)
    assert Path(document["plot"]).read_bytes().startswith(b"\x89PNG")


def test_a_second_demo_finds_everything_done(system: System, document: dict[str, Any]) -> None:
    again = json.loads(system.run("demo", "--keep", "--json", timeout_s=240))
    assert again["steps"] == document["steps"]


def test_no_token_is_in_a_log_or_in_the_list_of_processes(system: System, document: dict[str, Any]) -> None:
    tokens = [path.read_text().strip() for path in (system.home / "credentials").iterdir()]
    assert len(tokens) >= 4
    said = "".join(log.read_text(errors="replace") for log in (system.home / "logs").iterdir())
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            said += process.read_text(errors="replace")
        except OSError:
            continue
    assert not [token for token in tokens if token in said]
