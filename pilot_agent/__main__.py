"""The pilot's command line: ``python3 pilot.pyz`` or ``python -m prodchain.pilot_agent``."""

from __future__ import annotations

import argparse
import logging
import os
import re
import secrets
import socket
import sys
import tempfile
import time
from pathlib import Path

from .errors import PilotError
from .http import Client
from .linux import hide_memory
from .machine import FAILED, Limits
from .pilot import Pilot, Slot
from .warden import Warden

log = logging.getLogger("prodchain.pilot")
TOKEN_FILE = "PRODCHAIN_TOKEN_FILE"  # noqa: S105 - the name of a variable
EPILOG = f"""examples:
  python3 pilot.pyz --server https://broker.example.org --token-file pilot.token
  {TOKEN_FILE}=pilot.token python3 pilot.pyz --server http://127.0.0.1:8765 --once
  python3 pilot.pyz --server ... --token-file ... --cores 8 --memory-mb 16000 --lifetime-s 172800 --idle-s 1200

The token is read from a file and never from the command line, which other users of the node can see.
SIGTERM makes the pilot stop its payload, report it failed and leave within 25 s.

exit codes: 0 left as wanted, 1 failed (with --once: the job failed), 2 wrong options,
4 token refused, 5 server unreachable for --give-up-s
"""


def main(arguments: list[str] | None = None) -> int:
    """Run a pilot to its end; returns the exit code."""
    options = _parser().parse_args(arguments)
    _log_to_stderr(options.name)
    hide_memory()
    slot = Slot(
        options.name,
        options.cores,
        options.memory_mb,
        options.work_dir,
        options.keep_work,
        options.gpus,
        tuple(options.software),
    )
    limits = Limits(options.lifetime_s, options.idle_s, options.max_jobs, options.give_up_s, options.once)
    warden = Warden()  # forks: before any thread
    try:
        return Pilot(slot, limits, Client(options.server, options.token_file), warden).run()
    except OSError as error:
        log.error("work directory %s: %s", options.work_dir, error.strerror or error)
    except PilotError as error:
        log.error("%s (%s)", error, error.hint)
    return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pilot",
        description="Pull jobs from a prodchain broker and run them on this node, one after the other.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    token_file = os.environ.get(TOKEN_FILE)
    work = Path(tempfile.gettempdir()) / f"prodchain-{os.getuid()}"
    name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    add = parser.add_argument
    add("--server", metavar="URL", required=True, help="address of the broker")
    add(
        "--token-file",
        metavar="FILE",
        type=Path,
        default=token_file,
        required=not token_file,
        help=f"file with the pilot's token (default: ${TOKEN_FILE})",
    )
    add("--name", type=_name, default=name, help="name of the pilot (default: host, pid and something random)")
    add("--cores", type=int, default=1, metavar="N", help="cores for payloads (default: %(default)s)")
    add("--memory-mb", type=int, default=2000, metavar="MB", help="memory for payloads (default: %(default)s)")
    add("--gpus", type=int, metavar="N", help="GPUs for payloads (default: as the queue is said to have)")
    add(
        "--software",
        action="append",
        default=[],
        metavar="NAME",
        help="software on this node beside the queue's, may be repeated (shell patterns, as 'Athena/24.*')",
    )
    add("--work-dir", type=Path, default=work, metavar="DIR", help="where jobs run (default: %(default)s)")
    add("--keep-work", action="store_true", help="keep the work directories of failed jobs")
    add("--lifetime-s", type=float, default=86400.0, metavar="S", help="length of the slot (default: %(default)s)")
    add("--idle-s", type=float, default=600.0, metavar="S", help="leave after this long without work; 0: never")
    add("--max-jobs", type=int, default=0, metavar="N", help="leave after this many jobs; 0: no limit")
    add("--once", action="store_true", help="one job, or none if there is none, then leave")
    add("--give-up-s", type=float, default=600.0, metavar="S", help="leave after this long without the server")
    return parser


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.@-]{1,200}", text):
        raise argparse.ArgumentTypeError("letters, digits and _ . @ - only")
    return text


class _OneLine(logging.Formatter):
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802 - its name
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).replace("\n", " | ")


def _log_to_stderr(name: str) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine(f"%(asctime)s {name} %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)


if __name__ == "__main__":
    sys.exit(main())
