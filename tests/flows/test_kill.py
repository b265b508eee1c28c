"""Processes of flows that are killed, and what comes back: real processes, a real Prefect server, a real broker."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [
    pytest.mark.prefect,
    # Prefect leaves connections to its server to the garbage collector
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

BIN = Path(sys.executable).parent
Wait = Callable[..., None]


class Processes:
    """Processes of one test, each in its own group, none of which outlives the test."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._all: list[subprocess.Popen[bytes]] = []

    def start(self, *args: str, name: str = "out", **env: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                args,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                env={**os.environ, **env},
            )
        self._all.append(process)
        return process

    def log(self, name: str = "out") -> str:
        return (self.folder / f"{name}.log").read_text()

    @staticmethod
    def kill(process: subprocess.Popen[bytes]) -> None:
        """kill -9 of the process and of what it started in its session."""
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        process.wait()

    def end(self) -> None:
        for process in self._all:
            self.kill(process)


@pytest.fixture
def processes(tmp_path: Path, prefect_url: str, broker: Any) -> Iterator[Processes]:
    started = Processes(tmp_path)
    yield started
    started.end()


def _call(*args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(BIN / "prodchain"), *args],
        capture_output=True,
        text=True,
        check=False,
    )


def _run_of(broker: Any) -> str:
    return str(broker.of("evgen")["run"])


def test_a_killed_run_resumes_as_itself_without_a_second_submission(
    processes: Processes, broker: Any, chain_file: Path, wait_for: Wait
) -> None:
    broker.auto = False
    flow = processes.start(str(BIN / "prodchain"), "chain", "run", str(chain_file), "-p", "tag=killed")
    wait_for(lambda: len(broker.tasks) == 4, 40)
    run = _run_of(broker)
    refused = _call("chain", "resume", run)
    assert refused.returncode == 1 and "still runs, in process" in refused.stderr, refused.stderr
    processes.kill(flow)
    broker.end("evgen")  # jobs go on without the flow
    broker.auto = True
    resumed = _call("chain", "resume", "tiny-killed", "--json")
    assert resumed.returncode == 0, resumed.stderr
    shown = json.loads(resumed.stdout)
    assert (shown["run"], shown["state"], shown["starts"]) == (run, "Completed", 2)
    assert len(broker.created) == 4
    assert {task["run"] for task in broker.tasks.values()} == {run}
    assert "tiny-killed" in _call("chain", "ls").stdout
    assert "nothing to resume" in _call("chain", "resume", run).stderr


def test_ctrl_c_detaches_and_says_how_to_resume(
    processes: Processes, broker: Any, chain_file: Path, wait_for: Wait
) -> None:
    broker.auto = False
    flow = processes.start(str(BIN / "prodchain"), "chain", "run", str(chain_file), "-p", "tag=detached")
    wait_for(lambda: len(broker.tasks) == 4, 40)
    flow.send_signal(signal.SIGINT)
    assert flow.wait(30) == 130
    assert f"prodchain chain resume {_run_of(broker)}" in processes.log()
    assert set(broker.states.values()) == {"running"}


def test_failed_work_is_the_exit_code_of_run(
    processes: Processes, broker: Any, chain_file: Path, wait_for: Wait
) -> None:
    broker.auto = False
    flow = processes.start(str(BIN / "prodchain"), "chain", "run", str(chain_file), "-p", "tag=fails")
    wait_for(lambda: len(broker.tasks) == 4, 40)
    broker.end("evgen", "failed", "job 1: exit code 7")
    assert flow.wait(60) == 1
    assert "exit code 7" in processes.log() and "prodchain chain resume" in processes.log()


def _worker(processes: Processes, name: str) -> subprocess.Popen[bytes]:
    return processes.start(
        str(BIN / "prefect"), "worker", "start", "--pool", "production", name=name, PREFECT_WORKER_QUERY_SECONDS="2"
    )


def _supervisor(processes: Processes, silence_s: int) -> None:
    program = (sys.executable, "-m", "prodchain.flows.supervisor")
    processes.start(*program, name="supervisor", PRODCHAIN_RUN_SILENCE_S=str(silence_s))


def _launch(deployment: str, tag: str) -> str:
    from prefect.deployments import run_deployment

    return str(run_deployment(deployment, parameters={"tag": tag, "events": 8, "jobs": 2}, timeout=0).id)  # type: ignore[union-attr]


def _state(run: str) -> Any:
    from prodchain.flows.runs import find

    return find(run).state


def _flow_process(run: str) -> int:
    """The process that the run itself names as its driver."""
    from prodchain.flows.run import PID
    from prodchain.flows.runs import find

    return int(str(find(run).labels[PID]))


@pytest.mark.acceptance
def test_the_supervisor_resumes_a_deployed_run_whose_process_was_killed(
    processes: Processes, broker: Any, deployed: str, wait_for: Wait
) -> None:
    broker.auto = False
    _worker(processes, "worker")
    _supervisor(processes, silence_s=150)
    run = _launch(deployed, "k9")
    wait_for(lambda: len(broker.tasks) == 4, 90)
    os.kill(_flow_process(run), signal.SIGKILL)
    wait_for(lambda: len(broker.posts) == 8, 90)  # the same four, submitted again
    broker.auto = True
    wait_for(lambda: _state(run).is_completed(), 60)
    assert len(broker.created) == 4 and _run_of(broker) == run
    assert "resume: crash 1 of at most 5" in processes.log("supervisor")


@pytest.mark.acceptance
def test_the_supervisor_finds_a_run_that_lost_its_worker_too(
    processes: Processes, broker: Any, deployed: str, wait_for: Wait
) -> None:
    broker.auto = False
    worker = _worker(processes, "worker")
    run = _launch(deployed, "lost")
    wait_for(lambda: len(broker.tasks) == 4, 90)
    pid = _flow_process(run)
    processes.kill(worker)
    os.kill(pid, signal.SIGKILL)
    broker.auto = True
    _supervisor(processes, silence_s=35)
    _worker(processes, "worker-2")
    wait_for(lambda: _state(run).is_completed(), 150)
    assert len(broker.created) == 4
    assert "no heartbeat for" in processes.log("supervisor")


@pytest.mark.acceptance
def test_cancelling_a_deployed_run_kills_its_tasks(
    processes: Processes, broker: Any, deployed: str, wait_for: Wait
) -> None:
    from prefect.client.orchestration import get_client
    from prefect.states import Cancelling

    broker.auto = False
    _worker(processes, "worker")
    run = _launch(deployed, "cancel")
    wait_for(lambda: len(broker.tasks) == 4, 90)
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(run, Cancelling())  # type: ignore[arg-type]
    wait_for(lambda: _state(run).is_cancelled(), 60)
    assert set(broker.states.values()) == {"aborted"}


@pytest.mark.acceptance
def test_a_healthy_run_is_left_alone(processes: Processes, broker: Any, deployed: str, wait_for: Wait) -> None:
    """Heartbeats come as often as the supervisor expects: prefect.yaml sets them for deployments."""
    broker.auto = False
    _worker(processes, "worker")
    run = _launch(deployed, "healthy")
    wait_for(lambda: len(broker.tasks) == 4, 90)
    _supervisor(processes, silence_s=45)
    time.sleep(75)
    assert _state(run).is_running()
    assert "no heartbeat" not in processes.log("supervisor")
    broker.auto = True  # so that nothing is left running
    wait_for(lambda: _state(run).is_completed(), 60)
