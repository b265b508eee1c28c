"""The document that submits a task, as the API takes it."""

import re
from string import Formatter
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from prodchain.catalog.names import parse_did, parse_output_did, parse_versioned

from .models import Activity
from .texts import storable

TEMPLATE_FIELDS = ("events", "skip", "first_event", "seed", "number", "inputs", "output")
TEXT_FIELDS = ("inputs", "output")
_WIDTH = re.compile(r"0?[1-9]?[0-9]?d?")
"""What may follow a number's name: {number:06d}."""
INT = 2**31 - 1
BIG = 2**53 - 1
"""Whole numbers that every reader of JSON keeps exact."""
MAX_JOBS = 10_000_000


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
    command: list[str] = Field(min_length=1, description=f"program and options; fields {TEMPLATE_FIELDS}")
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
    software: list[str] = Field(default=[], description="what the queue must have")
    sites: list[str] = Field(default=[], description="only these sites or queues; empty: all")
    group: str = Field(default="", max_length=100, description="the working group it runs for")
    activity: Activity = Activity.PRODUCTION
    priority: int = Field(default=1000, ge=0, le=100_000)
    max_attempts: int = Field(default=3, ge=1, le=50)
    run: str | None = Field(default=None, description="the Prefect flow run that submits")

    @field_validator("command")
    @classmethod
    def known_fields_only(cls, command: list[str]) -> list[str]:
        for word in command:
            try:
                fields = [part[1:] for part in Formatter().parse(word) if part[1] is not None]
            except ValueError as error:
                raise ValueError(f"{word!r}: {error}; write braces that are no field doubled") from None
            for name, form, conversion in fields:
                if name not in TEMPLATE_FIELDS:
                    raise ValueError(f"{word!r}: no such field {name!r}; known are {TEMPLATE_FIELDS}")
                if conversion or (form and (name in TEXT_FIELDS or not _WIDTH.fullmatch(form))):
                    raise ValueError(f"{word!r}: {name} cannot be written so; plain, or a number as {{number:06d}}")
        return command

    @field_validator("step", "run", "destination", "command")
    @classmethod
    def storable_only(cls, value: str | list[str] | None) -> str | list[str] | None:
        for text in [value] if isinstance(value, str) else value or []:
            if storable(text) != text:
                raise ValueError("NUL and halves of surrogate pairs cannot be kept: leave them out")
        return value

    @model_validator(mode="after")
    def names_that_can_be(self) -> "TaskRequest":
        """Raises BadName, which says what to do."""
        output = parse_output_did(self.output)
        if self.input is not None and parse_versioned(self.input)[0] == output:
            raise ValueError(f"{output} cannot be both input and output: give the output another name (a new tag)")
        return self

    @model_validator(mode="after")
    def one_way_to_split(self) -> "TaskRequest":
        if self.input is None and not (self.events and self.events_per_job):
            raise ValueError("a task without input needs events and events_per_job")
        if self.input is not None and self.events is not None:
            raise ValueError("events belongs to tasks without input; this one takes all events of its input")
        if self.events_per_job and self.files_per_job:
            raise ValueError("give events_per_job or files_per_job, not both")
        if self.input is None and self.files_per_job:
            raise ValueError("files_per_job needs an input dataset")
        if self.events and self.events_per_job and self.events > MAX_JOBS * self.events_per_job:
            raise ValueError(f"this makes more than {MAX_JOBS} jobs: give more events_per_job")
        return self

    def content(self) -> dict[str, object]:
        """What makes two submissions the same: all but the run that submits and what operators may change."""
        names = {"output": str(parse_did(self.output))}
        if self.input is not None:
            did, version = parse_versioned(self.input)
            names["input"] = str(did) if version is None else f"{did}@{version}"
        return self.model_dump(exclude={"run", "priority"}) | names
