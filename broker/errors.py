"""What can go wrong in the broker; every error has a stable code, names its object and says what to do.

BrokerError
  BadRequest      a document that the broker cannot take (field named)
  BadSiteFile     a sites file with a mistake (line named)
  NotFound        no such task, job, queue, site or pilot
  TaskConflict    the output dataset belongs to a task with other content
  WrongState      the object's state does not allow the verb
  Unauthorized    no token, or one that is unknown or expired
  Forbidden       a good token that does not allow this
  Unavailable     the database or another part cannot be reached now
  Busy            more requests than are served; to be repeated after a moment
"""

from collections.abc import Iterable
from typing import ClassVar

from prodchain.catalog.names import near_misses


class BrokerError(Exception):
    """An error with a code, the object it is about, and a hint: what to do about it."""

    code: ClassVar[str] = "broker-error"
    status: ClassVar[int] = 400
    """The HTTP status that it becomes at the edge."""

    def __init__(self, message: str, *, object: str, hint: str) -> None:  # noqa: A002
        super().__init__(message)
        self.object = object
        self.hint = hint


class BadRequest(BrokerError):
    code = "bad-request"
    status = 422


class BadSiteFile(BrokerError):
    code = "bad-site-file"
    status = 422


class NotFound(BrokerError):
    code = "not-found"
    status = 404


def unknown(kind: str, name: object, known: Iterable[str] = ()) -> NotFound:
    """No task, job, queue .. of that name; ``kind`` is the word for it, and the command that lists them.

    Of the ``known`` names those that come near are told.
    """
    near = near_misses(str(name), known)
    hint = f"did you mean {' or '.join(near)}?" if near else f"see `prodchain {kind} ls`"
    return NotFound(f"there is no {kind} {name}", object=f"{kind} {name}", hint=hint)


class TaskConflict(BrokerError):
    code = "task-conflict"
    status = 409


class WrongState(BrokerError):
    code = "wrong-state"
    status = 409


class Unauthorized(BrokerError):
    code = "unauthorized"
    status = 401


class Forbidden(BrokerError):
    code = "forbidden"
    status = 403


class Unavailable(BrokerError):
    code = "unavailable"
    status = 503


class Busy(BrokerError):
    code = "busy"
    status = 503
