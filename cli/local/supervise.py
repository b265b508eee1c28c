"""The supervisor as a process: in the foreground, or detached and talking to its parent while it starts.

``python -m prodchain.cli.local.supervise HOME FLAGS FD`` is the detached one; through the descriptor FD it writes
a line of JSON for each change, and at last that it is ready or what is wrong.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from prodchain.broker.settings import load

from ..errors import CliError, FailedWork, Usage
from .home import Home
from .plan import Plan
from .program import inherited
from .supervisor import NAME, AlreadyRuns, Change, Supervisor, held
from .watch import State

Flags = dict[str, Any]
KINDS: dict[str, type[CliError]] = {
    "already-runs": AlreadyRuns,
    "usage": Usage,
    "bad-settings": Usage,
    "bad-site-file": Usage,
}
"""What a detached supervisor's errors are again on this side; any other one is failed work."""

Heard = Callable[[Change], None]


def supervise(home: Home, flags: Flags, heard: Heard, ready: Callable[[], None]) -> None:
    """Run the system of this home until SIGINT, SIGTERM or SIGHUP."""
    home.prepare()
    os.chdir(home.path)  # programs must not find modules, or hold on to a folder, where the user happened to be
    with held(home):
        plan = Plan(home, load(home.path, **flags))
        supervisor = Supervisor(home, plan.programs(), heard, plan.then)
        before = {
            number: signal.signal(number, lambda *_: supervisor.stop())
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        try:
            supervisor.run(ready)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def detach(home: Home, flags: Flags, heard: Heard) -> None:
    """Start a supervisor that outlives us; returns when all is up, raises what it met."""
    home.prepare()
    reader, writer = os.pipe()
    command = [sys.executable, "-m", __spec__.name, str(home.path), json.dumps(flags), str(writer)]
    log = home.log(NAME)
    with log.open("ab") as output:
        child = subprocess.Popen(
            command,
            env=inherited() | {key: value for key, value in os.environ.items() if key.startswith("PRODCHAIN_")},
            cwd=home.path,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            pass_fds=[writer],
        )
    os.close(writer)
    try:
        with os.fdopen(reader) as lines:
            follow(lines, heard)
    except EOFError:
        message = f"the supervisor ended while it started (exit code {child.wait()})"
        raise FailedWork(message, object=NAME, hint=f"read {log}") from None
    except BaseException:
        child.terminate()  # if it has not ended by itself
        child.wait()
        raise
    child.returncode = 0  # it goes on without us; Python need not warn about that


def follow(lines: Any, heard: Heard) -> None:
    """Read what a detached supervisor says until it is ready; EOFError if it falls silent before."""
    for line in lines:
        said = json.loads(line)
        if "change" in said:
            heard(Change(**said["change"] | {"state": State(said["change"]["state"])}))
        elif "error" in said:
            what = said["error"]
            kind = KINDS.get(what["code"], FailedWork)
            raise kind(what["message"], object=what["object"], hint=what["hint"])
        else:
            return
    raise EOFError


def main() -> int:
    home, flags, descriptor = Home(Path(sys.argv[1])), json.loads(sys.argv[2]), int(sys.argv[3])
    os.set_inheritable(descriptor, False)
    parent = os.fdopen(descriptor, "w", buffering=1)  # knows that it is closed: its number will be another file's

    def say(**what: Any) -> None:
        with suppress(OSError):  # nobody listens any more
            if not parent.closed:
                parent.write(json.dumps(what) + "\n")

    def heard(change: Change) -> None:
        print(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} {change.name} {change.state} {change.problem}", flush=True)
        say(change=asdict(change))

    def ready() -> None:
        say(ready=True)
        with suppress(OSError):
            parent.close()

    try:
        supervise(home, flags, heard, ready)
    except Exception as error:
        fields = {name: str(getattr(error, name, "")) for name in ("code", "object", "hint")}
        say(error=fields | {"message": str(error) or type(error).__name__})
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
