"""The folders are the architecture: what imports what, and what the wheel holds."""

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

from .pages import ROOT

FOLDERS = ("broker", "catalog", "cli", "flows", "pilot_agent", "tasks")


def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_import_rules_are_kept() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_folder_with_code_is_a_package_of_the_wheel() -> None:
    found = {
        ".".join(("prodchain", *path.parent.relative_to(ROOT).parts))
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("__init__.py")
    }
    assert set(project()["tool"]["setuptools"]["packages"]) == found


def test_no_code_lies_outside_of_a_package() -> None:
    alone = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    assert [path for path in alone if not path.with_name("__init__.py").exists()] == []


def test_each_folder_may_import_what_the_page_says() -> None:
    """The page's table names each folder once."""
    page = (ROOT / "docs" / "explanation" / "architecture.md").read_text()
    assert [folder for folder in FOLDERS if page.count(f"| `{folder}/` |") != 1] == []
