"""The pilot as one file that any Python from 3.9 on runs: this folder and a ``__main__.py``."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

HERE = Path(__file__).parent
MAIN = """\
import sys; sys.version_info >= (3, 9) or sys.exit("pilot: needs Python 3.9 or newer, not " + sys.version[:6])
from pilot_agent.__main__ import main; sys.exit(main())
"""
LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""Time of every member: the same sources give the same bytes."""


def build_zipapp(target: Path) -> Path:
    """Write the pilot to ``target``, replacing an older one in one step; subfolders stay out of it."""
    content = io.BytesIO(b"")
    content.write(b"#!/usr/bin/env python3\n")
    with zipfile.ZipFile(content, "a", zipfile.ZIP_DEFLATED) as archive:
        _add(archive, "__main__.py", MAIN)
        for source in sorted(HERE.glob("*.py")):
            _add(archive, f"pilot_agent/{source.name}", source.read_text(encoding="utf-8"))
    new = target.with_name(f"{target.name}.new-{os.getpid()}")
    new.write_bytes(content.getvalue())
    new.chmod(0o755)
    return new.replace(target)


def _add(archive: zipfile.ZipFile, name: str, text: str) -> None:
    member = zipfile.ZipInfo(name, LONG_AGO)
    member.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(member, text)
