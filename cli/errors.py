"""What can go wrong in the command line itself, and how any error looks: what, which object, what to do.

CliError
  Usage         a command that makes no sense as written                     exit 2
  NotFound      a thing that is not there                                    exit 3
  NotAllowed    a file, folder or verb that this user may not use            exit 4
  FailedWork    the command ran, and what it was to do failed in part        exit 1
  TimedOut      what the command waited for did not come in time             exit 6

Errors of the broker and the catalog carry the same fields and an HTTP status, from which their exit code follows.
"""

import json
import os
import sys
import traceback
from typing import ClassVar

OK, FAILED, USAGE, NOT_FOUND, NOT_ALLOWED, UNREACHABLE, TIMED_OUT = range(7)
INTERRUPTED = 130

_BY_STATUS = {
    400: USAGE,
    401: NOT_ALLOWED,
    403: NOT_ALLOWED,
    404: NOT_FOUND,
    408: TIMED_OUT,
    422: USAGE,
    502: UNREACHABLE,
    503: UNREACHABLE,
    504: TIMED_OUT,
}


class CliError(Exception):
    """An error with a code, the object it is about, and a hint: what to do about it."""

    code: ClassVar[str] = "failed"
    exit_code: ClassVar[int] = FAILED

    def __init__(self, message: str, *, object: str, hint: str) -> None:  # noqa: A002
        super().__init__(message)
        self.object = object
        self.hint = hint


class Usage(CliError):
    code = "usage"
    exit_code = USAGE


class NotFound(CliError):
    code = "not-found"
    exit_code = NOT_FOUND


class NotAllowed(CliError):
    code = "not-allowed"
    exit_code = NOT_ALLOWED


class FailedWork(CliError):
    code = "failed-work"


class TimedOut(CliError):
    code = "timed-out"
    exit_code = TIMED_OUT


def exit_code_of(error: Exception) -> int:
    """The exit code of the contract (docs/plans/main-job.md) for any error."""
    if isinstance(error, CliError):
        return error.exit_code
    status = getattr(error, "status", None)
    if status == 0:  # no answer at all
        return TIMED_OUT if getattr(error, "code", "") == "timed-out" else UNREACHABLE
    return _BY_STATUS.get(status, FAILED) if isinstance(status, int) else FAILED


def report(error: Exception, *, as_json: bool) -> int:
    """Say on standard error what went wrong, about what, and what to do; the exit code is the answer."""
    if os.environ.get("PRODCHAIN_DEBUG") == "1":
        traceback.print_exception(error)
    code = getattr(error, "code", "internal")
    message = str(error) or type(error).__name__
    about = getattr(error, "object", None) or f"{type(error).__module__}.{type(error).__qualname__}"
    hint = getattr(error, "hint", None) or "run it again with PRODCHAIN_DEBUG=1 and report what it shows"
    if as_json:
        fields = {"code": code, "message": message, "object": about, "hint": hint}
        print(json.dumps({"error": fields}), file=sys.stderr)
    else:
        print(f"error: {_line(message)} [{code}]", file=sys.stderr)
        print(f"object: {_line(about)}", file=sys.stderr)
        print(f"do: {_line(hint)}", file=sys.stderr)
    return exit_code_of(error)


def _line(text: str) -> str:
    return " ".join(text.split())
