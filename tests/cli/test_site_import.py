"""``site import-cric``: CRIC's documents become a folder that ``site apply`` takes."""

import json
from pathlib import Path

import pytest

from prodchain.broker import sitefile
from prodchain.cli.main import main

from ..broker.test_cric import ENDPOINTS, QUEUES


@pytest.fixture
def documents(tmp_path: Path) -> list[str]:
    (tmp_path / "q.json").write_text(json.dumps(QUEUES))
    (tmp_path / "e.json").write_text(json.dumps(ENDPOINTS))
    return ["--queues", str(tmp_path / "q.json"), "--endpoints", str(tmp_path / "e.json")]


def test_a_folder_is_written_that_reads_as_a_declaration(
    documents: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "sites.d"
    assert main(["site", "import-cric", *documents, "-o", str(out), "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    assert (counts["sites"], counts["storages"], counts["queues"]) == (2, 2, 2)
    assert [storage.name for storage in sitefile.read(out).storages] == ["CERN-PROD_MCTAPE", "PRAGUE_DATADISK"]


def test_nothing_is_overwritten(documents: list[str], tmp_path: Path) -> None:
    (tmp_path / "notes.toml").write_text("mine")
    assert main(["site", "import-cric", *documents, "-o", str(tmp_path)]) == 2
    assert (tmp_path / "notes.toml").read_text() == "mine"


@pytest.mark.parametrize("text", ["<html>", "3", "[1, 2]", '{"A": "b"}'])
def test_what_is_no_cric_document_is_refused_before_anything_is_written(
    documents: list[str], tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "q.json").write_text(text)
    assert main(["site", "import-cric", *documents, "-o", str(tmp_path / "out")]) == 2
    assert "q.json" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_home_that_was_not_imported_is_refused(documents: list[str], tmp_path: Path) -> None:
    assert main(["site", "import-cric", *documents, "-o", str(tmp_path / "out"), "--home-endpoint", "OLD_SRM"]) == 1
    assert not (tmp_path / "out").exists()
