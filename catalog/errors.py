"""What can go wrong in the catalog; every error has a stable code, names its object and says what to do.

CatalogError
  BadName            a DID, dataset or file name that the catalog cannot take
  BadStorage         a storage that is unknown, unreachable, full or not writable
  DatasetNotFound    no such dataset (near misses named)
  DatasetClosed      the content of a closed dataset does not change
  DatasetConflict    the name is taken by a dataset of another kind or owner
  FileConflict       the name is taken by a file with other content
  FileMissing        an expected file is not at its storage
  ChecksumMismatch   a copy differs from what the catalog knows
  HookMissing        a hold was satisfied in a process that cannot act on it
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


class DatasetNotFound(CatalogError):
    code = "dataset-not-found"
    status = 404


class DatasetClosed(CatalogError):
    code = "dataset-closed"
    status = 409


class DatasetConflict(CatalogError):
    code = "dataset-conflict"
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


class HookMissing(CatalogError):
    code = "hook-missing"
    status = 500
