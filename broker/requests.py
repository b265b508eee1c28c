"""The document that submits a task, as the API takes it."""

import re
from collections.abc import Collection
from string import Formatter
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from prodchain.catalog.names import parse_did, parse_output_did, parse_versioned

from .models import Activity
from .texts import storable

TEMPLATE_FIELDS = ("events", "skip", "first_event", "seed", "job_seed", "number", "inputs", "output")
TEXT_FIELDS = ("inputs", "output")
_FIELD_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_WIDTH = re.compile(r"0?[1-9]?[0-9]?d?")
"""What may follow a number's name: {number:06d}."""
INT = 2**31 - 1
BIG = 2**53 - 1
"""Whole numbers that every reader of JSON keeps exact."""
MAX_JOBS = 10_000_000
SOFTWARE_BYTES = 2000
UNMERGED = ".unmerged"
"""What the name of a dataset of small outputs ends with, which a merge makes one of larger files of."""


def check_command(command: list[str], names: Collection[str]) -> set[str]:
    """The fields of a command template; ValueError for one that is none of the ``names`` or cannot be written so."""
    found = set()
    for word in command:
        try:
            fields = [part[1:] for part in Formatter().parse(word) if part[1] is not None]
        except ValueError as error:
            raise ValueError(f"{word!r}: {error}; write braces that are no field doubled") from None
        for name, form, conversion in fields:
            if name not in names:
                raise ValueError(f"{word!r}: no such field {name!r}; known are {tuple(names)}")
            plain = name in TEXT_FIELDS or name not in TEMPLATE_FIELDS
            if conversion or (form and (plain or not _WIDTH.fullmatch(form))):
                raise ValueError(f"{word!r}: {name} cannot be written so; plain, or a number as {{number:06d}}")
            found.add(str(name))
    return found


def refuse_unstorable(texts: Collection[str]) -> None:
    """Raises ValueError for a text that the database does not take."""
    if any(storable(text) != text for text in texts):
        raise ValueError("NUL and halves of surrogate pairs cannot be kept: leave them out")


class Secondary(BaseModel):
    """A second dataset that jobs read beside their input, as minimum-bias events for pile-up."""

    model_config = ConfigDict(extra="forbid")

    dataset: str = Field(description="DID of a closed dataset; its files are handed out in turn")
    files_per_job: int = Field(default=1, ge=1, le=1000)


class Merge(BaseModel):
    """How small outputs become larger ones."""

    model_config = ConfigDict(extra="forbid")

    command: list[str] = Field(min_length=1, description="program and options, as for the task itself")
    files_per_job: int | None = Field(default=None, ge=1, le=INT)
    bytes_per_job: int | None = Field(default=None, ge=1, le=BIG)

    @model_validator(mode="after")
    def has_a_size(self) -> "Merge":
        if self.files_per_job is None and self.bytes_per_job is None:
            raise ValueError("a merge needs files_per_job or bytes_per_job: how much becomes one file")
        if not {"inputs", "output"} <= check_command(self.command, TEMPLATE_FIELDS):
            raise ValueError("the command of a merge names its {inputs} and its {output}")
        refuse_unstorable(self.command)
        return self


class TaskRequest(BaseModel):
    """A workload: a command template over an input dataset, or over a number of events to make.

    Units are in the names: ``_mb`` megabytes (10**6 bytes), ``_s`` seconds.
    """

    model_config = ConfigDict(extra="forbid")

    step: str = Field(min_length=1, max_length=40)
    output: str = Field(description="DID of the output dataset; also the key that makes submission repeatable")
    input: str | None = Field(
        default=None, description="DID of the input dataset (NAME@2: of a version); none for event generation"
    )
    command: list[str] = Field(
        min_length=1,
        description=f"program and options; fields {TEMPLATE_FIELDS}, and the names of outputs and secondary",
    )
    events: int | None = Field(default=None, ge=1, le=BIG, description="events to make, for a task without input")
    events_per_job: int | None = Field(default=None, ge=1, le=INT)
    files_per_job: int | None = Field(default=None, ge=1, le=INT)
    bytes_per_job: int | None = Field(default=None, ge=1, le=BIG)
    jobs: int | None = Field(default=None, ge=1, le=MAX_JOBS, description="pieces of a task without input")
    boundary: Literal["file", "dataset", "none"] | None = Field(
        default=None, description="what a piece does not cross; file with events_per_job, none else"
    )
    outputs: dict[str, str] = Field(default={}, description="further outputs: name in the command, and DID")
    secondary: dict[str, Secondary] = Field(
        default={}, description="further inputs: name in the command, and dataset"
    )
    scouts: int = Field(default=0, ge=0, le=100, description="pieces that run first and are measured")
    target_walltime_s: int | None = Field(default=None, ge=1, le=INT, description="length of a job after the scouts")
    merge: Merge | None = None
    first_event: int = Field(default=1, ge=0, le=BIG)
    seed: int = Field(default=1, ge=0, le=BIG)
    destination: str | None = Field(default=None, description="storage where the output ends up")
    cores: int = Field(default=1, ge=1, le=INT)
    memory_mb: int = Field(default=1000, ge=1, le=INT)
    walltime_s: int = Field(default=3600, ge=1, le=INT)
    scratch_mb: int = Field(default=0, ge=0, le=INT)
    gpus: int = Field(default=0, ge=0, le=64)
    architecture: str = Field(default="", max_length=40, description="as x86_64; empty: any")
    software: list[str] = Field(default=[], max_length=50, description="what the queue must have")
    sites: list[str] = Field(default=[], description="only these sites or queues; empty: all")
    group: str = Field(default="", max_length=100, description="the working group it runs for")
    activity: Activity = Activity.PRODUCTION
    priority: int = Field(default=1000, ge=0, le=100_000)
    max_attempts: int = Field(default=3, ge=1, le=50)
    run: str | None = Field(default=None, description="the Prefect flow run that submits")

    @field_validator("step", "run", "destination", "command", "architecture", "software", "sites", "group")
    @classmethod
    def storable_only(cls, value: str | list[str] | None) -> str | list[str] | None:
        refuse_unstorable([value] if isinstance(value, str) else value or [])
        return value

    @field_validator("software")
    @classmethod
    def short_enough_for_an_index(cls, value: list[str]) -> list[str]:
        if len("".join(value).encode()) > SOFTWARE_BYTES:
            raise ValueError(f"the names of software may have {SOFTWARE_BYTES} bytes together")
        return value

    @model_validator(mode="after")
    def names_that_can_be(self) -> "TaskRequest":
        """Raises BadName, which says what to do."""
        made = [parse_output_did(text) for text in (self.output, *self.outputs.values())]
        if self.merge is not None:
            parse_output_did(f"{made[0]}{UNMERGED}")
        if len(set(made)) < len(made):
            raise ValueError("each output is a dataset of its own: give them different names")
        if len({did.scope for did in made}) > 1:
            raise ValueError(f"the outputs of one task are in one scope: begin them all with {made[0].scope}:")
        read = [self.input] if self.input is not None else []
        for text in (*read, *(wanted.dataset for wanted in self.secondary.values())):
            if (did := parse_versioned(text)[0]) in made:
                raise ValueError(f"{did} cannot be both input and output: give the output another name (a new tag)")
        return self

    @model_validator(mode="after")
    def a_command_with_known_fields(self) -> "TaskRequest":
        own = [*self.outputs, *self.secondary]
        for name in own:
            if not _FIELD_NAME.fullmatch(name) or name in TEMPLATE_FIELDS or own.count(name) > 1:
                raise ValueError(
                    f"{name!r} cannot name an output or a secondary input: small letters, digits and _, beginning"
                    f" with a letter, each name once and none of {TEMPLATE_FIELDS}"
                )
        used = check_command(self.command, (*TEMPLATE_FIELDS, *own))
        if unused := [name for name in own if name not in used]:
            raise ValueError(f"the command does not name {{{unused[0]}}}: say where the program gets the file's name")
        return self

    @model_validator(mode="after")
    def one_way_to_split(self) -> "TaskRequest":
        if self.input is None:
            self._generation_can_be_split()
        elif self.events is not None or self.jobs is not None:
            name = "jobs" if self.events is None else "events"
            raise ValueError(f"{name} belongs to tasks without input; this one takes all events of its input")
        if self.events_per_job and (self.files_per_job or self.bytes_per_job):
            other = "files_per_job" if self.files_per_job else "bytes_per_job"
            raise ValueError(f"give events_per_job or {other}, not both")
        if self.boundary == "file" and ((self.files_per_job or 1) > 1 or self.bytes_per_job):
            raise ValueError(
                "a piece that does not cross files is one file: leave files_per_job and bytes_per_job out"
            )
        return self

    @model_validator(mode="after")
    def sizes_that_can_be_learnt(self) -> "TaskRequest":
        if self.target_walltime_s is None:
            return self
        if not self.scouts:
            raise ValueError("target_walltime_s needs scouts: jobs that are measured first")
        if self.input is None and self.events is None:
            raise ValueError("target_walltime_s needs events: jobs without any cannot be made larger or smaller")
        if self.boundary == "file" and self.events_per_job is None:
            raise ValueError("target_walltime_s cannot size jobs that are one file each: give events_per_job")
        return self

    def _generation_can_be_split(self) -> None:
        for name in ("files_per_job", "bytes_per_job", "boundary"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} needs an input dataset")
        if self.jobs and self.events_per_job:
            raise ValueError("give jobs or events_per_job, not both")
        if self.events is None and self.events_per_job:
            raise ValueError("a task without input needs events with events_per_job, or jobs")
        if not (self.jobs or (self.events and self.events_per_job)):
            raise ValueError("a task without input needs events and events_per_job, or jobs")
        if self.events and self.jobs and self.events < self.jobs:
            raise ValueError(f"{self.events} events are not enough for {self.jobs} jobs")
        if self.events and self.events_per_job and self.events > MAX_JOBS * self.events_per_job:
            raise ValueError(f"this makes more than {MAX_JOBS} jobs: give more events_per_job")

    def content(self) -> dict[str, object]:
        """What makes two submissions the same: all but the run that submits and what operators may change."""
        content = self.model_dump(exclude={"run", "priority"})
        content["output"] = str(parse_did(self.output))
        content["outputs"] = {name: str(parse_did(text)) for name, text in self.outputs.items()}
        content["input"] = None if self.input is None else _plain(self.input)
        for wanted in content["secondary"].values():
            wanted["dataset"] = _plain(wanted["dataset"])
        if self.events and self.jobs and self.events % self.jobs == 0:  # so many jobs of one size: the size says it
            content |= {"jobs": None, "events_per_job": self.events // self.jobs}
        return content


def _plain(text: str) -> str:
    """A dataset's name with its scope, and the version if one is meant."""
    did, version = parse_versioned(text)
    return str(did) if version is None else f"{did}@{version}"
