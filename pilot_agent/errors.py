"""What can go wrong in a pilot; every error has a stable code, names its object and says what to do.

PilotError
  Unreachable        no answer from the broker, or one that says "later"
  Refusal            the broker answered that it does not accept the request
    TokenRefused     no token, or one that is unknown, expired or not allowed to do this
  StorageError       a file could not be read, written or verified
    DiskFull         no room left in the work directory or at the storage
    Stopped          copying was stopped on request
"""

from __future__ import annotations

from typing import ClassVar


class PilotError(Exception):
    """An error with a code, the object it is about, and a hint: what to do about it."""

    code: ClassVar[str] = "pilot-error"

    def __init__(self, message: str, *, object: str = "", hint: str = "") -> None:  # noqa: A002
        super().__init__(message)
        self.object = object
        self.hint = hint


class Unreachable(PilotError):
    code = "unreachable"


class Refusal(PilotError):
    code = "refusal"


class TokenRefused(Refusal):
    code = "token-refused"


class StorageError(PilotError):
    code = "storage-error"


class DiskFull(StorageError):
    code = "disk-full"


class Stopped(StorageError):
    code = "stopped"
