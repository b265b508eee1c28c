"""The lines that show how to read a dataset, run as somebody runs them; tests/cli runs the one for a shell."""

import subprocess
import sys
import zlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from prodchain.broker.access import ways_in
from prodchain.catalog import backends
from prodchain.catalog.lookup import FileReplica, FileView
from prodchain.catalog.names import Did

from ..storages.farm import Farm, farm

DID = "user.ada:user.ada.zmumu.NTUP.v1"
NAME = "user.ada.zmumu.NTUP.v1._000001.root.1"
READERS = {"local": (), "root": ("fsspec_xrootd",), "webdav-wsgidav": ("aiohttp",), "s3-moto": ("s3fs",)}
"""The packages that fsspec wants for each storage, which are the reader's to install."""


@pytest.fixture(scope="module")
def storages() -> Iterator[Farm]:
    with farm() as started:
        yield started


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A ROOT file with a hundred events."""
    uproot = pytest.importorskip("uproot")
    path = tmp_path_factory.mktemp("made") / "file.root"
    with uproot.recreate(path) as file:
        file.mktree("events", {"number": "int64"})
        file["events"].extend({"number": list(range(100))})
    return path.read_bytes()


def view(*urls: str) -> FileView:
    copies = [FileReplica("A-DISK", "A", url) for url in urls]
    facts: dict[str, Any] = {
        "id": 1,
        "did": Did("user.ada", NAME),
        "guid": uuid4(),
        "bytes": 1,
        "adler32": "00000001",
    }
    return FileView(**facts, events=100, replicas=copies)


def run(line: str, then: str, home: Path) -> str:
    """What a fresh interpreter prints that is given the line and a use of ``file``."""
    done = subprocess.run(
        [sys.executable, "-c", f"{line}\n{then}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=home,
    )
    assert done.returncode == 0, f"{line}\n{done.stderr}"
    return done.stdout.strip()


@pytest.mark.physics
@pytest.mark.parametrize("name", READERS)
async def test_the_lines_for_programs_read_the_file(
    storages: Farm, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    lacking = [package for package in READERS[name] if find_spec(package) is None]
    if lacking:
        pytest.skip(f"fsspec reads {name} with {', '.join(lacking)}, which is not installed")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
    url = f"{storages.url(name)}/{uuid4().hex}/{NAME}"
    there = backends.place(url)
    there.backend.write(there.path, [content], len(content))
    lines = {way["by"]: way["line"] for way in await ways_in(DID, [view(), view(url)])}
    assert lines.keys() == {"shell", "fsspec", "uproot"}
    digest = run(lines["fsspec"], "import zlib; print(zlib.adler32(file.read()))", tmp_path)
    assert digest == str(zlib.adler32(content))
    total = run(lines["uproot"], "print(file['events/number'].array(library='np').sum())", tmp_path)
    assert total == str(sum(range(100)))


async def test_the_copy_that_is_easiest_to_read_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = tmp_path / "storages.toml"
    secrets.write_text('["https://locked.example.org"]\ntoken = "x"\n')
    secrets.chmod(0o600)
    monkeypatch.setenv("PRODCHAIN_STORAGE_CREDENTIALS", str(secrets))
    locked, free, here = (
        "https://locked.example.org/x.dat",
        "https://open.example.org/x.dat",
        f"file:{tmp_path}/x.dat",
    )
    for copies, shown in (([locked, free, here], "x.dat"), ([locked, free], "open"), ([locked], "locked")):
        lines = await ways_in(DID, [view(), view(*copies)])
        assert shown in lines[1]["line"], copies
    assert str(tmp_path) in (await ways_in(DID, [view(locked), view(free, here)]))[1]["line"]


async def test_without_a_copy_there_is_the_command_alone() -> None:
    assert await ways_in(DID, [view()]) == [{"by": "shell", "line": "prodchain get user.ada.zmumu.NTUP.v1"}]
    assert (await ways_in("mc26:user.ada.x.v1", []))[0]["line"] == "prodchain get mc26:user.ada.x.v1"


async def test_a_file_that_is_not_for_root_has_no_line_for_uproot(tmp_path: Path) -> None:
    ways = await ways_in(DID, [view(f"file:{tmp_path}/log.tar.gz")])
    assert [way["by"] for way in ways] == ["shell", "fsspec"]


async def test_a_protocol_that_nothing_here_speaks_leaves_the_command() -> None:
    assert [way["by"] for way in await ways_in(DID, [view("gopher://old.example/x")])] == ["shell"]
