"""What a sites' declaration says, once it was read and found right."""

from dataclasses import dataclass, field

from prodchain.catalog.sites import LinkSpec, SiteSpec

STATUSES = ("online", "drain", "offline")
GB = 10**9


@dataclass(frozen=True)
class Storage:
    """``url`` is absolute; relative ones of the file start from the file's folder. None: nobody said."""

    name: str
    site: str
    url: str
    kind: str = "disk"
    readable: bool = True
    writable: bool = True
    deletable: bool = True
    capacity_bytes: int | None = None
    min_free_bytes: int = 0
    max_transfers: int = 8
    attributes: dict[str, str] = field(default_factory=dict)
    tape_api: str | None = None


@dataclass(frozen=True)
class Queue:
    """What one slot offers to a job, how many slots there are, and how many pilots ``up`` starts on its machine.

    ``allow`` empty: everybody may run there. None: no limit (``max_jobs``), shares alone (``analysis_percent``).
    """

    name: str
    site: str
    storage: str
    status: str = "online"
    slots: int = 1
    local_pilots: int = 0
    cores: int = 1
    memory_mb: int = 2000
    walltime_s: int = 86400
    scratch_mb: int = 20_000
    gpus: int = 0
    architecture: str = "x86_64"
    software: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    max_jobs: int | None = None
    analysis_percent: int | None = None


@dataclass(frozen=True)
class SiteFile:
    """``home`` names the storage where results end up unless a task says otherwise."""

    home: str
    sites: tuple[SiteSpec, ...]
    storages: tuple[Storage, ...]
    queues: tuple[Queue, ...]
    links: tuple[LinkSpec, ...] = ()
