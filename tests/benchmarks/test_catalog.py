"""The benchmark of the catalog runs, and its figures are there; how good they are is read from full runs."""

import json
import subprocess
import sys
from pathlib import Path

KEYS = {
    "prefix_p95_ms",
    "infix_first100_ms",
    "rare_infix_ms",
    "ls_wall_s",
    "register_files_per_s",
    "list_dataset_ms",
    "completeness_ms",
    "n_datasets",
}


def test_a_small_run_has_all_figures(repository: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.catalog", "--json", "--datasets", "2000"]
    ran = subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=240, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    result = json.loads(ran.stdout)
    assert result.keys() >= KEYS
    assert all(result[key] > 0 for key in KEYS)
    assert result["n_datasets"] >= 2000
    assert "datasets loaded" in ran.stderr


def test_the_figures_in_the_documents_are_of_a_full_run(repository: Path) -> None:
    result = json.loads((repository / "docs" / "benchmarks" / "catalog.json").read_text())
    assert result.keys() >= KEYS
    assert result["n_datasets"] >= 10_000_000
