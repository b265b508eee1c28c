"""A storage's self-test says step by step what works, and leaves nothing behind."""

from pathlib import Path

import pytest

from prodchain.catalog.backends.local import Local
from prodchain.catalog.probe import probe


def test_a_good_storage_passes_every_step_and_keeps_nothing(tmp_path: Path) -> None:
    steps = list(probe(f"file://{tmp_path}/disk"))
    assert [step.name for step in steps] == ["put", "size", "digest", "rename", "get", "list", "free", "delete"]
    assert all(step.ok for step in steps), steps
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_unknown_protocol_is_said_in_words() -> None:
    (step,) = probe("gsiftp://old.example.org/data")
    assert (step.name, step.ok) == ("connect", False)
    assert "nothing here speaks gsiftp" in step.words
    assert step.hint


def test_the_first_step_that_fails_is_the_last_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "disk").write_text("a file where a folder should be")
    (step,) = probe(f"file://{tmp_path}/disk")
    assert (step.name, step.ok) == ("put", False)
    assert step.hint


def test_a_storage_that_lies_about_what_it_took_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put = Local.put

    def lies(self: Local, source: Path, path: str, told: object) -> str:
        sum_ = put(self, source, path, lambda _: None)
        with Path(path).open("r+b") as file:
            file.truncate(1000)
        return sum_

    monkeypatch.setattr(Local, "put", lies)
    steps = list(probe(f"file://{tmp_path}/disk"))
    assert (steps[-1].name, steps[-1].ok) == ("size", False)
    assert "1000 bytes are there" in steps[-1].words
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
