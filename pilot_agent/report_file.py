"""jobReport.json, which transforms (ATLAS's and ours) leave in their work directory."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LONGEST_MESSAGE = 500


@dataclass(frozen=True)
class JobReport:
    """``exit_code`` is None without a report; ``files`` maps an output's name to its guid and events."""

    exit_code: int | None = None
    acronym: str = ""
    message: str = ""
    processed_events: int = 0
    files: dict[str, tuple[str, int | None]] = field(default_factory=dict)

    def guid(self, lfn: str) -> str:
        """The output's guid; a new one where the report has none that is one."""
        try:
            return str(uuid.UUID(self.files[lfn][0]))
        except (KeyError, ValueError):
            return str(uuid.uuid4())

    def events(self, lfn: str) -> int:
        """Events in an output: as counted for it, else as many as were processed."""
        counted = self.files.get(lfn, ("", None))[1]
        return self.processed_events if counted is None else counted

    def diagnosis(self) -> str:
        """ACRONYM: message, or what there is of it; empty if the report says that all is well."""
        message = self.message if self.message != "OK" else ""
        acronym = self.acronym if self.acronym != "OK" else ""
        return f"{acronym}: {message}" if acronym and message else acronym or message


def read_report(work: Path) -> JobReport:
    """The report in ``work``; an empty one where it is missing or unreadable (a killed payload's may be cut)."""
    try:
        document = json.loads((work / "jobReport.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return JobReport()
    if not isinstance(document, dict):
        return JobReport()
    transform = _object(_object(document.get("resource")).get("transform"))
    return JobReport(
        exit_code=_count(document.get("exitCode")),
        acronym=_words(document.get("exitAcronym")),
        message=_words(document.get("exitMsg")),
        processed_events=_count(transform.get("processedEvents")) or 0,
        files=_files(document),
    )


def _files(document: dict[str, Any]) -> dict[str, tuple[str, int | None]]:
    found = {}
    for group in _list(_object(document.get("files")).get("output")):
        for part in _list(_object(group).get("subFiles")):
            facts = _object(part)
            found[_words(facts.get("name"))] = (_words(facts.get("file_guid")), _count(facts.get("nentries")))
    return found


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _words(value: Any) -> str:
    return " ".join(value.split())[:LONGEST_MESSAGE] if isinstance(value, str) else ""


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
