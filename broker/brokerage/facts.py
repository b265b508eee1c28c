"""What a brokerage decision may look at; everything is an argument, so that a decision can be repeated."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Need:
    """What a bunch of like jobs needs. ``missing_bytes``: by storage, what one job's inputs lack there."""

    jobs: tuple[int, ...]
    cores: int
    memory_mb: int
    walltime_s: int
    missing_bytes: Mapping[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Offer:
    """A queue as it stands: its limits, its load (jobs waiting there and jobs with pilots) and its pilots."""

    queue: int
    name: str
    storage: int
    storage_writable: bool
    status: str
    slots: int
    cores: int
    memory_mb: int
    walltime_s: int
    waiting: int = 0
    executing: int = 0
    pilots_seen: int = 0


@dataclass(frozen=True)
class Verdict:
    """What is said of one queue for one bunch; ``remedy`` is what would let it pass."""

    queue: int
    passed: bool
    criterion: str
    reason: str
    remedy: str = ""
    weight: float = 0.0
    missing_bytes: int = 0


@dataclass(frozen=True)
class Decision:
    """Some jobs of a bunch and their queue; no queue means that they go on waiting, and the verdicts say why."""

    jobs: tuple[int, ...]
    queue: int | None
    reason: str
    verdicts: tuple[Verdict, ...]
