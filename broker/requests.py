"""The document that submits a task, as the API takes it."""

from string import Formatter

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

TEMPLATE_FIELDS = ("events", "skip", "first_event", "seed", "number", "inputs", "output")


class TaskRequest(BaseModel):
    """A workload: a command template over an input dataset, or over a number of events to make.

    Units are in the names: ``_mb`` megabytes (10**6 bytes), ``_s`` seconds.
    """

    model_config = ConfigDict(extra="forbid")

    step: str = Field(min_length=1, max_length=40)
    output: str = Field(description="DID of the output dataset; also the key that makes submission repeatable")
    input: str | None = Field(default=None, description="DID of the input dataset; none for event generation")
    command: list[str] = Field(min_length=1, description=f"program and options; fields {TEMPLATE_FIELDS}")
    events: int | None = Field(default=None, ge=1, description="events to make, for a task without input")
    events_per_job: int | None = Field(default=None, ge=1)
    files_per_job: int | None = Field(default=None, ge=1)
    first_event: int = Field(default=1, ge=0)
    seed: int = Field(default=1, ge=0)
    destination: str | None = Field(default=None, description="storage where the output ends up")
    cores: int = Field(default=1, ge=1)
    memory_mb: int = Field(default=1000, ge=1)
    walltime_s: int = Field(default=3600, ge=1)
    priority: int = Field(default=1000, ge=0, le=100_000)
    max_attempts: int = Field(default=3, ge=1, le=50)
    run: str | None = Field(default=None, description="the Prefect flow run that submits")

    @field_validator("command")
    @classmethod
    def known_fields_only(cls, command: list[str]) -> list[str]:
        for word in command:
            try:
                names = {name for _, name, _, _ in Formatter().parse(word) if name is not None}
            except ValueError as error:
                raise ValueError(f"{word!r}: {error}; write braces that are no field doubled") from None
            unknown = names - set(TEMPLATE_FIELDS)
            if unknown:
                raise ValueError(f"{word!r}: no such field {sorted(unknown)}; known are {TEMPLATE_FIELDS}")
        return command

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
        return self

    def content(self) -> dict[str, object]:
        """What makes two submissions the same: all but the run that submits and what operators may change."""
        return self.model_dump(exclude={"run", "priority"})
