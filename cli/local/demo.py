"""The demo's work: bring the system up, run the chain, fetch its result, plot it, check it."""

import importlib.util
import re
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from prodchain.broker.client import Client, Document

from ..errors import FailedWork, Usage
from ..fetch import fetch
from . import supervise
from .home import Home
from .overview import overview, wait_healthy
from .program import inherited
from .supervisor import AlreadyRuns, Change

CHAIN = "prodchain.flows.production:zmumu"
EVENTS = 800
"""The chain's own default; the datasets of other numbers of events have names of their own."""
STEPS = 4
ENDED = ("done", "finished", "failed", "aborted")
PHYSICS = ("pythia8mc", "acts", "fastjet", "awkward", "uproot", "vector", "mplhep")
POLL_S = 0.5
HEALTHY_S = 180.0
GRACE_S = 10.0


def need_physics() -> None:
    """Fail before anything starts if the payloads cannot run here."""
    missing = [name for name in PHYSICS if importlib.util.find_spec(name) is None]
    if missing:
        raise Usage(
            f"the demo's payloads are not installed: {', '.join(missing)} missing",
            object="prodchain[physics]",
            hint="pip install 'prodchain[physics]'",
        )


def bring_up(home: Home, heard: Callable[[Change], None]) -> bool:
    """Have everything up; False if it was up before."""
    if not overview(home)["running"]:
        try:
            supervise.detach(home, {}, heard)
            return True
        except AlreadyRuns:  # somebody else's start was faster
            pass
    wait_healthy(home, HEALTHY_S)
    return False


@dataclass
class Demo:
    """One run of the chain over ``events`` events, and what came of it."""

    home: Home
    client: Client
    events: int
    began: float = field(default_factory=time.monotonic)

    @property
    def tag(self) -> str:
        """The last field of the datasets' names."""
        return "v1" if self.events == EVENTS else f"v1-{self.events}"

    def tasks(self) -> list[Document]:
        """The chain's tasks, each after the one whose output it reads."""
        tasks = [task for task in self.client.tasks(limit=None) if task["output"].endswith(f".{self.tag}")]
        tasks = [task for task in tasks if re.search(r"\.700001\.Zmumu\.", task["output"])]
        ordered: list[Document] = []
        source = None
        while following := [task for task in tasks if task["input"] == source and task not in ordered]:
            ordered += following
            source = following[0]["output"]
        return ordered

    def complete(self) -> bool:
        tasks = self.tasks()
        return len(tasks) == STEPS and all(task["state"] == "done" for task in tasks)

    def produce(self, show: Callable[[list[Document], Document], None]) -> None:
        """Run the chain to its end. Work that was done before is not done again."""
        if self.complete():
            return show(self.tasks(), self.client.overview())
        log = self.home.log("demo-chain")
        command = [sys.executable, "-m", "prodchain.cli", "chain", "run", CHAIN]
        command += ["-p", f"events={self.events}", "-p", f"tag={self.tag}", "--home", str(self.home.path)]
        with log.open("w") as output:
            chain = subprocess.Popen(
                command,
                env=inherited(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            while chain.poll() is None:
                show(self.tasks(), self.client.overview())
                time.sleep(POLL_S)
        finally:
            end(chain)
        tasks = self.tasks()
        show(tasks, self.client.overview())
        if not self.complete():
            raise self._failed(tasks, log)
        return None

    def _failed(self, tasks: list[Document], log: Path) -> FailedWork:
        for task in tasks:
            if task["state"] in ENDED and task["state"] != "done":
                message = f"step {task['step']} ended {task['state']}: {task['reason']}"
                return FailedWork(message, object=f"task {task['id']}", hint=f"prodchain task why {task['id']}")
        said = log.read_text(errors="replace").strip().splitlines()[-3:]
        return FailedWork("the chain failed: " + " | ".join(said), object=CHAIN, hint=f"read {log}")

    def fetch(self, progress: AbstractContextManager[Any] | None = None) -> list[Path]:
        """The files of the last dataset, in HOME/results."""
        name = self.tasks()[-1]["output"]
        folder = self.home.path / "results" / name.rpartition(":")[2]
        with progress or nullcontext() as bar:
            summary = fetch(self.client, name, folder, bar)
        if summary.failed:
            first = summary.failed[0]
            raise FailedWork(f"{first.file}: {first.reason}", object=name, hint="run the demo again: it goes on here")
        return sorted(folder.glob("*.root.*"))

    def result(self, files: list[Path]) -> tuple[Document, list[str]]:
        """What ``--json`` prints, and the histogram's lines."""
        from prodchain.tasks.payloads import zmass

        mass = zmass.measure(files)
        picture = self.home.path / "results" / f"zmumu-{self.tag}.png"
        zmass.plot(mass, picture)
        tasks = self.tasks()
        dispatched = self.client.datasets(kind="dispatch", bookkeeping=True, limit=None)
        names = [task["output"] for task in tasks]
        document = {
            "steps": [step_of(task) for task in tasks],
            "datasets": [dataset_of(self.client.dataset(name)) for name in names],
            "dispatch_datasets": sum(
                each["did"].startswith(tuple(f"{name}_dis" for name in names)) for each in dispatched
            ),
            "bytes_moved": self.client.overview()["transfers"]["bytes_done"],
            "median_mass": mass.median,
            "plot": str(picture),
            "wall_s": round(time.monotonic() - self.began, 1),
        }
        return document, zmass.lines(mass)

    def difference(self, files: list[Path]) -> str | None:
        """The first difference from the same physics done in this one process, None if there is none."""
        from prodchain.broker.splitting import split_events
        from prodchain.tasks.payloads import reference

        requests = {task["step"]: task["request"] for task in self.tasks()}
        evgen, sim, reco = requests["evgen"], requests["sim"], requests["reco"]
        cut = ("events", "events_per_job", "jobs", "first_event", "seed")
        pieces = split_events(**{key: evgen[key] for key in cut})
        with TemporaryDirectory(prefix="prodchain-reference-") as folder:
            expected = reference.produce(
                Path(folder),
                [piece.events for piece in pieces],
                first_event=evgen["first_event"],
                gen_seed=evgen["seed"],
                sim_seed=sim["seed"],
                reco_seed=reco["seed"],
            )
            return reference.compare(reference.read_aod(files), expected)


def end(chain: subprocess.Popen[bytes]) -> None:
    """Have the chain's process gone. It may tell Prefect, but not wait for a Prefect that is gone too."""
    if chain.poll() is None:
        chain.terminate()
        try:
            chain.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            chain.kill()
            chain.wait()


def step_of(task: Document) -> Document:
    return {"step": task["step"], "task": task["id"], "jobs": task["jobs"], "events": task["events_done"]}


def dataset_of(dataset: Document) -> Document:
    sites = sorted({replica["site"] for replica in dataset["replicas"]})
    return {key: dataset[key] for key in ("did", "files", "events", "bytes")} | {"sites": sites}
