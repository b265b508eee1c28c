"""`jobReport.json`: what a payload tells the pilot, in the form of ATLAS's transforms.

Source: ATLAS athena, Tools/PyJobTransforms/python/trfReports.py (public); report version 2.1.2. Times in
seconds, memory in kB, sizes in bytes, checksums as eight hexadecimal digits.
"""

import argparse
import json
import platform
import re
import resource
import shlex
import time
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .exit_codes import ExitCode
from .options import flat
from .outcome import FileFacts, Outcome

VERSION = "2.1.2"
MESSAGE_LENGTH = 256  # what the database of PanDA takes; the rest goes to exitMsgExtra


@dataclass
class Meter:
    """Time and memory since the payload began its work (CPU: since the process began)."""

    started: float = field(default_factory=time.monotonic)

    def read(self) -> dict[str, float]:
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "cpuTime": round(usage.ru_utime + usage.ru_stime, 3),
            "wallTime": round(time.monotonic() - self.started, 3),
            "maxRSS": usage.ru_maxrss,
        }


def write(path: Path, document: dict[str, Any]) -> None:
    """A reader never sees half a report."""
    partial = path.with_name(f".{path.name}.part")
    partial.write_text(json.dumps(document, indent=2) + "\n")
    partial.replace(path)


def compose(
    name: str,
    command: list[str],
    code: ExitCode,
    message: str,
    options: argparse.Namespace | None,
    outcome: Outcome | None,
    used: dict[str, float],
) -> dict[str, Any]:
    """The whole document; `options` are missing if they were wrong, `outcome` if the work failed."""
    ok = code is ExitCode.OK
    taken = outcome.taken if outcome else 0
    return {
        "name": name,
        "reportVersion": VERSION,
        "cmdLine": shlex.join([f"{name}.py", *command]),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "exitCode": int(code),
        "exitAcronym": code.acronym,
        "exitMsg": message[:MESSAGE_LENGTH],
        "exitMsgExtra": message[MESSAGE_LENGTH:],
        "files": _files(options, outcome),
        "executor": [
            {
                "name": name,
                "rc": int(code),
                "statusOK": ok,
                "errMsg": "" if ok else message,
                "metaData": outcome.metadata if outcome else {},
            }
        ],
        "resource": {
            "transform": {
                "cpuTime": used["cpuTime"],
                "cpuTimeTotal": used["cpuTime"],
                "wallTime": used["wallTime"],
                "processedEvents": taken,
            },
            "executor": {
                name: {
                    "cpuTime": used["cpuTime"],
                    "wallTime": used["wallTime"],
                    "memory": {"Max": {"maxRSS": used["maxRSS"]}},
                }
            },
            "machine": {"node": platform.node(), "platform": platform.platform()},
        },
    }


def _files(options: argparse.Namespace | None, outcome: Outcome | None) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {"input": [], "output": []}
    for option, value in vars(options).items() if options else ():
        match = re.fullmatch("(input|output)(.+)File", option)
        if not match or not value:
            continue
        way, kind = match.groups()
        if way == "input":
            files = [_input(file) for file in outcome.inputs] if outcome else [{"name": p.name} for p in flat(value)]
        else:
            files = [_output(value, outcome.output, outcome.made)] if outcome else []
        found[way].append({"type": kind, "argName": option, "dataset": None, "subFiles": files})
    return found


def _input(file: FileFacts) -> dict[str, Any]:
    return {"name": file.name, "nentries": file.entries, "file_guid": file.guid}


def _output(path: Path, file: FileFacts, entries: int) -> dict[str, Any]:
    return {
        "name": file.name,
        "file_guid": file.guid,
        "file_size": path.stat().st_size,
        "nentries": entries,
        "adler32": _adler32(path),
    }


def _adler32(path: Path) -> str:
    value = 1
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            value = zlib.adler32(part, value)
    return f"{value:08x}"
