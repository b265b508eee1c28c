"""A small real broker over HTTP, and one Prefect server for the session."""

import gc
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

FINAL = ("done", "finished", "failed", "aborted")
CHAIN = """
from prodchain.flows import chain, evgen, merge, reco, sim

@chain(name="tiny", project="mc26_13p6TeV", number=700001, physics="Zmumu")
def tiny(tag: str = "v1", events: int = 8, jobs: int = 2):
    ev = evgen(events=events, jobs=jobs, job_config="Zmumu")
    hits = sim(ev)
    aod = reco(hits)
    merge(aod, files_per_job=2)
"""


class SmallBroker:
    """The routes that steps use, with submission keyed by the output dataset. Tasks end when a test says so."""

    def __init__(self) -> None:
        self.tasks: dict[str, dict[str, Any]] = {}
        self.created: list[str] = []
        """Outputs in the order in which their tasks were created."""
        self.posts: list[str] = []
        """Outputs of every submission, repeated ones too."""
        self.auto = True
        """Whether tasks end by themselves at the second look."""
        self._lock = threading.Lock()
        self.port = 0
        self.start()

    def start(self) -> None:
        broker = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer(*broker.get(self.path))

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.answer(*broker.post(self.path, json.loads(body or b"{}")))

            def answer(self, status: int, document: dict[str, Any]) -> None:
                data = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        url = urlsplit(path)
        with self._lock:
            if url.path == "/api/tasks":
                run = parse_qs(url.query).get("run", [None])[0]
                return 200, {"items": [t for t in self.tasks.values() if run in (None, t["run"])], "next": None}
            task = self._by_id(int(url.path.split("/")[3]))
            if self.auto and task["state"] not in FINAL:
                task["looks"] += 1
                if task["looks"] > 1:
                    self._end(task, "done")
            return 200, task

    def post(self, path: str, document: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        with self._lock:
            if path.endswith("/kill"):
                task = self._by_id(int(path.split("/")[3]))
                self._end(task, "aborted", "killed by user")
                return 200, task
            output = document["output"]
            self.posts.append(output)
            if output in self.tasks:
                return 200, self.tasks[output]
            self.tasks[output] = self._new(document)
            self.created.append(output)
            return 201, self.tasks[output]

    def _new(self, request: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": 10_000_001 + len(self.tasks), "step": request["step"], "state": "running",
            "output": request["output"], "input": request["input"], "run": request.get("run"), "numbers": 2,
            "generated": True, "jobs": {"running": 2}, "events_done": 0, "events_total": 8, "reason": "",
            "request": request, "looks": 0,
        }  # fmt: skip

    def _by_id(self, task_id: int) -> dict[str, Any]:
        return next(task for task in self.tasks.values() if task["id"] == task_id)

    def _end(self, task: dict[str, Any], state: str, reason: str = "") -> None:
        if task["state"] in FINAL:
            return
        task.update(state=state, reason=reason)
        if state == "done":
            task.update(jobs={"finished": 2}, events_done=8)

    def end(self, step: str, state: str = "done", reason: str = "") -> None:
        with self._lock:
            self._end(self.of(step), state, reason)

    def of(self, step: str) -> dict[str, Any]:
        return next(task for task in self.tasks.values() if task["step"] == step)

    @property
    def states(self) -> dict[str, str]:
        return {task["step"]: task["state"] for task in self.tasks.values()}


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[SmallBroker]:
    small = SmallBroker()
    monkeypatch.setenv("PRODCHAIN_URL", small.url)
    monkeypatch.setenv("PRODCHAIN_HOME", str(tmp_path / "home"))
    yield small
    small.stop()
    gc.collect()  # what Prefect leaves open is complained about in the test that opened it, not in some other


@pytest.fixture
def chain_file(tmp_path: Path) -> Path:
    """The file of a physicist, outside of the project."""
    path = tmp_path / "physics" / "tiny_chain.py"
    path.parent.mkdir()
    path.write_text(CHAIN.lstrip())
    return path


@pytest.fixture(scope="session")
def prefect_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prefect server for the session, also for processes that tests start (in the environment)."""
    home = tmp_path_factory.mktemp("prefect")
    os.environ["PREFECT_HOME"] = str(home)
    os.environ["DO_NOT_TRACK"] = "1"
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    os.environ["PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW"] = "ignore"
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, get_current_settings, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with (
        prefect_test_harness(server_startup_timeout=90),
        # each flow would wait a second for its heartbeat thread
        temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}),
    ):
        url = get_current_settings().api.url
        assert url
        os.environ["PREFECT_API_URL"] = url
        yield url
        del os.environ["PREFECT_API_URL"]


@pytest.fixture
def wait_for() -> Callable[[Callable[[], object], float], None]:
    def wait(condition: Callable[[], object], seconds: float = 30) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, f"not within {seconds} s"
            time.sleep(0.1)

    return wait


@pytest.fixture(scope="session")
def deployment(prefect_url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The standard chain, deployed as `prodchain up` does it, from a folder that is not the repository."""
    prefect = str(Path(sys.executable).parent / "prefect")
    file = str(Path(__file__).parents[2] / "prefect.yaml")
    for args in (
        ["work-pool", "create", "production", "--type", "process"],
        ["--no-prompt", "deploy", "--all", "--prefect-file", file],
    ):
        made = subprocess.run(
            [prefect, *args], cwd=tmp_path_factory.mktemp("deploy"), capture_output=True, text=True, check=False
        )
        assert made.returncode == 0, made.stdout + made.stderr
    return "zmumu/production"


@pytest.fixture
def deployed(deployment: str) -> Iterator[str]:
    """The deployment, whose runs are gone after the test: a worker of the next test would take them."""
    yield deployment
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        for run in client.read_flow_runs():
            if run.deployment_id is not None:
                client.delete_flow_run(run.id)
