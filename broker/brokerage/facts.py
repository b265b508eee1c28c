"""What a brokerage decision may look at; everything is an argument, so that a decision can be repeated.

Units are in the names (``_mb`` 10**6 bytes); sizes are bytes, rates bytes a second.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Files:
    """Input files of a bunch that the same storages have: how many there are in all, and their bytes."""

    at: tuple[int, ...]
    files: int
    bytes: int


class Missing(NamedTuple):
    """What a storage lacks of a bunch's inputs; ``groups`` by the storages that have it, which are in ``at``."""

    files: int
    bytes: int
    job_bytes: int
    """On average; at least 1 if it lacks anything."""
    groups: tuple[Files, ...]
    at: tuple[tuple[int, ...], ...]


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
        return self._missing.get(storage, self._all)

    def job_bytes(self, storage: int) -> int:
        """What one job of the bunch lacks there, on average."""
        return self._missing.get(storage, self._all).job_bytes

    @cached_property
    def _missing(self) -> dict[int, Missing]:
        """By the storages that have some of the inputs: of a large farm they are few, all others lack the same."""
        known = {storage for group in self.inputs for storage in group.at}
        return {at: self._sum(tuple(group for group in self.inputs if at not in group.at)) for at in known}

    @cached_property
    def _all(self) -> Missing:
        return self._sum(self.inputs)

    def _sum(self, groups: tuple[Files, ...]) -> Missing:
        files, bytes_ = sum(group.files for group in groups), sum(group.bytes for group in groups)
        return Missing(files, bytes_, -(-bytes_ // len(self.jobs)), groups, tuple(group.at for group in groups))


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

    @property
    def failing(self) -> bool:
        return not self.files and self.failures >= FAILING_TRIES


UNTRIED = Link()
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
        return self.links.get((source, target), UNTRIED).failing

    def ways(self, groups: tuple[tuple[int, ...], ...], target: int) -> "tuple[Way, ...]":
        """``groups``: by group of files, all storages that have them."""
        key = groups, target
        if (known := self._ways.get(key)) is None:
            self._ways[key] = known = tuple([self._way(group, target) for group in groups])
        return known

    def _way(self, sources: tuple[int, ...], target: int) -> "Way":
        is_open, on_tape = False, bool(sources)
        working, others = 0.0, 0.0  # the most bytes a second
        for at in sources:
            store = self.stores.get(at)
            link = self.links.get((at, target), UNTRIED)
            rate = (link.rate or UNKNOWN_RATE) * ((link.files + 1) / (link.files + link.failures + 1))
            if link.failing:
                others = max(others, rate)
            else:
                working = max(working, rate)
                is_open = is_open or (store is not None and store.readable)
            on_tape = on_tape and store is not None and store.tape
        best = working or others
        return Way(is_open, on_tape, 1 / best if best else 0.0)

    @cached_property
    def _ways(self) -> "dict[tuple[tuple[tuple[int, ...], ...], int], tuple[Way, ...]]":
        """Found once: most bunches ask the same of most queues."""
        return {}


class Way(NamedTuple):
    """How files that are at some storages come to another one."""

    is_open: bool
    """Whether there is a link that works, from where they can be read."""
    on_tape: bool
    """Whether they are nowhere else."""
    byte_s: float
    """How long a byte takes by the best link, tries in vain included; a link that works is better than one that
    does not. Zero if there is no source."""


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

    @cached_property
    def waiting(self) -> int:
        return self.assigned + self.activated

    def loaded(self, need: Need, jobs: int) -> "Offer":
        """The same with so many jobs of the bunch assigned to it."""
        bytes_ = jobs * need.job_bytes(self.storage)
        free = None if self.free_bytes is None else max(0, self.free_bytes - bytes_)
        load = {
            "assigned": self.assigned + jobs, "waiting": self.waiting + jobs,
            "incoming_bytes": self.incoming_bytes + bytes_, "free_bytes": free,
        }  # fmt: skip
        after = object.__new__(Offer)  # replace() would take ten times as long for all the fields that stay
        vars(after).update(vars(self), **load)
        return after


class Remedy(NamedTuple):
    """What would let a queue pass, as a sentence and as data, and who can do it.

    ``who``: ``nobody`` (it passes by itself), ``user`` or ``operator``. ``change`` names what has to be otherwise, in
    the words of the task's request, the queue's or storage's declaration, or these facts.
    """

    who: str
    text: str
    change: Mapping[str, Any] = MappingProxyType({})


class Failure(NamedTuple):
    """Why a queue cannot take a job; ``remedies`` are alternatives, the cheapest first."""

    reason: str
    remedies: tuple[Remedy, ...]
    criterion: str = ""


class Verdict(NamedTuple):
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


class Verdicts(Sequence[Verdict]):
    """The verdicts on all queues, made from the same facts when somebody reads them."""

    def __init__(self, make: Callable[[], Sequence[Verdict]]) -> None:
        self._make = make

    @cached_property
    def _made(self) -> Sequence[Verdict]:
        return self._make()

    def __len__(self) -> int:
        return len(self._made)

    def __getitem__(self, at: Any) -> Any:
        return self._made[at]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._made)


NEWS = frozenset({"status", "health"})
"""Criteria whose sentence is news when it is another one; those of others count what comes and goes."""


@dataclass(frozen=True)
class Decision:
    """Some jobs of a bunch and their queue; no queue means that they go on waiting, and the verdicts say why."""

    jobs: tuple[int, ...]
    queue: int | None
    reason: str
    verdicts: Sequence[Verdict]

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
