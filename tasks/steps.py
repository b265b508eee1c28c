"""What a step is: a program, how it is called, and what it makes. The standard steps are data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .current import taker
from .dataset import Dataset
from .errors import BadStep
from .template import JOB_FIELDS, fields, fill

SPLITS = ("jobs", "events_per_job", "files_per_job", "bytes_per_job", "boundary")
"""Wishes that say how the work is cut: one of them replaces all of a step's defaults."""
NUMBERS = ("events", "jobs", "events_per_job", "files_per_job", "bytes_per_job", "scouts", "target_walltime_s")
REQUEST_WISHES = (
    *SPLITS, "events", "first_event", "seed", "outputs", "secondary", "scouts", "target_walltime_s", "merge",
    "destination", "cores", "memory_mb", "walltime_s", "scratch_mb", "gpus", "architecture", "software", "sites",
    "group", "activity", "priority", "max_attempts",
)  # fmt: skip
"""Wishes that go into the broker's request as they are."""
CHAIN_FACETS = ("project", "run_number", "physics", "tag")
"""Option fields that the chain itself fills in: the parts of its datasets' names."""


@dataclass(frozen=True, eq=False)
class Step:
    """A program of a site's PATH that makes one dataset, from another one or from nothing.

    ``command`` is a template: ``{inputs}`` and ``{output}`` are file names, ``{events}``, ``{skip}``,
    ``{first_event}``, ``{seed}`` and ``{number}`` belong to the job; any other field is an option of the step.
    ``defaults`` holds values of options and of wishes (``files_per_job``, ``memory_mb``, ...).
    """

    name: str
    command: list[str]
    format: str
    word: str = ""
    """The step's field in dataset names; the step's name if empty."""
    defaults: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if "output" not in fields(self.command):
            raise BadStep(
                f"step {self.name} has no {{output}} in its command",
                object=self.name,
                hint="say where the program gets the name of its output file",
            )
        unknown = set(self.defaults) - set(REQUEST_WISHES) - self.options
        if unknown:
            raise BadStep(
                f"step {self.name} has defaults for {sorted(unknown)}, which are neither options nor wishes",
                object=self.name,
                hint=f"options are {sorted(self.options)}, wishes {sorted(REQUEST_WISHES)}",
            )

    @property
    def options(self) -> frozenset[str]:
        """The fields of the command that a call fills in."""
        return fields(self.command) - JOB_FIELDS - set(CHAIN_FACETS)

    @property
    def takes_input(self) -> bool:
        return "inputs" in fields(self.command)

    def __call__(
        self,
        source: Dataset | str | None = None,
        /,
        *,
        events: int | None = None,
        jobs: int | None = None,
        events_per_job: int | None = None,
        files_per_job: int | None = None,
        bytes_per_job: int | None = None,
        boundary: str | None = None,
        scouts: int | None = None,
        target_walltime_s: int | None = None,
        merge: Mapping[str, object] | None = None,
        outputs: Mapping[str, str] | None = None,
        secondary: Mapping[str, object] | None = None,
        first_event: int | None = None,
        seed: int | None = None,
        tag: str | None = None,
        physics: str | None = None,
        destination: str | None = None,
        cores: int | None = None,
        memory_mb: int | None = None,
        walltime_s: int | None = None,
        scratch_mb: int | None = None,
        gpus: int | None = None,
        architecture: str | None = None,
        software: list[str] | None = None,
        sites: list[str] | None = None,
        group: str | None = None,
        activity: str | None = None,
        priority: int | None = None,
        max_attempts: int | None = None,
        **options: object,
    ) -> Dataset:
        """Order the step in the chain that runs; the dataset is a handle, there at once.

        ``source`` is another step's dataset or the name of one that exists. ``events`` and ``jobs`` (or
        ``events_per_job``) belong to steps without input; ``files_per_job``, ``bytes_per_job`` or ``events_per_job``
        split an input. ``outputs`` (name: DID) and ``secondary`` (name: {"dataset": DID, "files_per_job": n}) are
        further files, which the command names as fields. docs/how-to/split-work.md tells how to choose.
        """
        wishes = {
            "events": events,
            "jobs": jobs,
            "events_per_job": events_per_job,
            "files_per_job": files_per_job,
            "bytes_per_job": bytes_per_job,
            "boundary": boundary,
            "scouts": scouts,
            "target_walltime_s": target_walltime_s,
            "merge": merge,
            "outputs": outputs,
            "secondary": secondary,
            "first_event": first_event,
            "seed": seed,
            "tag": tag,
            "physics": physics,
            "destination": destination,
            "cores": cores,
            "memory_mb": memory_mb,
            "walltime_s": walltime_s,
            "scratch_mb": scratch_mb,
            "gpus": gpus,
            "architecture": architecture,
            "software": software,
            "sites": sites,
            "group": group,
            "activity": activity,
            "priority": priority,
            "max_attempts": max_attempts,
        }
        given = {key: value for key, value in wishes.items() if value is not None}
        return taker(self.name).take(self, source, {**given, **options})

    def request(
        self, *, output: str, source: str | None, wishes: Mapping[str, object], facets: Mapping[str, object]
    ) -> dict[str, Any]:
        """The document that submits the step to the broker (broker.requests.TaskRequest)."""
        self._check(source, wishes)
        wanted = {**self._defaults_beside(wishes), **wishes}
        request = {key: wanted[key] for key in REQUEST_WISHES if key in wanted}
        command = fill(self.command, {**facets, **wanted}, _files(wanted))
        return {"step": self.name, "output": output, "input": source, "command": command, **request}

    def _defaults_beside(self, wishes: Mapping[str, object]) -> dict[str, object]:
        """The defaults that hold; a default split gives way to the one that is wished for."""
        drop = SPLITS if wishes.keys() & set(SPLITS) else ()
        return {key: value for key, value in self.defaults.items() if key not in drop}

    def _check(self, source: str | None, wishes: Mapping[str, object]) -> None:
        def bad(message: str, hint: str) -> BadStep:
            return BadStep(f"step {self.name} {message}", object=self.name, hint=hint)

        options = self.options - _files({**self.defaults, **wishes})
        known = options | set(REQUEST_WISHES) | {"tag", "physics"}
        if unknown := sorted(set(wishes) - known):
            raise bad(f"does not know {', '.join(unknown)}", f"it knows {', '.join(sorted(known))}")
        if missing := sorted(options - set(wishes) - set(self.defaults)):
            raise bad(f"needs {', '.join(missing)}", f"give it as {missing[0]}=... where the step is called")
        wanted = {**self._defaults_beside(wishes), **wishes}
        if self.takes_input:
            if source is None:
                raise bad("needs an input dataset", f"call it as {self.name}(dataset)")
            if wanted.keys() & {"events", "jobs"}:
                raise bad("takes all events of its input", "split it by files_per_job or events_per_job")
        else:
            if source is not None:
                raise bad("takes no input dataset", "its command has no {inputs}")
            countless = "events" in fields(self.command) and "events" not in wanted
            if countless or not wanted.keys() & {"jobs", "events_per_job"}:
                raise bad("needs the number of events", f"call it as {self.name}(events=1000, jobs=4)")
        for key in NUMBERS:
            value = wanted.get(key)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise bad(f"has {key}={value!r}", f"{key} is a whole number from 1 on")


def _files(wanted: Mapping[str, object]) -> set[str]:
    """The fields of a command that are names of further files."""
    given = [wanted.get("outputs"), wanted.get("secondary")]
    return {str(name) for names in given if isinstance(names, Mapping) for name in names}


evgen = Step(
    "evgen",
    command=[
        "Gen_tf.py", "--jobConfig={job_config}", "--ecmEnergy={energy_gev}", "--runNumber={run_number}",
        "--firstEvent={first_event}", "--maxEvents={events}", "--randomSeed={seed}", "--outputEVNTFile={output}",
    ],
    format="EVNT",
    defaults={"energy_gev": 13600},
)  # fmt: skip
sim = Step(
    "sim",
    command=[
        "Sim_tf.py", "--inputEVNTFile={inputs}", "--skipEvents={skip}", "--maxEvents={events}",
        "--randomSeed={seed}", "--outputHITSFile={output}",
    ],
    format="HITS",
    word="simul",
    defaults={"files_per_job": 1},
)  # fmt: skip
reco = Step(
    "reco",
    command=[
        "Reco_tf.py", "--inputHITSFile={inputs}", "--skipEvents={skip}", "--maxEvents={events}",
        "--randomSeed={seed}", "--outputAODFile={output}",
    ],
    format="AOD",
    word="recon",
    defaults={"files_per_job": 1},
)  # fmt: skip
merge = Step(
    "merge",
    command=["Merge_tf.py", "--inputAODFile={inputs}", "--outputAOD_MRGFile={output}"],
    format="AOD",
    defaults={"files_per_job": 10},
)
