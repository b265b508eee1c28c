"""How results look: on a terminal, in a pipe, as JSON."""

import json
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from prodchain.cli import values
from prodchain.cli.values import Kind

from .conftest import Run
from .other_end import NOW, TASK, Broker


def test_in_a_pipe_a_list_is_tab_separated_lines_with_raw_values(other_end: Broker, run: Run) -> None:
    ran = run("task", "ls")
    assert ran.out.splitlines() == [
        f"{TASK}\tsim\trunning\t300/400\trunning=1,finished=3\t2026-01-02T03:04:05.000Z\tmc.1.Z.sim.HITS.v1"
    ]
    assert ran.err == ""


def test_in_a_pipe_nothing_is_cut_however_long(other_end: Broker, run: Run) -> None:
    name = "mc26." + "x" * 190
    other_end.add_dataset(name)
    assert run("ls").out == f"{name}\n"


def test_with_json_a_list_is_one_document(other_end: Broker, run: Run) -> None:
    document = json.loads(run("task", "ls", "--json").out)
    assert [item["id"] for item in document["items"]] == [TASK]


def test_on_a_terminal_a_list_is_a_table_for_people(other_end: Broker, run: Run, terminal: None) -> None:
    dataset = other_end.add_dataset("mc26.1.Z.reco.AOD.v1")
    other_end.add_file(dataset, "f1", b"x" * 2_500_000)
    lines = run("ls", "-l").out.splitlines()
    assert lines[0].split() == ["name", "kind", "state", "files", "events", "bytes", "sites"]
    assert "2.5 MB" in lines[1]


def test_one_thing_is_lines_of_title_and_value(other_end: Broker, run: Run) -> None:
    lines = dict(line.split("\t") for line in run("job", "show", 4211).out.splitlines())
    assert lines["state"] == "running"
    assert lines["chosen because"] == "has all inputs"
    assert lines["created"] == "2026-01-02T03:04:05.000Z"


def test_a_value_with_tabs_and_line_breaks_stays_one_value(other_end: Broker, run: Run) -> None:
    other_end.job["error"] = "first\tline\nsecond"
    assert "error\tfirst line second\n" in run("job", "show", 4211).out


@pytest.mark.parametrize("no_color", [True, False])
def test_a_real_terminal_gets_a_table_and_colour_only_if_wanted(other_end: Broker, no_color: bool) -> None:
    environment = {**os.environ, "TERM": "xterm-256color"} | ({"NO_COLOR": "1"} if no_color else {})
    here, there = pty.openpty()
    try:
        program = [sys.executable, "-m", "prodchain.cli", "task", "ls"]
        subprocess.run(program, stdout=there, env=environment, check=True, timeout=30)
        text = os.read(here, 100_000).decode()
    finally:
        os.close(here)
        os.close(there)
    assert text.lstrip("\x1b[1m").startswith("id")
    assert ("\x1b[36m" in text) is not no_color


def test_sizes_times_and_numbers_for_people() -> None:
    now = datetime(2026, 1, 2, 4, 5, 5, tzinfo=UTC)
    assert values.readable(61_240_000_000, Kind.BYTES) == "61.2 GB"
    assert values.readable(999, Kind.BYTES) == "999 B"
    assert values.readable(999_999, Kind.BYTES) == "1 MB"
    assert values.readable(NOW, Kind.TIME, now=now) == "1 h 1 min ago"
    assert values.readable(90_000, Kind.SECONDS) == "1 d 1 h"
    assert values.readable(1_234_567, Kind.NUMBER) == "1 234 567"
    assert values.readable(None) == values.readable({}) == "-"


def test_times_of_other_zones_become_utc_for_programs() -> None:
    assert values.exact("2026-01-02T05:04:05+02:00", Kind.TIME) == "2026-01-02T03:04:05.000Z"
