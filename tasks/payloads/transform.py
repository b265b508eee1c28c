"""The frame of every payload: options, one exit code, one line on stdout, and always a report."""

import argparse
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

from . import report
from .exit_codes import ExitCode, TransformError
from .options import Options
from .outcome import Outcome

Work = Callable[[argparse.Namespace], Outcome]
AGAIN_S = 0.01
"""How long after a destructor swallowed a SIGTERM it comes again."""


class Terminated(BaseException):
    """SIGTERM came; like KeyboardInterrupt no `Exception`, which a library may take for a failure of its own."""


def run(options: Options, work: Work, argv: list[str] | None = None) -> int:
    """Do the work and report on it; the exit code is the same as in the report."""
    command = sys.argv[1:] if argv is None else argv
    name = options.prog.removesuffix(".py")
    meter = report.Meter()
    values: argparse.Namespace | None = None
    outcome: Outcome | None = None
    code, message = ExitCode.OK, "OK"
    try:
        with _terminable():
            values = options.parse_args(command)
            outcome = work(values)
    except TransformError as error:
        code, message = error.code, str(error)
    except Terminated:
        code, message = ExitCode.SIGTERM, "terminated by SIGTERM"
    except KeyboardInterrupt:
        code, message = ExitCode.SIGINT, "interrupted from the keyboard"
    except Exception as error:
        traceback.print_exc()
        code, message = ExitCode.UNEXPECTED_OTHER_EXCEPTION, f"{type(error).__name__}: {error}"
    message = " ".join(message.split())  # libraries break their messages into lines
    used = meter.read()
    path = values.reportName if values else _report_name(command)
    report.write(path, report.compose(name, command, code, message, values, outcome, used))
    if outcome:
        what = f"{outcome.taken} events in, {outcome.made} events out"
        print(f"{name}: {what}, {used['cpuTime']:.1f} s CPU, {used['maxRSS'] / 1024:.0f} MB")
    else:
        print(f"{name}: {code.acronym} ({code.value}): {message}")
    return int(code)


def _report_name(command: list[str]) -> Path:
    """Where the report is wanted, from options that may be wrong elsewhere."""
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    finder.add_argument("--reportName", type=Path, default=Path("jobReport.json"))
    try:
        known, _ = finder.parse_known_args(command)
    except argparse.ArgumentError:
        return Path("jobReport.json")
    path: Path = known.reportName
    return path


@contextmanager
def _terminable() -> Iterator[None]:
    """A batch system's SIGTERM ends the work like any other failure: with a report, without half an output.

    A destructor swallows what is raised in it, and Python tells only the hook: then the signal comes again.
    """

    def stop(_signal: int, _frame: FrameType | None) -> NoReturn:
        raise Terminated

    def swallowed(what: "sys.UnraisableHookArgs") -> None:
        if isinstance(what.exc_value, Terminated):
            signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
        else:
            hook(what)

    before = [(number, signal.signal(number, stop)) for number in (signal.SIGTERM, signal.SIGALRM)]
    hook, sys.unraisablehook = sys.unraisablehook, swallowed
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.unraisablehook = hook
        for number, handler in before:
            signal.signal(number, handler)
