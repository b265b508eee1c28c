"""What is read from a jobReport.json, whole or broken."""

import json
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prodchain.pilot_agent.report_file import JobReport, read_report

GUID = "6EC0BD7F-11C0-43DA-975E-2A8AD9EBAE0B"
GOOD = {
    "exitCode": 0,
    "exitAcronym": "OK",
    "exitMsg": "OK",
    "files": {"output": [{"subFiles": [{"name": "a", "file_guid": GUID, "nentries": 5}, {"name": "b"}]}]},
    "resource": {"transform": {"processedEvents": 9}},
}


def write(folder: Path, document: object) -> JobReport:
    (folder / "jobReport.json").write_text(json.dumps(document))
    return read_report(folder)


def test_guid_and_events_come_from_the_report(tmp_path: Path) -> None:
    report = write(tmp_path, GOOD)
    assert report.guid("a") == GUID.lower()
    assert (report.events("a"), report.events("b"), report.processed_events) == (5, 9, 9)
    assert report.diagnosis() == ""


def test_a_guid_that_is_missing_or_none_is_made(tmp_path: Path) -> None:
    report = JobReport(files={"a": ("not a guid", 1)})
    assert uuid.UUID(report.guid("a")) != uuid.UUID(report.guid("b"))


@pytest.mark.parametrize("content", ["", "[1", "[]", '"text"', "[" * 100_000])
def test_a_broken_report_is_no_report(content: str, tmp_path: Path) -> None:
    (tmp_path / "jobReport.json").write_text(content)
    assert read_report(tmp_path) == JobReport()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda part: (
        st.lists(part)
        | st.dictionaries(st.sampled_from([*GOOD, "output", "subFiles", "transform", "name", "nentries"]), part)
    ),
)


@given(document=JSON)
def test_no_document_breaks_the_reader(document: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    write(tmp_path_factory.getbasetemp(), document).diagnosis()
