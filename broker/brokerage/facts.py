"""What a brokerage decision may look at; everything is an argument, so that a decision can be repeated.

Units are in the names (``_mb`` 10**6 bytes); sizes are bytes, rates bytes a second.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Files:
    """Input files of a bunch that the same storages have: how many there are in all, and their bytes."""

    at: tuple[int, ...]
    files: int
    bytes: int


@dataclass(frozen=True)
class Missing:
    """What a storage lacks of a bunch's inputs; ``groups`` by the storages that have it."""

    files: int = 0
    bytes: int = 0
    groups: tuple[Files, ...] = ()


@dataclass(frozen=True)
class Need:
    """A bunch of like jobs and what each of them needs of a slot."""

    jobs: tuple[int, ...]
    cores: int = 1
    memory_mb: int = 1000
    walltime_s: int = 3600
    scratch_mb: int = 0
    gpus: int = 0
    architecture: str = ""
    """Empty: any."""
    software: tuple[str, ...] = ()
    inputs: tuple[Files, ...] = ()
    task: int = 0
    owner: str = ""
    group: str = ""
    activity: str = "production"
    priority: int = 1000
    share: int = 1
    sites: tuple[str, ...] = ()
    """Only these sites or queues; empty: all."""
    avoid: tuple[int, ...] = ()
    """Queues where this work failed for a reason of theirs, or that it was ordered to leave."""
    room: int | None = None
    """Jobs that its owner's quota still lets be placed; none: any number."""

    def missing(self, storage: int) -> Missing:
        """What the storage lacks, of the whole bunch."""
        if storage not in self._missing:
            groups = tuple(group for group in self.inputs if storage not in group.at)
            lacking = Missing(sum(group.files for group in groups), sum(group.bytes for group in groups), groups)
            self._missing[storage] = lacking
        return self._missing[storage]

    def job_bytes(self, storage: int) -> int:
        """What one job of the bunch lacks there, on average; at least 1 if it lacks anything."""
        return -(-self.missing(storage).bytes // len(self.jobs))

    @cached_property
    def _missing(self) -> dict[int, Missing]:
        return {}


@dataclass(frozen=True)
class Store:
    """A storage that inputs may come from."""

    name: str
    readable: bool = True
    tape: bool = False


@dataclass(frozen=True)
class Link:
    """How copies from one storage to another went lately: those that arrived, and tries in vain."""

    rate: float | None = None
    files: int = 0
    failures: int = 0


UNKNOWN_RATE = 20e6
"""Bytes a second that are expected of a link nobody has tried."""
FAILING_TRIES = 3
"""So many tries in vain and nothing that arrived: such a link is failing."""


@dataclass(frozen=True)
class Network:
    """Storages by id, and links by the ids of source and target."""

    stores: Mapping[int, Store] = field(default_factory=dict)
    links: Mapping[tuple[int, int], Link] = field(default_factory=dict)

    def failing(self, source: int, target: int) -> bool:
        link = self.links.get((source, target))
        return link is not None and not link.files and link.failures >= FAILING_TRIES

    def open(self, source: int, target: int) -> bool:
        store = self.stores.get(source)
        return store is not None and store.readable and not self.failing(source, target)

    def byte_s(self, source: int, target: int) -> float:
        """How long a byte takes, tries in vain included."""
        link = (source, target)
        if link not in self._byte_s:
            known = self.links.get(link, Link())
            success = (known.files + 1) / (known.files + known.failures + 1)
            self._byte_s[link] = 1 / ((known.rate or UNKNOWN_RATE) * success)
        return self._byte_s[link]

    def nearest_s(self, sources: tuple[int, ...], target: int) -> float:
        """The same by the fastest of the links that work, if any does; zero if there is no source."""
        way = sources, target
        if way not in self._nearest_s:
            open_ = [self.byte_s(at, target) for at in sources if not self.failing(at, target)]
            self._nearest_s[way] = min(open_ or [self.byte_s(at, target) for at in sources], default=0.0)
        return self._nearest_s[way]

    @cached_property
    def _byte_s(self) -> dict[tuple[int, int], float]:
        return {}

    @cached_property
    def _nearest_s(self) -> dict[tuple[tuple[int, ...], int], float]:
        return {}


@dataclass(frozen=True)
class Slot:
    """The most that pilots have offered lately, each by itself; none: they did not say."""

    cores: int | None = None
    memory_mb: int | None = None
    scratch_mb: int | None = None
    gpus: int | None = None


@dataclass(frozen=True)
class Offer:
    """A queue as it stands: its limits, load and pilots, and its storage.

    ``status`` is what holds: an operator's word, else the sites file's. ``free_bytes`` is what the storage takes
    beyond what is there and on its way (None: nobody declared a capacity); ``incoming_bytes`` what is on its way.
    ``finished`` and ``failed`` are jobs since the day before.
    """

    queue: int
    name: str
    storage: int
    storage_name: str = ""
    site: str = ""
    status: str = "online"
    health: str = "good"
    health_reason: str = ""
    canary: int | None = None
    """The task that may run there whatever its status and health: it tries the queue out."""
    slots: int = 1
    cores: int = 1
    memory_mb: int = 2000
    walltime_s: int = 86400
    scratch_mb: int = 20_000
    gpus: int = 0
    architecture: str = "x86_64"
    software: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    max_jobs: int | None = None
    assigned: int = 0
    """Jobs there whose inputs are on their way."""
    activated: int = 0
    """Jobs there that wait for pilots."""
    executing: int = 0
    """Jobs with pilots."""
    waiting_limit: int = 20
    """Assigned and activated jobs that keep it busy; more would only be bound too early."""
    pilots: int = 0
    """Pilots that called lately; counted to fifty."""
    pilots_ever: bool = False
    best: Slot = Slot()
    writable: bool = True
    readable: bool = True
    free_bytes: int | None = None
    incoming_bytes: int = 0
    incoming_limit: int = 10**15
    finished: int = 0
    failed: int = 0
    network: Network = field(default=Network(), compare=False, repr=False)

    @property
    def waiting(self) -> int:
        return self.assigned + self.activated

    def loaded(self, need: Need, jobs: int) -> "Offer":
        """The same with so many jobs of the bunch assigned to it."""
        bytes_ = jobs * need.job_bytes(self.storage)
        free = None if self.free_bytes is None else max(0, self.free_bytes - bytes_)
        return replace(
            self, assigned=self.assigned + jobs, incoming_bytes=self.incoming_bytes + bytes_, free_bytes=free
        )


@dataclass(frozen=True)
class Remedy:
    """What would let a queue pass, as a sentence and as data, and who can do it.

    ``who``: ``nobody`` (it passes by itself), ``user`` or ``operator``. ``change`` names what has to be otherwise, in
    the words of the task's request, the queue's or storage's declaration, or these facts.
    """

    who: str
    text: str
    change: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Failure:
    """Why a queue cannot take a job; ``remedies`` are alternatives, the cheapest first."""

    reason: str
    remedies: tuple[Remedy, ...]
    criterion: str = ""


@dataclass(frozen=True)
class Verdict:
    """What is said of one queue for one bunch: all criteria that it fails, or its weight with the words for it."""

    queue: int
    failures: tuple[Failure, ...] = ()
    words: str = ""
    weight: float = 0.0
    missing_bytes: int = 0
    """What its storage lacks of one job's inputs."""
    seconds: float = 0.0
    """How long moving them is expected to take."""

    @property
    def passed(self) -> bool:
        return not self.failures

    @property
    def criterion(self) -> str:
        return self.failures[0].criterion if self.failures else "weight"

    @property
    def reason(self) -> str:
        return "; ".join(failure.reason for failure in self.failures) or self.words

    @property
    def remedy(self) -> str:
        """What lets it pass: the cheapest for each failure."""
        return "; and ".join(dict.fromkeys(failure.remedies[0].text for failure in self.failures))


NEWS = frozenset({"status", "health"})
"""Criteria whose sentence is news when it is another one; those of others count what comes and goes."""


@dataclass(frozen=True)
class Decision:
    """Some jobs of a bunch and their queue; no queue means that they go on waiting, and the verdicts say why."""

    jobs: tuple[int, ...]
    queue: int | None
    reason: str
    verdicts: tuple[Verdict, ...]

    def key(self) -> tuple[object, ...]:
        """What was decided, for whichever jobs and in whatever words: the queue, and what was found of each."""
        return self.queue, [
            (verdict.queue, [failure.criterion for failure in verdict.failures], verdict.weight)
            for verdict in self.verdicts
        ]

    def answer(self) -> list[tuple[int, list[tuple[str, str, list[Mapping[str, Any]]]]]]:
        """What makes two refusals the same, whatever their sentences count: who fails what, and its remedies."""
        return [
            (
                verdict.queue,
                [
                    (
                        failure.criterion,
                        failure.reason * (failure.criterion in NEWS),
                        [r.change for r in failure.remedies],
                    )
                    for failure in verdict.failures
                ],
            )
            for verdict in self.verdicts
        ]
