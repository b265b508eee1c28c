"""What the work of a payload hands back for its report."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class FileFacts:
    """A file as the report shows it: entries and GUID are read from the file itself."""

    name: str
    guid: str
    entries: int


@dataclass(frozen=True)
class Outcome:
    """Events taken and made, the files they came from and went to, and what else is worth telling."""

    taken: int
    made: int
    inputs: list[FileFacts]
    output: FileFacts
    metadata: dict[str, str | int | float] = field(default_factory=dict)
