"""The program as a whole: starts fast, loads little, and every command is a good citizen."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.core import TyperGroup

from prodchain.cli.main import COMMANDS, load, program

from .conftest import Run
from .other_end import Broker

HEAVY = ("prefect", "sqlalchemy", "sqlmodel", "fastapi", "fsspec", "httpx", "rich", "asyncpg", "zlib_ng")
"""pydantic is not among them: typer checks options with it."""
START = 2.2
"""CPU of a start, in starts of a Python that imports typer and what HTTP needs."""


def leaves(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    if isinstance(command, TyperGroup):
        for name, below in command.commands.items():
            yield from leaves(below, (*path, name))
    else:
        yield path


def present() -> list[str]:
    """The commands whose modules are there."""
    folder = Path(__file__).parents[2] / "cli" / "commands"
    return [name for name, entry in COMMANDS.items() if (folder / f"{entry.module}.py").exists()]


EVERY = [path for name in present() for path in leaves(load(name), (name,))]


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_every_command_has_help_with_an_example_and_takes_home_and_json(run: Run, path: tuple[str, ...]) -> None:
    ran = run(*path, "--help")
    assert ran.code == 0
    assert "Examples:\n" in ran.out
    assert f"  prodchain {' '.join(path)}" in ran.out
    assert "--home DIR" in ran.out
    assert "--json" in ran.out
    assert "...\n" not in ran.out.partition("Commands:")[2], "a summary is cut"


def test_the_program_alone_lists_all_commands_without_loading_any(run: Run) -> None:
    ran = run()
    assert ran.code == 0
    assert all(f"\n  {name} " in ran.out for name in COMMANDS)


@pytest.mark.parametrize("before", [True, False])
def test_home_and_json_are_taken_before_and_after_the_command(other_end: Broker, run: Run, before: bool) -> None:
    options = ["--home", os.environ.pop("PRODCHAIN_HOME"), "--json"]
    ran = run(*options, "task", "ls") if before else run("task", "ls", *options)
    assert "items" in json.loads(ran.out)


def test_one_run_does_not_remember_the_options_of_the_run_before(other_end: Broker, run: Run) -> None:
    run("task", "ls", "--json")
    assert not run("task", "ls").out.startswith("{")


def test_ls_starts_fast_and_loads_nothing_heavy(other_end: Broker) -> None:
    other_end.add_dataset("mc26.1.Z.reco.AOD.v1")
    script = (
        "import sys\n"
        "from prodchain.cli.main import main\n"
        "code = main(['ls'])\n"
        f"print(*[name for name in {HEAVY!r} if name in sys.modules])\n"
        "sys.exit(code)\n"
    )
    # Beside what it cannot do without, as the machine may be slow or busy.
    for _ in range(5):
        bare, _ = cpu_s("import typer, http.client, ssl")
        seconds, output = cpu_s(script)
        assert output == "mc26.1.Z.reco.AOD.v1\n\n"
        if seconds < bare * START:
            return
    pytest.fail(f"took {seconds:.2f} s of CPU, {START} times {bare:.2f} s at most")


def cpu_s(script: str) -> tuple[float, str]:
    """CPU seconds of a script in a Python of its own, and what it prints."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def test_the_list_of_commands_loads_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from prodchain.cli.main import main\n"
        "main([])\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == "[]\n"


def test_a_reader_that_goes_away_makes_no_noise(other_end: Broker) -> None:
    for number in range(3000):
        other_end.add_dataset(f"mc26.{number}.Z.reco.AOD.v1" + "x" * 100)
    program_ = [sys.executable, "-m", "prodchain.cli", "ls", "--limit", "3000"]
    done = subprocess.Popen(program_, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ.copy())
    assert done.stdout is not None and done.stderr is not None
    done.stdout.readline()
    done.stdout.close()
    assert done.stderr.read() == b""
    done.stderr.close()
    done.wait()


def test_stubs_and_commands_are_the_same() -> None:
    assert list(program().commands) == list(COMMANDS)


def test_the_shell_completes_commands_and_what_is_below_them() -> None:
    environment = {**os.environ, "_PRODCHAIN_COMPLETE": "complete_bash"}
    for words, number, expected in (("prodchain ta", "1", "task"), ("prodchain task ret", "2", "retry")):
        done = subprocess.run(
            [sys.executable, "-m", "prodchain.cli"],
            env=environment | {"COMP_WORDS": words, "COMP_CWORD": number},
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert done.stdout.split() == [expected]
