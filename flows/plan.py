"""What a chain would do: its function runs, its steps are counted, nothing is submitted anywhere."""

import asyncio
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prodchain.broker.splitting import InputFile, Limits, split_events, split_files
from prodchain.tasks.dataset import Dataset, View

from .context import Context
from .definition import Definition
from .errors import BadChain
from .facets import Facets
from .load import bad_chain


@dataclass(frozen=True)
class PlannedStep:
    """A step with what can be known before it runs; counts are none if the input is a dataset from elsewhere.

    ``pieces`` holds the events of each job, ``files`` those of each file in the step's dataset, under the assumption
    that it drops none: where small outputs are merged, these are fewer.
    """

    step: str
    output: str
    input: str | None
    command: list[str]
    pieces: list[int] | None
    files: list[int] | None
    merges: bool = False

    @property
    def jobs(self) -> int | None:
        return None if self.pieces is None else len(self.pieces)

    @property
    def merge_jobs(self) -> int | None:
        """Each makes one of the files."""
        if not self.merges:
            return 0
        return None if self.files is None else len(self.files)

    @property
    def events(self) -> int | None:
        return None if self.pieces is None else sum(self.pieces)

    def view(self) -> View:
        """As a command line shows it."""
        files = None if self.files is None else len(self.files)
        counts = {"jobs": self.jobs, "merge_jobs": self.merge_jobs, "files": files, "events": self.events}
        return {"step": self.step, "input": self.input, "output": self.output, **counts, "command": self.command}


class _Done:
    """What awaiting a planned dataset gives at once: a view like that of a task that is done."""

    def __init__(self, step: PlannedStep) -> None:
        events = step.events or 0
        jobs = step.jobs or 0
        self._view = {
            "step": step.step, "state": "done", "input": step.input, "output": step.output, "numbers": jobs,
            "generated": True, "jobs": {"finished": jobs}, "events_done": events, "events_total": events,
        }  # fmt: skip

    def __await__(self) -> Generator[Any, None, View]:
        yield from ()
        return self._view


class Plan(Context):
    """Collects the steps of a chain instead of running them."""

    def __init__(self, facets: Facets) -> None:
        super().__init__(facets)
        self.steps: list[PlannedStep] = []

    def start(self, request: dict[str, Any], source: Dataset | None) -> Dataset:
        made = {step.output: step.files for step in self.steps}
        pieces = split(request, made.get(source.did) if source else None)
        step = PlannedStep(
            request["step"],
            request["output"],
            request["input"],
            request["command"],
            pieces,
            merged(request, pieces),
            merges=request.get("merge") is not None,
        )
        self.steps.append(step)
        return Dataset(step.output, step.step, _Done(step))


def split(request: dict[str, Any], inputs: list[int] | None) -> list[int] | None:
    """Events of each job that the broker would make, by the broker's own functions; none where it cannot be known.

    The size of files is not known before they are made, nor what scouts will teach.
    """
    if request.get("bytes_per_job") or request.get("target_walltime_s"):
        return None
    if request["input"] is None:
        works = split_events(
            request.get("events"),
            events_per_job=request.get("events_per_job"),
            jobs=request.get("jobs"),
            first_event=request.get("first_event", 1),
            seed=0,
        )
    elif inputs is None:
        return None
    else:
        limits = Limits.of(
            files_per_job=request.get("files_per_job"),
            events_per_job=request.get("events_per_job"),
            boundary=request.get("boundary"),
        )
        works = split_files([InputFile(*file) for file in enumerate(inputs)], limits, seed=0).works
    return [work.events for work in works]


def merged(request: dict[str, Any], pieces: list[int] | None) -> list[int] | None:
    """Events of each file that people get; one for each job unless they are merged, in whatever order they come."""
    merge = request.get("merge")
    if merge is None or pieces is None:
        return pieces
    return split({"input": request["output"], **merge}, pieces)


def plan(definition: Definition, parameters: dict[str, Any]) -> list[PlannedStep]:
    """The steps of the chain with these parameters; BadChain names file and line of a mistake in it."""
    planned = Plan(definition.facets_for(**parameters))
    try:
        asyncio.run(definition.call(planned, **parameters))
    except Exception as error:
        raise bad_chain(error, Path(definition.function.__code__.co_filename)) from error
    if not planned.steps:
        raise BadChain(
            f"chain {definition.name} has no steps", object=definition.entrypoint, hint="call steps in its function"
        )
    return planned.steps
