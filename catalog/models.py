"""What data exists, where it is and what is on its way: the catalog's tables.

Sizes are bytes, checksums are adler32 as eight hex digits, times are UTC. Counters (``files``, ``bytes``,
``events``) are kept in the transaction that changes what they count, never recomputed for a reader.
"""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    DefaultClause,
    ForeignKey,
    Identity,
    Index,
    SmallInteger,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel


class StorageKind(StrEnum):
    DISK = "disk"
    TAPE = "tape"


class DatasetKind(StrEnum):
    PRODUCTION = "production"
    USER = "user"
    LOG = "log"
    CONTAINER = "container"
    """A dataset of datasets: has children instead of files."""
    DISPATCH = "dispatch"
    SUB = "sub"


BOOKKEEPING = (DatasetKind.DISPATCH, DatasetKind.SUB)
"""Kinds that the system makes for itself: hidden from listings unless asked for."""

SHOWN = "latest AND deleted_at IS NULL AND kind NOT IN ('dispatch', 'sub')"
"""Which datasets a listing shows unless more is asked for; these have indexes of their own."""


class DatasetState(StrEnum):
    OPEN = "open"
    CLOSED = "closed"
    DELETED = "deleted"
    """Its files are let go and it has no members any more; the name stays taken."""


class SubscriptionState(StrEnum):
    ACTIVE = "active"
    DONE = "done"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class TransferState(StrEnum):
    QUEUED = "queued"
    DONE = "done"


class TransferPhase(StrEnum):
    NEW = "new"
    """Has no source yet."""
    STAGE = "stage"
    """Its source is on tape and has to be brought to disk."""
    READY = "ready"
    """Has a source; leased as soon as limits allow."""
    ACTIVE = "active"
    """Leased."""
    WAITING = "waiting"
    """Tried in vain, or without any source: looked at again at ``not_before``."""


class BadState(StrEnum):
    RECOVERING = "recovering"
    RECOVERED = "recovered"
    LOST = "lost"


def now() -> datetime:
    return datetime.now(UTC)


def big_key() -> Column[int]:
    return Column(BigInteger, Identity(), primary_key=True)


def big_ref(target: str, *, primary: bool = False, nullable: bool = False) -> Column[int]:
    return Column(BigInteger, ForeignKey(target), primary_key=primary, nullable=nullable and not primary)


def small_ref(target: str, *, primary: bool = False, nullable: bool = False) -> Column[int]:
    return Column(SmallInteger, ForeignKey(target), primary_key=primary, nullable=nullable and not primary)


def name_column() -> Column[str]:
    """Byte order, so that ``LIKE 'prefix%'`` and sorted pages use the index."""
    return Column(Text(collation="C"), nullable=False)


def time_column(*, nullable: bool = False) -> Column[datetime]:
    return Column(DateTime(timezone=True), nullable=nullable, server_default=None if nullable else text("now()"))


def big_count() -> Any:
    """A counter that starts at zero."""
    return Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})


def json_column() -> Column[Any]:
    return Column(JSONB, nullable=True)


class Site(SQLModel, table=True):
    """A place that offers storages and queues."""

    name: str = Field(primary_key=True)
    description: str = ""


class Storage(SQLModel, table=True):
    """A place for files, reached through one URL (backends: what each protocol is).

    ``capacity_bytes`` is None where nobody declared it: then nothing is refused or deleted for want of space.
    ``max_transfers`` bounds the copies that read from it or write to it at a time. ``attributes`` are what
    expressions select by, as in ``cloud=DE``. ``tape_api`` is the WLCG Tape REST API of a tape; None: discovered.
    """

    id: int | None = Field(default=None, sa_column=Column(SmallInteger, Identity(), primary_key=True))
    name: str = Field(unique=True)
    site: str = Field(foreign_key="site.name")
    url: str
    kind: StorageKind = Field(default=StorageKind.DISK, sa_type=Text)
    readable: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})
    writable: bool = True
    deletable: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})
    home: bool = False
    """Where results end up unless a task says otherwise; one storage has it."""
    capacity_bytes: int | None = Field(default=None, sa_type=BigInteger)
    min_free_bytes: int = big_count()
    max_transfers: int = Field(default=8, sa_column_kwargs={"server_default": "8"})
    attributes: dict[str, str] | None = Field(default=None, sa_column=json_column())
    tape_api: str | None = None


class SiteRevision(SQLModel, table=True):
    """One applied declaration of the sites: the text, and what it changed."""

    __tablename__ = "site_revision"

    id: int | None = Field(default=None, sa_column=big_key())
    at: datetime = Field(default_factory=now, sa_column=time_column())
    actor: str = ""
    text: str = ""
    changes: list[str] | None = Field(default=None, sa_column=json_column())


class Dataset(SQLModel, table=True):
    """A named collection of files; closed means that its content never changes again.

    Each version of a name is a dataset of its own; ``latest`` is what the bare name means. ``project`` .. ``tags``
    are the fields of the dataset nomenclature, parsed once at registration. ``deleted_at`` hides it; at ``purge_at``
    its files are let go and it cannot be undeleted any more. ``charged``: whose quotas it counts in, as in
    ``group:higgs``; None: its owner's (quotas.account). Of bookkeeping only what is on its way counts, where named.
    """

    __table_args__ = (
        Index("dataset_did", "scope", "name", "version", unique=True),
        Index("dataset_latest", "scope", "name", unique=True, postgresql_where=text("latest")),
        Index("dataset_name", "name", "scope", "version"),
        Index("dataset_shown", "name", "scope", "version", postgresql_include=["id"], postgresql_where=text(SHOWN)),
        Index("dataset_created", "created_at", "id", postgresql_where=text(SHOWN)),
        Index("dataset_owner", "owner", postgresql_where=text(SHOWN)),
        Index("dataset_charged", "charged", postgresql_where=text("charged IS NOT NULL")),
        Index(
            "dataset_grams",
            text("name_grams(scope, name)"),
            postgresql_using="gin",
            postgresql_where=text(SHOWN),
        ),
        Index(
            "dataset_expires",
            "expires_at",
            "id",
            postgresql_where=text("expires_at IS NOT NULL AND deleted_at IS NULL"),
        ),
        Index(
            "dataset_over",
            "closed_at",
            "id",
            postgresql_where=text("kind IN ('dispatch', 'sub') AND closed_at IS NOT NULL AND deleted_at IS NULL"),
        ),
        Index("dataset_purge", "purge_at", postgresql_where=text("purge_at IS NOT NULL")),
    )

    id: int | None = Field(default=None, sa_column=big_key())
    scope: str = Field(sa_column=name_column())
    name: str = Field(sa_column=name_column())
    version: int = Field(default=1, sa_column_kwargs={"server_default": "1"})
    latest: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})
    kind: DatasetKind = Field(default=DatasetKind.PRODUCTION, sa_type=Text)
    state: DatasetState = Field(default=DatasetState.OPEN, sa_type=Text)
    owner: str = ""
    charged: str | None = None
    files: int = big_count()
    bytes: int = big_count()
    events: int = big_count()
    created_at: datetime = Field(default_factory=now, sa_column=time_column())
    closed_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    expires_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    deleted_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    purge_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    meta: dict[str, Any] | None = Field(default=None, sa_column=json_column())
    project: str | None = None
    number: str | None = None
    physics: str | None = None
    step: str | None = None
    format: str | None = None
    tags: str | None = None


class VersionFilling(SQLModel, table=True):
    """A version of a large dataset whose members still join the next one, up to file ``walked_to`` so far."""

    __tablename__ = "version_filling"
    __table_args__ = (Index("version_filling_from", "from_id"),)

    dataset_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("dataset.id", ondelete="CASCADE"), primary_key=True)
    )
    from_id: int = Field(sa_column=big_ref("dataset.id"))
    walked_to: int = big_count()


class DatasetChild(SQLModel, table=True):
    """A dataset or container inside a container; a trigger refuses cycles."""

    __tablename__ = "dataset_child"
    __table_args__ = (Index("dataset_child_child", "child_id"),)

    parent_id: int = Field(sa_column=big_ref("dataset.id", primary=True))
    child_id: int = Field(sa_column=big_ref("dataset.id", primary=True))


class File(SQLModel, table=True):
    """A logical file; the same in every copy. ``lost_at``: its last copy was bad, and there is no other."""

    __table_args__ = (Index("file_did", "scope", "name", unique=True),)

    id: int | None = Field(default=None, sa_column=big_key())
    scope: str = Field(sa_column=name_column())
    name: str = Field(sa_column=name_column())
    guid: UUID
    bytes: int = Field(sa_type=BigInteger)
    adler32: str
    md5: str | None = None
    events: int = Field(default=0, sa_type=BigInteger)
    meta: dict[str, Any] | None = Field(default=None, sa_column=json_column())
    lost_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    created_at: datetime = Field(default_factory=now, sa_column=time_column())


class DatasetFile(SQLModel, table=True):
    """A file's membership of a dataset. Triggers check that there are both, once for all rows of a statement."""

    __tablename__ = "dataset_file"
    __table_args__ = (Index("dataset_file_file", "file_id"),)

    dataset_id: int = Field(sa_column=Column(BigInteger, primary_key=True))
    file_id: int = Field(sa_column=Column(BigInteger, primary_key=True))


class Replica(SQLModel, table=True):
    """A verified copy of a file at a storage: a row exists only after size and checksum were checked.

    From ``tombstone_at`` on it may be deleted when space is wanted; if that is ``-infinity`` (its file is in no
    dataset), in any case. ``mismatches`` counts copies from it that came out wrong: at two it is bad. A trigger
    checks that there are such a file and storage, once for all copies of a statement.
    """

    __table_args__ = (
        Index("replica_tombstone", "storage_id", "tombstone_at", postgresql_where=text("tombstone_at IS NOT NULL")),
    )

    file_id: int = Field(sa_column=Column(BigInteger, primary_key=True))
    storage_id: int = Field(sa_column=Column(SmallInteger, primary_key=True))
    tombstone_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    mismatches: int = Field(default=0, sa_type=SmallInteger, sa_column_kwargs={"server_default": "0"})
    created_at: datetime = Field(default_factory=now, sa_column=time_column())


class DatasetReplica(SQLModel, table=True):
    """How much of a dataset a storage has; complete when ``files`` equals the dataset's."""

    __tablename__ = "dataset_replica"
    __table_args__ = (Index("dataset_replica_storage", "storage_id", "dataset_id"),)

    dataset_id: int = Field(sa_column=big_ref("dataset.id", primary=True))
    storage_id: int = Field(sa_column=small_ref("storage.id", primary=True))
    files: int = Field(default=0, sa_type=BigInteger)
    bytes: int = Field(default=0, sa_type=BigInteger)


class BadReplica(SQLModel, table=True):
    """A copy that was declared or found damaged or gone, and what became of it."""

    __tablename__ = "bad_replica"
    __table_args__ = (
        Index("bad_replica_file", "file_id", "storage_id"),
        Index("bad_replica_recent", "storage_id", "at"),
    )

    id: int | None = Field(default=None, sa_column=big_key())
    file_id: int = Field(sa_column=big_ref("file.id"))
    storage_id: int = Field(sa_column=small_ref("storage.id"))
    state: BadState = Field(default=BadState.RECOVERING, sa_type=Text)
    at: datetime = Field(default_factory=now, sa_column=time_column())
    actor: str = ""
    reason: str = ""


class StorageUse(SQLModel, table=True):
    """Changes of what a storage holds, in copies and bytes; the amount is the sum (an agent folds the rows)."""

    __tablename__ = "storage_use"
    __table_args__ = (Index("storage_use_storage", "storage_id"),)

    id: int | None = Field(default=None, sa_column=big_key())
    storage_id: int = Field(sa_column=Column(SmallInteger, nullable=False))
    files: int = Field(sa_type=BigInteger)
    bytes: int = Field(sa_type=BigInteger)


class OwnerUse(SQLModel, table=True):
    """Changes of what the datasets on an account have at a storage; the amount is the sum, as above."""

    __tablename__ = "owner_use"
    __table_args__ = (Index("owner_use_owner", "owner", "storage_id"),)

    id: int | None = Field(default=None, sa_column=big_key())
    owner: str
    storage_id: int = Field(sa_column=Column(SmallInteger, nullable=False))
    bytes: int = Field(sa_type=BigInteger)


class Quota(SQLModel, table=True):
    """The most bytes that the datasets on an account may have at a storage, those on their way included."""

    owner: str = Field(primary_key=True)
    storage_id: int = Field(sa_column=small_ref("storage.id", primary=True))
    limit_bytes: int = Field(sa_type=BigInteger)


class Subscription(SQLModel, table=True):
    """A wish for a complete copy of a dataset at a storage.

    ``standing``: what joins an open dataset later follows; else it is a wish for what was there when it was made
    (while the dataset is open, a hold of ``subscription:ID`` knows which files). ``sources`` is an expression that
    bounds where copies may come from. ``direct``: wished for itself, not only as part of a container. ``walked_to``:
    the file up to which the members of a large dataset are queued (of a wish that ended: taken back); None: all are.
    """

    __table_args__ = (
        Index("subscription_wish", "dataset_id", "storage_id", unique=True),
        Index("subscription_active", "storage_id", "owner", postgresql_where=text("state = 'active'")),
        Index(
            "subscription_expires",
            "expires_at",
            postgresql_where=text("state IN ('active', 'done') AND expires_at IS NOT NULL"),
        ),
        Index("subscription_walked", "id", postgresql_where=text("walked_to IS NOT NULL")),
    )

    id: int | None = Field(default=None, sa_column=big_key())
    dataset_id: int = Field(sa_column=big_ref("dataset.id"))
    storage_id: int = Field(sa_column=small_ref("storage.id"))
    state: SubscriptionState = Field(default=SubscriptionState.ACTIVE, sa_type=Text)
    owner: str = ""
    standing: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})
    direct: bool = Field(default=True, sa_column_kwargs={"server_default": "true"})
    sources: str | None = None
    priority: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    expires_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    created_at: datetime = Field(default_factory=now, sa_column=time_column())
    done_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    walked_to: int | None = Field(default=None, sa_type=BigInteger)


class SubscriptionPart(SQLModel, table=True):
    """A wish for a container, and one for a dataset in it that it stands for."""

    __tablename__ = "subscription_part"
    __table_args__ = (Index("subscription_part_part", "part_id"),)

    container_id: int = Field(sa_column=big_ref("subscription.id", primary=True))
    part_id: int = Field(sa_column=big_ref("subscription.id", primary=True))


class StageRequest(SQLModel, table=True):
    """A request to a tape's REST API to bring files to its disk; ``request`` is the tape's own id of it."""

    __tablename__ = "stage_request"
    __table_args__ = (Index("stage_request_open", "storage_id", "id", postgresql_where=text("done_at IS NULL")),)

    id: int | None = Field(default=None, sa_column=big_key())
    storage_id: int = Field(sa_column=small_ref("storage.id"))
    request: str = ""
    files: int = 0
    error: str | None = None
    created_at: datetime = Field(default_factory=now, sa_column=time_column())
    polled_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    done_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))


class Link(SQLModel, table=True):
    """What went from one storage to another in an hour: the network's facts, as the brokerage wants them."""

    __table_args__ = (Index("link_hour", "hour"),)

    source_id: int = Field(sa_column=small_ref("storage.id", primary=True))
    storage_id: int = Field(sa_column=small_ref("storage.id", primary=True))
    hour: datetime = Field(sa_column=Column(DateTime(timezone=True), primary_key=True))
    files: int = big_count()
    bytes: int = big_count()
    seconds: float = Field(default=0.0, sa_column_kwargs={"server_default": "0"})
    failures: int = big_count()


class LinkLimit(SQLModel, table=True):
    """The most copies at a time from one storage to another."""

    __tablename__ = "link_limit"

    source_id: int = Field(sa_column=small_ref("storage.id", primary=True))
    storage_id: int = Field(sa_column=small_ref("storage.id", primary=True))
    max_transfers: int


_LANE = ("source_id", "storage_id", "owner")


def _queue(phase: str, *columns: Any) -> Index:
    """The queued transfers of one phase in an order of their own; what is done weighs nothing."""
    return Index(f"transfer_{phase}", *columns, postgresql_where=text(f"state = 'queued' AND phase = '{phase}'"))


_SHOWN_TRANSFERS = {
    "open": "state = 'queued'",
    "failing": "state = 'queued' AND error IS NOT NULL",
    "done": "state = 'done'",
}


def _shown(what: str, end: str) -> Index:
    """What a list of transfers shows of one storage, by the time when it was queued."""
    columns = (end, "queued_at", "file_id", *(("storage_id",) if end == "source_id" else ()))
    return Index(f"transfer_{what}", *columns, postgresql_where=text(_SHOWN_TRANSFERS[what.removesuffix("_from")]))


class Transfer(SQLModel, table=True):
    """A copy of one file to one storage, leased by one mover at a time; shared by all who wish for it.

    ``owner`` is who pays for it, ``sources`` an expression that bounds where it may come from, ``stage_id`` the
    tape request that brings the source to disk, ``staged_at`` when it was there, ``method`` how it was copied.
    ``phase`` says where a queued transfer stands; ``tried`` are the sources of this round of tries, one for each
    try, ``rounds`` how often all were tried in vain; ``batch`` is the lease: files that one worker copies in turn.
    """

    __table_args__ = (
        _queue("new", "storage_id", text("priority DESC"), text("bytes DESC"), "file_id"),
        _queue("ready", *_LANE, text("priority DESC"), text("bytes DESC"), "queued_at", "file_id"),
        _queue("active", "source_id", "storage_id", "batch"),
        Index(
            "transfer_stage",
            "source_id",
            text("priority DESC"),
            "queued_at",
            postgresql_where=text("state = 'queued' AND phase = 'stage' AND stage_id IS NULL"),
        ),
        Index("transfer_staging", "stage_id", postgresql_where=text("stage_id IS NOT NULL")),
        Index(
            "transfer_due",
            "not_before",
            postgresql_where=text("state = 'queued' AND (phase = 'waiting' OR phase = 'active')"),
        ),
        _shown("open", "storage_id"),
        _shown("open_from", "source_id"),
        _shown("failing", "storage_id"),
        _shown("done", "storage_id"),
        _shown("done_from", "source_id"),
    )

    file_id: int = Field(sa_column=big_ref("file.id", primary=True))
    storage_id: int = Field(sa_column=small_ref("storage.id", primary=True))
    source_id: int | None = Field(default=None, sa_column=small_ref("storage.id", nullable=True))
    state: TransferState = Field(default=TransferState.QUEUED, sa_type=Text)
    phase: TransferPhase = Field(default=TransferPhase.NEW, sa_type=Text, sa_column_kwargs={"server_default": "new"})
    bytes: int = Field(default=0, sa_type=BigInteger)
    priority: int = Field(default=0, sa_column_kwargs={"server_default": "0"})
    owner: str = ""
    sources: str | None = None
    attempts: int = 0
    tried: list[int] = Field(
        default_factory=list, sa_column=Column(ARRAY(SmallInteger), nullable=False, server_default="{}")
    )
    rounds: int = Field(default=0, sa_type=SmallInteger, sa_column_kwargs={"server_default": "0"})
    error: str | None = None
    worker: str | None = None
    batch: int | None = Field(default=None, sa_type=BigInteger)
    stage_id: int | None = Field(default=None, sa_column=big_ref("stage_request.id", nullable=True))
    staged_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    method: str | None = None
    not_before: datetime = Field(default_factory=now, sa_column=time_column())
    lease_until: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    queued_at: datetime = Field(default_factory=now, sa_column=time_column())
    started_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    done_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))


class TransferCount(SQLModel, table=True):
    """Changes of what is queued to a storage; the amount is the sum (the lease folds the rows).

    ``failing`` are those that have an error.
    """

    __tablename__ = "transfer_count"
    __table_args__ = (Index("transfer_count_storage", "storage_id"),)

    id: int | None = Field(default=None, sa_column=big_key())
    storage_id: int = Field(sa_column=Column(SmallInteger, nullable=False))
    files: int = Field(sa_type=BigInteger)
    bytes: int = Field(sa_type=BigInteger)
    failing: int = Field(sa_type=BigInteger)


class Hold(SQLModel, table=True):
    """Somebody who waits for files at a storage; ``missing`` counts those not yet there.

    ``holder`` is opaque to the catalog. At zero the catalog calls the hook that the holder's side registered,
    in the transaction of the last replica. The row stays until the holder lets go: it also says who needs
    the dataset.
    """

    __table_args__ = (
        Index("hold_holder", "holder", unique=True),
        Index("hold_dataset", "dataset_id"),
    )

    id: int | None = Field(default=None, sa_column=big_key())
    holder: str
    storage_id: int = Field(sa_column=small_ref("storage.id"))
    dataset_id: int | None = Field(default=None, sa_column=big_ref("dataset.id", nullable=True))
    missing: int = 0


class HoldFile(SQLModel, table=True):
    """A file that a hold still misses; deleted by its arrival."""

    __tablename__ = "hold_file"
    __table_args__ = (
        Index("hold_file_arrival", "file_id", "storage_id"),
        Index("hold_file_storage", "storage_id", "hold_id"),
    )

    hold_id: int = Field(sa_column=Column(BigInteger, ForeignKey("hold.id", ondelete="CASCADE"), primary_key=True))
    file_id: int = Field(sa_column=big_ref("file.id", primary=True))
    storage_id: int = Field(sa_column=Column(SmallInteger, nullable=False))


class Garbage(SQLModel, table=True):
    """A path at a storage that may hold a file nobody registered; the mover deletes it after ``not_before``."""

    __table_args__ = (Index("garbage_due", "storage_id", "not_before", "id"),)

    id: int | None = Field(default=None, sa_column=big_key())
    storage_id: int = Field(sa_column=small_ref("storage.id"))
    scope: str
    name: str
    not_before: datetime = Field(default_factory=now, sa_column=time_column())
    attempts: int = 0
    error: str | None = None


class CatalogEvent(SQLModel, table=True):
    """What happened to a dataset, file, storage or quota: when, by whom, in words. ``object`` is its name."""

    __tablename__ = "catalog_event"
    __table_args__ = (Index("catalog_event_object", "object", "id"),)

    id: int | None = Field(default=None, sa_column=big_key())
    at: datetime = Field(default_factory=now, sa_column=time_column())
    kind: str
    object: str
    actor: str = ""
    text: str


class Recording(SQLModel, table=True):
    """The external catalog (Rucio) that is told of changes, while there is one; what it takes is the agents' setting.

    ``caught_up``: everything that was there when it was switched on is in ``unrecorded``.
    """

    url: str = Field(primary_key=True)
    caught_up: bool = False
    since: datetime = Field(default_factory=now, sa_column=time_column())


class Unrecorded(SQLModel, table=True):
    """A change of a dataset that the external catalog was not told of yet; a dataset may have several.

    Rows are only added, so that who changes a dataset never waits for who records it. After ``attempts`` that failed
    with ``error`` it is tried again from ``not_before`` on.
    """

    __table_args__ = (
        Index("unrecorded_due", "not_before"),
        Index("unrecorded_dataset", "dataset_id"),
    )

    id: int | None = Field(default=None, sa_column=big_key())
    dataset_id: int = Field(sa_type=BigInteger)
    since: datetime = Field(default_factory=now, sa_column=time_column())
    not_before: datetime = Field(default_factory=now, sa_column=time_column())
    attempts: int = 0
    error: str | None = None


def give_database_defaults() -> None:
    """Let plain SQL leave out what Python would fill in: scalar defaults become the database's own."""
    for table in SQLModel.metadata.tables.values():
        for column in table.columns:
            default = column.default
            if column.server_default is None and default is not None and default.is_scalar:
                value = getattr(default, "arg")  # noqa: B009
                column.server_default = DefaultClause(text(f"'{value}'"))


give_database_defaults()
