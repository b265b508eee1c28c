"""The programs: options, exit codes, reports, and no half outputs."""

import os
import signal
import subprocess
import sys
import time
import zlib
from pathlib import Path
from uuid import UUID

import pytest

from prodchain.tasks.payloads import gen_tf, merge_tf, options, reco_tf, sim_tf
from prodchain.tasks.payloads.detector import Detector

from .conftest import EVENTS, PER_JOB, Program, Small

SCRIPTS = Path(sys.executable).parent


def left() -> set[str]:
    return {path.name for path in Path().iterdir()}


def test_report_of_a_good_job(small: Small, program: Program, capfd: pytest.CaptureFixture[str]) -> None:
    inputs = f"{small.evnt[1]},{small.evnt[0]}"
    code, report = program(
        sim_tf, "--inputEVNTFile", inputs, "--maxEvents", 3, "--randomSeed", 7, "--outputHITSFile", "H.root.1"
    )
    assert code == 0
    assert (report["exitCode"], report["exitAcronym"], report["exitMsg"]) == (0, "OK", "OK")
    assert (report["name"], report["reportVersion"]) == ("Sim_tf", "2.1.2")
    (output,) = report["files"]["output"]
    assert (output["type"], output["argName"]) == ("HITS", "outputHITSFile")
    (file,) = output["subFiles"]
    content = Path("H.root.1").read_bytes()
    assert file["name"] == "H.root.1"
    assert (file["nentries"], file["file_size"]) == (3, len(content))
    assert file["adler32"] == f"{zlib.adler32(content):08x}"
    assert UUID(file["file_guid"])
    (entry,) = report["files"]["input"]
    assert [(f["name"], f["nentries"]) for f in entry["subFiles"]] == [(p.name, PER_JOB) for p in small.evnt[:2]]
    assert report["executor"][0]["rc"] == 0
    transform = report["resource"]["transform"]
    assert transform["processedEvents"] == 3
    assert transform["cpuTime"] > 0
    assert left() == {"H.root.1", "jobReport.json"}
    out, err = capfd.readouterr()
    assert err == ""
    assert len(out.splitlines()) == 1
    assert out.startswith("Sim_tf: 3 events in, 3 events out, ")


def test_reconstruction_prints_one_line_only(
    small: Small, program: Program, capfd: pytest.CaptureFixture[str]
) -> None:
    code, report = program(reco_tf, "--inputHITSFile", small.hits, "--maxEvents", 2, "--outputAODFile", "A.root")
    assert (code, report["exitCode"]) == (0, 0)
    assert len("".join(capfd.readouterr()).splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--inputEVNTFile", "x"],
        ["--inputEVNTFile", "x", "--outputHITSFile", "y", "--maxEvents", "some"],
        ["--inputEVNTFile", "x", "--outputHITSFile", "y", "--skipEvents", "-1"],
        ["--inputEVNTFile", "x", "--outputHITSFile", "y", "--randomSeed", str(options.MAX_SEED + 1)],
        ["--inputEVNTFile", "x", "--outputHITSFile", "y", "--nonsense"],
        ["--inputEVNTFile", "x", "--outputHITSFile", "y", "--reportName"],
    ],
)
def test_bad_arguments(program: Program, arguments: list[str]) -> None:
    code, report = program(sim_tf, *arguments)
    assert (code, report["exitCode"], report["exitAcronym"]) == (7, 7, "TRF_ARG_ERROR")
    assert left() == {"jobReport.json"}


def test_unknown_job_configuration(program: Program) -> None:
    code, report = program(gen_tf, "--jobConfig", "Zmuu", "--maxEvents", 1, "--outputEVNTFile", "E.root")
    assert code == 7
    assert "Zmumu, minbias, ttbar" in report["exitMsg"]


def test_job_configuration_that_pythia_does_not_understand(program: Program) -> None:
    Path("my.cmnd").write_text("No:such = setting\n")
    code, report = program(gen_tf, "--jobConfig", "my.cmnd", "--maxEvents", 1, "--outputEVNTFile", "E.root")
    assert code == 7
    assert "my.cmnd" in report["exitMsg"]


@pytest.mark.parametrize("card", ["ttbar", "minbias"])
def test_other_cards(program: Program, card: str) -> None:
    code, report = program(gen_tf, "--jobConfig", card, "--maxEvents", 2, "--outputEVNTFile", "E.root")
    assert code == 0
    assert report["executor"][0]["metaData"]["crossSection_pb"] > 0


def test_missing_input(program: Program) -> None:
    code, report = program(sim_tf, "--inputEVNTFile", "none.root", "--outputHITSFile", "H.root")
    assert (code, report["exitAcronym"]) == (9, "TRF_INPUT_FILE_ERROR")
    assert report["files"]["input"][0]["subFiles"] == [{"name": "none.root"}]
    assert report["files"]["output"][0]["subFiles"] == []
    assert left() == {"jobReport.json"}


def test_output_folder_does_not_exist(small: Small, program: Program) -> None:
    code, _ = program(sim_tf, "--inputEVNTFile", small.evnt[0], "--outputHITSFile", "nowhere/H.root")
    assert code == 11
    assert left() == {"jobReport.json"}


def test_skip_beyond_the_events(small: Small, program: Program) -> None:
    code, report = program(
        reco_tf, "--inputHITSFile", small.hits, "--skipEvents", EVENTS, "--outputAODFile", "A.root"
    )
    assert (code, report["exitAcronym"]) == (15, "TRF_NOEVENTS")


def test_lost_events_are_noticed(small: Small, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Detector.run
    monkeypatch.setattr(Detector, "run", lambda *arguments: run(*arguments)[:-1])
    code, report = program(sim_tf, "--inputEVNTFile", small.evnt[0], "--maxEvents", 3, "--outputHITSFile", "H.root")
    assert (code, report["exitAcronym"]) == (38, "TRF_EXEC_VALIDATION_EVENTCOUNT")
    assert report["exitMsg"] == "3 events in, 2 events out"
    assert left() == {"jobReport.json"}


def test_merging_the_same_events_twice(small: Small, program: Program) -> None:
    code, report = program(merge_tf, "--inputAODFile", f"{small.aod},{small.aod}", "--outputAOD_MRGFile", "M.root")
    assert (code, report["exitAcronym"]) == (52, "TRF_FILEMERGE_PROBLEM")
    assert report["exitMsg"] == "48 duplicate events in the inputs, first: run 700001 event 201"
    assert left() == {"jobReport.json"}


@pytest.mark.parametrize("kind", ["EVNT", "HITS", "AOD"])
def test_merge_of_each_format(small: Small, program: Program, kind: str) -> None:
    inputs = {"EVNT": small.evnt, "HITS": [small.hits], "AOD": [small.aod]}[kind]
    code, report = program(merge_tf, f"--input{kind}File", *inputs, f"--output{kind}_MRGFile", "M.root")
    assert code == 0
    assert report["files"]["output"][0]["type"] == f"{kind}_MRG"
    assert report["files"]["output"][0]["subFiles"][0]["nentries"] == EVENTS


def test_merge_wants_one_format(program: Program) -> None:
    assert program(merge_tf, "--inputAODFile", "a", "--outputHITS_MRGFile", "b")[0] == 7


@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_truncated_input(small: Small, program: Program, part: float) -> None:
    content = small.hits.read_bytes()
    Path("cut.root").write_bytes(content[: int(len(content) * part)])
    code, report = program(reco_tf, "--inputHITSFile", "cut.root", "--outputAODFile", "A.root")
    assert (code, report["exitAcronym"]) == (74, "TRF_INPUT_FILE_VALIDATION_FAIL")
    assert "cut.root" in report["exitMsg"]
    assert left() == {"cut.root", "jobReport.json"}


def test_input_of_another_format(small: Small, program: Program) -> None:
    assert program(reco_tf, "--inputHITSFile", small.aod, "--outputAODFile", "A.root")[0] == 74


def test_defect_of_ours(program: Program, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def defective(_: object) -> None:
        raise ZeroDivisionError("no\nluck")

    monkeypatch.setattr(merge_tf, "_work", defective)
    code, report = program(merge_tf)
    assert (code, report["exitAcronym"]) == (251, "TRF_UNEXPECTED_OTHER_EXCEPTION")
    assert report["exitMsg"] == "ZeroDivisionError: no luck"
    assert "Traceback" in capfd.readouterr().err


def test_full_disk(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk."""
    command = f"ulimit -f 20; {SCRIPTS}/Gen_tf.py --jobConfig Zmumu --maxEvents 40 --outputEVNTFile E.root"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 11, done.stdout + done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"jobReport.json"}


def test_sigterm(small: Small, tmp_path: Path) -> None:
    """While ACTS runs: the partial file shows that the simulation has begun."""
    command: list[str | Path] = [SCRIPTS / "Sim_tf.py", "--inputEVNTFile", *small.evnt, "--outputHITSFile", "H.root"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / ".H.root.part").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    assert {path.name for path in tmp_path.iterdir()} == {"jobReport.json"}


@pytest.mark.parametrize("cover", ["a destructor", "an except clause"])
def test_a_sigterm_is_not_lost_in_what_a_library_catches(tmp_path: Path, cover: str) -> None:
    script = """
import os, signal, sys, time
from prodchain.tasks.payloads import options, transform
class Deaf:
    def __del__(self):
        term()
def term():
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0)
def work(values):
    if values.cover == "a destructor":
        Deaf()
    else:
        try:
            term()
        except Exception as error:
            raise ValueError("no readable file") from error
    time.sleep(60)
program = options.Options("Sim_tf.py", "deaf")
program.add_argument("cover")
sys.exit(transform.run(program, work, sys.argv[1:]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script, cover], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=50
    )
    assert done.returncode == 143, done.stderr
    assert "terminated by SIGTERM" in done.stdout
    assert not done.stderr


@pytest.mark.parametrize("name", ["Gen_tf.py", "Sim_tf.py", "Reco_tf.py", "Merge_tf.py"])
def test_help_imports_nothing_heavy(name: str, tmp_path: Path) -> None:
    script = f"""
import sys
from prodchain.tasks.payloads.{name.removesuffix(".py").lower()} import main
try:
    main(["--help"])
finally:
    assert not {{"numpy", "uproot", "acts", "pythia8mc"}} & set(sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert name in done.stdout
    assert not list(tmp_path.iterdir())
