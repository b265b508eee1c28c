"""The demo as a user runs it: real services, real payloads, from an empty folder to a plot."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from prodchain.cli.local import postgres

pytestmark = [pytest.mark.acceptance, pytest.mark.prefect, pytest.mark.physics, pytest.mark.timeout(900)]


def demo(home: Path, *options: str) -> dict[str, Any]:
    command = [
        sys.executable,
        "-m",
        "prodchain.cli",
        "demo",
        "--events",
        "40",
        "--json",
        *options,
        "--home",
        str(home),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def test_the_demo_makes_the_physics_of_one_process_and_a_second_one_finds_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    try:
        first = demo(home, "--verify", "--keep")
        assert first["verified"]
        assert [step["step"] for step in first["steps"]] == ["evgen", "sim", "reco", "merge"]
        assert all(step["events"] == 40 for step in first["steps"])
        assert Path(first["plot"]).stat().st_size > 1000
        second = demo(home)
        assert second["steps"] == first["steps"]
    finally:
        subprocess.run([sys.executable, "-m", "prodchain.cli", "down", "--home", str(home)], check=True)
        postgres.start(postgres.data_folder(home)).stop(remove=True)
