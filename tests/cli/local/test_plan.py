"""Which programs a home needs, and what they are told."""

from pathlib import Path

from prodchain.broker.settings import load
from prodchain.cli.local.home import Home
from prodchain.cli.local.plan import Plan


def test_the_worker_has_a_temporary_folder_of_its_own(tmp_path: Path) -> None:
    """Prefect's worker makes a folder with a fixed name in it: in /tmp it belongs to whoever came first."""
    home = Home(tmp_path / "home")
    home.prepare()
    programs = Plan(home, load(home.path, database_url="postgresql://elsewhere/prodchain")).programs()
    worker = next(program for program in programs if program.name == "worker")
    folder = Path(worker.environment["TMPDIR"])
    assert folder.is_relative_to(home.path)
    assert folder.stat().st_mode & 0o777 == 0o700
