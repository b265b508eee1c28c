"""The pilot as one file, and what it may be made of."""

import ast
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from prodchain.pilot_agent.messages import JobSpec
from prodchain.pilot_agent.zipapp import HERE, build_zipapp

from .conftest import PilotProcess
from .other_end import Broker

SOURCES = sorted(HERE.glob("*.py"))
PYTHON_39 = sorted(Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob("versions/3.9.*/bin/python3.9"))


@pytest.fixture
def pyz(tmp_path: Path) -> Path:
    return build_zipapp(tmp_path / "pilot.pyz")


def test_it_explains_itself_without_any_installed_package(pyz: Path) -> None:
    run = subprocess.run([sys.executable, "-I", "-S", pyz, "--help"], capture_output=True, text=True, check=True)
    assert "examples:" in run.stdout
    assert "--token-file FILE" in run.stdout
    assert "4 token refused" in run.stdout


@pytest.mark.parametrize(
    "python",
    [
        sys.executable,
        pytest.param(
            str(PYTHON_39[-1]) if PYTHON_39 else "",
            marks=pytest.mark.skipif(not PYTHON_39, reason="no Python 3.9 on this machine"),
        ),
    ],
    ids=["this Python", "Python 3.9"],
)
def test_it_runs_jobs(
    python: str,
    pyz: Path,
    broker: Broker,
    start_pilot: Callable[..., PilotProcess],
    make_job: Callable[..., JobSpec],
    storage: Path,
) -> None:
    broker.jobs = [make_job("echo 1 > out", outputs=("out",)), make_job("sleep 60", job=2, walltime_s=1)]
    pilot = start_pilot("--max-jobs", "2", program=[python, "-I", str(pyz)])
    assert pilot.wait() == 0, pilot.said
    assert broker.states(1)[-1] == "finished"
    assert broker.states(2)[-1] == "failed"
    assert (storage / "ab/cd/out").exists()


def test_the_same_sources_give_the_same_bytes(tmp_path: Path) -> None:
    assert build_zipapp(tmp_path / "a").read_bytes() == build_zipapp(tmp_path / "b").read_bytes()


def test_it_holds_this_folder_and_a_main_of_two_lines(pyz: Path) -> None:
    with zipfile.ZipFile(pyz) as archive:
        names = archive.namelist()
        assert len(archive.read("__main__.py").splitlines()) == 2
    assert names == ["__main__.py", *(f"pilot_agent/{source.name}" for source in SOURCES)]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_a_source_is_python_3_9_and_imports_the_standard_library_only(source: Path) -> None:
    tree = ast.parse(source.read_text(), feature_version=(3, 9))
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(str(node.module).split(".")[0])
    optional = {"fsspec"} if source.name == "stores_fsspec.py" else set()
    assert names <= set(sys.stdlib_module_names) | optional


def test_the_pilots_memory_is_closed_to_other_processes_of_the_same_user() -> None:
    code = (
        "import ctypes; from prodchain.pilot_agent.linux import hide_memory; hide_memory()\n"
        "print(ctypes.CDLL(None).prctl(3))  # PR_GET_DUMPABLE"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "0\n"


@pytest.mark.parametrize("options", [[], ["--server", "http://x"], ["--server", "http://x", "--name", "a/b"]])
def test_wrong_options_end_with_2(options: list[str], pyz: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PRODCHAIN")}
    run = subprocess.run([sys.executable, pyz, *options], capture_output=True, text=True, env=environ, check=False)
    assert run.returncode == 2
    assert "pilot: error:" in run.stderr


def test_a_work_directory_that_cannot_be_made_is_said_in_one_line(pyz: Path, token_file: Path) -> None:
    options = ["--server", "http://127.0.0.1:9", "--token-file", str(token_file), "--work-dir", "/proc/nowhere"]
    run = subprocess.run([sys.executable, pyz, *options], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert "work directory /proc/nowhere: No such file or directory" in run.stderr
    assert run.stderr.count("\n") == 1
