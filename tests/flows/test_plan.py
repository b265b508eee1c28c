"""Plans: the chain's function runs, and nothing else does."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from prodchain.cli.main import main

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture(autouse=True)
def no_servers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PRODCHAIN_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PRODCHAIN_URL", "http://127.0.0.1:9")


def _plan(capsys: pytest.CaptureFixture[str], *args: str) -> list[dict[str, Any]]:
    assert main(["chain", "plan", "--json", *args]) == 0
    return list(json.loads(capsys.readouterr().out)["items"])


def test_importing_flows_does_not_import_prefect() -> None:
    code = "import sys, prodchain.flows as f; f.evgen; f.Step; sys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_command_line_loads_prefect_only_in_commands() -> None:
    code = "import sys, prodchain.cli.commands.chain; sys.exit('prefect' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_counts_follow_the_split(capsys: pytest.CaptureFixture[str], chain_file: Path) -> None:
    steps = _plan(capsys, str(chain_file), "-p", "events=10", "-p", "jobs=4", "-p", "tag=v3")
    assert [(step["step"], step["jobs"], step["events"]) for step in steps] == [
        ("evgen", 4, 10),
        ("sim", 4, 10),
        ("reco", 4, 10),
        ("merge", 2, 10),
    ]
    assert steps[1]["input"] == steps[0]["output"] == "mc26_13p6TeV:mc26_13p6TeV.700001.Zmumu.evgen.EVNT.v3"


def test_a_plan_knows_merged_files_and_what_it_cannot_know(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    body = (
        "merge = {'command': ['Merge.py', '{inputs}', '{output}'], 'files_per_job': 4}\n"
        "ev = evgen(events=100, jobs=10, job_config='Z', merge=merge)\n"
        "hits = sim(ev, events_per_job=30, boundary='none')\n"
        "reco(hits, bytes_per_job=10**9)"
    )
    steps = _plan(capsys, _write(tmp_path / "c.py", body))
    assert [(step["jobs"], step["merge_jobs"], step["files"], step["events"]) for step in steps] == [
        (10, 3, 3, 100),
        (4, 0, 4, 100),
        (None, 0, None, None),
    ]


@pytest.mark.parametrize(
    ("size", "told"),
    [("'files_per_job': 4", "1 steps, 13 jobs, 3 of them merge;"), ("'bytes_per_job': 10**9", "1 steps, ? jobs;")],
)
def test_jobs_that_merge_are_counted_with_the_others(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, size: str, told: str
) -> None:
    body = (
        f"merge = {{'command': ['Merge.py', '{{inputs}}', '{{output}}'], {size}}}\n"
        "evgen(events=100, jobs=10, job_config='Z', merge=merge)"
    )
    assert main(["chain", "plan", _write(tmp_path / "c.py", body)]) == 0
    assert capsys.readouterr().err.startswith(told)


def test_the_standard_chain_has_a_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert [step["jobs"] for step in _plan(capsys, "prodchain.flows.production:zmumu")] == [4, 4, 4, 2]


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_examples_have_a_plan(capsys: pytest.CaptureFixture[str], example: Path) -> None:
    assert _plan(capsys, str(example))


def _write(path: Path, body: str, head: str = "from prodchain.flows import Step, chain, evgen, sim, reco") -> str:
    indented = "".join(f"    {line}\n" for line in body.splitlines())
    path.write_text(
        f'{head}\n\n@chain(name="c", project="mc26_13p6TeV", number=700001, physics="Zmumu")\n'
        f"async def c(tag: str = 'v1'):\n{indented}"
    )
    return str(path)


def test_async_chains_and_inputs_from_elsewhere(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    body = "hits = sim('mc26_13p6TeV.700001.Zmumu.evgen.EVNT.v1')\nawait hits\nreco(hits)"
    steps = _plan(capsys, _write(tmp_path / "c.py", body))
    assert [(step["step"], step["jobs"]) for step in steps] == [("sim", None), ("reco", None)]


@pytest.mark.parametrize(
    ("body", "line", "message"),
    [
        ("ev = evgen(events=8, jobs=2, job_config='Z')\nsim(evv)", 6, "name 'evv' is not defined"),
        ("evgen(events=8, jobs=2)", 5, "step evgen needs job_config"),
        ("evgen(events=8, jobs=2, job_config='Z', colour=1)", 5, "does not know colour"),
        ("evgen(events=8, job_config='Z')", 5, "needs the number of events"),
        ("sim()", 5, "needs an input dataset"),
        ("d = 'mc26.7.Z.evgen.EVNT.v1'\nsim(d)\nsim(d)", 7, "two steps make the same dataset"),
        ("Step('skim', command=['skim', '{inputs}'], format='NTUP')", 5, "has no {output}"),
        ("sim('mc26.7.Z.evgen.EVNT.v1', tag='a b')", 5, "cannot be a name"),
    ],
)
def test_a_mistake_is_named_with_file_and_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, body: str, line: int, message: str
) -> None:
    file = _write(tmp_path / "c.py", body)
    assert main(["chain", "plan", file]) == 2
    shown = capsys.readouterr().err
    assert f"{file}:{line}:" in shown and message in shown
    assert "Traceback" not in shown


def test_a_file_that_is_no_python_is_named_with_its_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "c.py"
    file.write_text("import os\n\ndef chain(:\n")
    assert main(["chain", "plan", str(file)]) == 2
    assert f"{file}:3: SyntaxError" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["/nowhere/c.py"], 3, "there is no file /nowhere/c.py"),
        (["no_such_module:c"], 3, "no file or module no_such_module"),
        (["{file}:other"], 3, "no chain other"),
        (["{file}", "-p", "evnts=3"], 2, "has no parameter evnts"),
        (["{file}", "-p", "events=many"], 2, "valid integer"),
        (["{file}", "-p", "events"], 2, "write -p key=value"),
    ],
)
def test_wrong_calls_say_what_to_do(
    capsys: pytest.CaptureFixture[str], chain_file: Path, args: list[str], code: int, message: str
) -> None:
    assert main(["chain", "plan", *(arg.format(file=chain_file) for arg in args)]) == code
    assert message in capsys.readouterr().err


def test_running_without_a_prefect_server_says_how_to_get_one(
    capsys: pytest.CaptureFixture[str], chain_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    assert main(["chain", "run", str(chain_file)]) == 5
    assert "prodchain up" in capsys.readouterr().err
