"""What is written from the code is what the code says."""

import importlib
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import pytest

from prodchain.broker.states import JobState, TaskState

from .pages import ROOT


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """docs/ as the folder of the scripts that write pages."""
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent == ROOT / "docs":
            del sys.modules[name]


@pytest.mark.usefixtures("scripts")
@pytest.mark.parametrize("script", ["reference", "states"])
def test_written_files_are_current(script: str) -> None:
    written: dict[Path, str] = importlib.import_module(script).pages()
    assert written
    for path, text in written.items():
        assert path.read_text() == text, f"{path.name} is old: run `python docs/{script}.py`"


@pytest.mark.parametrize("states", [JobState, TaskState])
def test_the_page_of_lifecycles_says_what_each_state_means(states: type[StrEnum]) -> None:
    page = (ROOT / "docs" / "explanation" / "lifecycle.md").read_text()
    kind = "task" if states is TaskState else "job"
    section = page.partition(f"## States of a {kind}")[2].partition("\n## ")[0]
    assert [state for state in states if f"| {state} |" not in section] == []
