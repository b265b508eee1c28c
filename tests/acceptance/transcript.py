"""The page of the docs that is made from the run of test_sites, and the record of it beside the page."""

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from .sites import Said

DOCS = Path(__file__).parents[2] / "docs"
PAGE, RECORD = DOCS / "explanation" / "a-day-at-three-sites.md", DOCS / "transcripts" / "a-day-at-three-sites.json"
HEAD = """# A day at three sites

This page is made from a run of the acceptance test `tests/acceptance/test_sites.py`: PostgreSQL, server, agents and
pilots are real processes, and what goes wrong goes wrong for real. Nobody lends a hand but where it says so. The
answers are what the commands printed; their documents are in
[a-day-at-three-sites.json](../transcripts/a-day-at-three-sites.json).
`PRODCHAIN_WRITE_DOCS=1 pytest tests/acceptance/test_sites.py` makes both anew.

| site | slots | memory | wall time | storage |
|---|---|---|---|---|
| TIER1 | 3 | 2 GB | 2 h | a file system |
| UNI | 2 | 6 GB | 1 h | WebDAV, behind a link of 300 kB/s |
| HPC | 4, two pilots | 1 GB | 15 min | a file system with a capacity of 1 GB |
"""


def write(told: Sequence[str | Said]) -> None:
    RECORD.parent.mkdir(exist_ok=True)
    record = [{"note": each} if isinstance(each, str) else vars(each) for each in told]
    RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    PAGE.write_text(page(told))


def page(told: Sequence[str | Said]) -> str:
    parts = [HEAD]
    for each in told:
        if isinstance(each, str):
            parts.append(f"{each}\n")
        else:
            at = datetime.fromisoformat(each.at)
            parts.append(f"At {at:%H:%M:%S}:\n\n```console\n$ {each.command}\n{each.text.strip()}\n```\n")
    return "\n".join(parts)
