"""What data exists, where it is and what is on its way: the catalog's tables.

Sizes are bytes, checksums are adler32 as eight hex digits, times are UTC. Counters (``files``, ``bytes``,
``events``) are kept in the transaction that changes what they count, never recomputed for a reader.
"""

from datetime import UTC, datetime
from enum import StrEnum
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
from sqlmodel import Field, SQLModel


class StorageKind(StrEnum):
    DISK = "disk"
    TAPE = "tape"


class DatasetKind(StrEnum):
    PRODUCTION = "production"
    USER = "user"
    LOG = "log"
    DISPATCH = "dispatch"
    SUB = "sub"


BOOKKEEPING = (DatasetKind.DISPATCH, DatasetKind.SUB)
"""Kinds that the system makes for itself: hidden from listings unless asked for."""


class DatasetState(StrEnum):
    OPEN = "open"
    CLOSED = "closed"


class SubscriptionState(StrEnum):
    ACTIVE = "active"
    DONE = "done"


class TransferState(StrEnum):
    QUEUED = "queued"
    DONE = "done"


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


class Site(SQLModel, table=True):
    """A place that offers storages and queues."""

    name: str = Field(primary_key=True)
    description: str = ""


class Storage(SQLModel, table=True):
    """A place for files, reached through one fsspec URL."""

    id: int | None = Field(default=None, sa_column=Column(SmallInteger, Identity(), primary_key=True))
    name: str = Field(unique=True)
    site: str = Field(foreign_key="site.name")
    url: str
    kind: StorageKind = Field(default=StorageKind.DISK, sa_type=Text)
    writable: bool = True
    home: bool = False
    """Where results end up unless a task says otherwise; one storage has it."""


class Dataset(SQLModel, table=True):
    """A named collection of files; closed means that its content never changes again.

    ``project`` .. ``tags`` are the fields of the dataset nomenclature, parsed once at registration.
    """

    __table_args__ = (
        Index("dataset_did", "scope", "name", unique=True),
        Index("dataset_name", "name"),
        Index("dataset_expires", "expires_at", postgresql_where=text("expires_at IS NOT NULL")),
    )

    id: int | None = Field(default=None, sa_column=big_key())
    scope: str = Field(sa_column=name_column())
    name: str = Field(sa_column=name_column())
    kind: DatasetKind = Field(default=DatasetKind.PRODUCTION, sa_type=Text)
    state: DatasetState = Field(default=DatasetState.OPEN, sa_type=Text)
    owner: str = ""
    files: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    bytes: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    events: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": "0"})
    created_at: datetime = Field(default_factory=now, sa_column=time_column())
    closed_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    expires_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    project: str | None = None
    number: str | None = None
    physics: str | None = None
    step: str | None = None
    format: str | None = None
    tags: str | None = None


class File(SQLModel, table=True):
    """A logical file; the same in every copy."""

    __table_args__ = (Index("file_did", "scope", "name", unique=True),)

    id: int | None = Field(default=None, sa_column=big_key())
    scope: str = Field(sa_column=name_column())
    name: str = Field(sa_column=name_column())
    guid: UUID
    bytes: int = Field(sa_type=BigInteger)
    adler32: str
    events: int = Field(default=0, sa_type=BigInteger)
    created_at: datetime = Field(default_factory=now, sa_column=time_column())


class DatasetFile(SQLModel, table=True):
    """A file's membership of a dataset."""

    __tablename__ = "dataset_file"
    __table_args__ = (Index("dataset_file_file", "file_id"),)

    dataset_id: int = Field(sa_column=big_ref("dataset.id", primary=True))
    file_id: int = Field(sa_column=big_ref("file.id", primary=True))


class Replica(SQLModel, table=True):
    """A verified copy of a file at a storage: a row exists only after size and checksum were checked."""

    file_id: int = Field(sa_column=big_ref("file.id", primary=True))
    storage_id: int = Field(sa_column=small_ref("storage.id", primary=True))
    created_at: datetime = Field(default_factory=now, sa_column=time_column())


class DatasetReplica(SQLModel, table=True):
    """How much of a dataset a storage has; complete when ``files`` equals the dataset's."""

    __tablename__ = "dataset_replica"

    dataset_id: int = Field(sa_column=big_ref("dataset.id", primary=True))
    storage_id: int = Field(sa_column=small_ref("storage.id", primary=True))
    files: int = Field(default=0, sa_type=BigInteger)
    bytes: int = Field(default=0, sa_type=BigInteger)


class Subscription(SQLModel, table=True):
    """A wish for a complete copy of a dataset at a storage; what joins an open dataset later follows."""

    __table_args__ = (Index("subscription_wish", "dataset_id", "storage_id", unique=True),)

    id: int | None = Field(default=None, sa_column=big_key())
    dataset_id: int = Field(sa_column=big_ref("dataset.id"))
    storage_id: int = Field(sa_column=small_ref("storage.id"))
    state: SubscriptionState = Field(default=SubscriptionState.ACTIVE, sa_type=Text)
    created_at: datetime = Field(default_factory=now, sa_column=time_column())
    done_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))


class Transfer(SQLModel, table=True):
    """A copy of one file to one storage, leased by one mover at a time; shared by all who wish for it."""

    __table_args__ = (
        Index("transfer_queue", "not_before", "file_id", postgresql_where=text("state = 'queued'")),
        Index("transfer_recent", "queued_at"),
    )

    file_id: int = Field(sa_column=big_ref("file.id", primary=True))
    storage_id: int = Field(sa_column=small_ref("storage.id", primary=True))
    source_id: int | None = Field(default=None, sa_column=small_ref("storage.id", nullable=True))
    state: TransferState = Field(default=TransferState.QUEUED, sa_type=Text)
    bytes: int = Field(default=0, sa_type=BigInteger)
    attempts: int = 0
    error: str | None = None
    worker: str | None = None
    not_before: datetime = Field(default_factory=now, sa_column=time_column())
    lease_until: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    queued_at: datetime = Field(default_factory=now, sa_column=time_column())
    started_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))
    done_at: datetime | None = Field(default=None, sa_column=time_column(nullable=True))


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
    __table_args__ = (Index("hold_file_arrival", "file_id", "storage_id"),)

    hold_id: int = Field(sa_column=Column(BigInteger, ForeignKey("hold.id", ondelete="CASCADE"), primary_key=True))
    file_id: int = Field(sa_column=big_ref("file.id", primary=True))
    storage_id: int = Field(sa_column=Column(SmallInteger, nullable=False))


class Garbage(SQLModel, table=True):
    """A path at a storage that may hold a file nobody registered; the mover deletes it after ``not_before``."""

    id: int | None = Field(default=None, sa_column=big_key())
    storage_id: int = Field(sa_column=small_ref("storage.id"))
    scope: str
    name: str
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
