"""What can go wrong in the catalog; every error has a stable code, names its object and says what to do.

CatalogError
  BadName            a DID, dataset or file name that the catalog cannot take
  BadStorage         a storage that is unknown, unreachable or not writable
    StorageUnknown   no storage or site of that name (near misses named)
    StorageFull      no space, or no quota, at the storage
    StorageDenied    credentials that are missing, expired or not allowed to do it
    StorageTimeout   a storage that does not answer, or stopped in mid-transfer
  BadExpression      a storage expression that cannot be read, or that no storage fits
  DatasetNotFound    no such dataset (near misses named)
  DatasetClosed      the content of a closed dataset does not change
  DatasetConflict    the name is taken by a dataset of another kind or owner
  DatasetNeeded      somebody still needs what is to be deleted (who is named)
  DatasetDeleted     the dataset was deleted, and can no longer be changed or brought back
  ContainerCycle     a container would contain itself
  QuotaExceeded      the owner's quota at the storage does not take so much
  FileConflict       the name is taken by a file with other content
  FileMissing        an expected file is not at its storage
  ChecksumMismatch   a copy differs from what the catalog knows
  ExternalCatalog    the external catalog (Rucio) refused, in its own words
    ExternalDenied       credentials that it does not take, or that are not allowed to do it
    ExternalUnreachable  it does not answer
  HookMissing        a process that lacks a hook was about to release, or to delete, what it knows too little of
"""

from typing import ClassVar


class CatalogError(Exception):
    """An error with a code, the object it is about, and a hint: what to do about it."""

    code: ClassVar[str] = "catalog-error"
    status: ClassVar[int] = 400
    """The HTTP status that it becomes at the edge."""

    def __init__(self, message: str, *, object: str, hint: str) -> None:  # noqa: A002
        super().__init__(message)
        self.object = object
        self.hint = hint


class BadName(CatalogError):
    code = "bad-name"


class BadStorage(CatalogError):
    code = "bad-storage"
    status = 409


class StorageUnknown(BadStorage):
    code = "storage-unknown"
    status = 404


class StorageFull(BadStorage):
    code = "storage-full"


class StorageDenied(BadStorage):
    code = "storage-denied"


class StorageTimeout(BadStorage):
    code = "storage-timeout"


class BadExpression(CatalogError):
    code = "bad-expression"


class DatasetNotFound(CatalogError):
    code = "dataset-not-found"
    status = 404


class DatasetClosed(CatalogError):
    code = "dataset-closed"
    status = 409


class DatasetConflict(CatalogError):
    code = "dataset-conflict"
    status = 409


class DatasetNeeded(CatalogError):
    code = "dataset-needed"
    status = 409


class DatasetDeleted(CatalogError):
    code = "dataset-deleted"
    status = 409


class ContainerCycle(CatalogError):
    code = "container-cycle"
    status = 409


class QuotaExceeded(CatalogError):
    code = "quota-exceeded"
    status = 409


class FileConflict(CatalogError):
    code = "file-conflict"
    status = 409


class FileMissing(CatalogError):
    code = "file-missing"
    status = 409


class ChecksumMismatch(CatalogError):
    code = "checksum-mismatch"
    status = 409


class ExternalCatalog(CatalogError):
    code = "external-catalog"
    status = 409


class ExternalDenied(ExternalCatalog):
    code = "external-denied"
    status = 403


class ExternalUnreachable(ExternalCatalog):
    code = "external-unreachable"
    status = 503


class HookMissing(CatalogError):
    code = "hook-missing"
    status = 500
