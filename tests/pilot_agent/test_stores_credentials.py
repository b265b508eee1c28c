"""The file with the credentials of storages, as pilots read it."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from prodchain.pilot_agent.errors import StorageError
from prodchain.pilot_agent.payload import clean_environment
from prodchain.pilot_agent.stores_credentials import VARIABLE, credentials, read_simple
from prodchain.pilot_agent.zipapp import build_zipapp

from .test_zipapp import PYTHON_39

FILE = """\
# the storages of our site
["https://se.example.org:443"]   # by token
token_file = "{at}/token"
ca = '/etc/grid-security/certificates'

["s3+https://s3.example.org"]
key = "AKID"
secret = "with \\"quotes\\" # and \\u00e9"
"""


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "storages.toml"
    path.write_text(FILE.format(at=tmp_path))
    (tmp_path / "token").write_text("first\n")
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def test_a_value_may_stand_in_a_file_that_is_read_again_each_time(secrets: Path) -> None:
    server = "https://se.example.org:443"
    assert credentials(server) == {"token": "first", "ca": "/etc/grid-security/certificates"}
    (secrets.parent / "token").write_text("renewed")
    assert credentials(server)["token"] == "renewed"
    assert credentials("https://other.example.org") == {}


def test_what_cannot_be_read_is_named_without_what_stands_in_it(secrets: Path) -> None:
    (secrets.parent / "token").unlink()
    with pytest.raises(StorageError, match="token") as caught:
        credentials("https://se.example.org:443")
    assert VARIABLE in caught.value.hint
    secrets.write_text('["https://se.example.org"]\ntoken = very-secret\n')
    with pytest.raises(StorageError, match="line 2") as caught:
        credentials("https://se.example.org")
    assert "very-secret" not in str(caught.value)


def test_without_a_file_nobody_has_credentials(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets.unlink()
    assert credentials("https://se.example.org:443") == {}
    monkeypatch.delenv(VARIABLE)
    assert credentials("https://se.example.org:443") == {}


def test_the_reader_for_old_pythons_reads_the_same(secrets: Path) -> None:
    assert read_simple(secrets.read_text()) == tomllib.loads(secrets.read_text())


@pytest.mark.parametrize("line", ["token = 7", "[a", 'token = """x', "token = ['x']", "very-secret"])
def test_the_reader_for_old_pythons_refuses_all_else_by_its_line(line: str) -> None:
    with pytest.raises(ValueError, match="line 2 is neither") as caught:
        read_simple(f'["a"]\n{line}\n')
    assert "very-secret" not in str(caught.value)


@pytest.mark.skipif(not PYTHON_39, reason="no Python 3.9 on this machine")
def test_python_3_9_reads_it(secrets: Path) -> None:
    pyz = build_zipapp(secrets.parent / "pilot.pyz")
    code = (
        f"import sys; sys.path.insert(0, {str(pyz)!r})\n"
        "from pilot_agent.stores_credentials import credentials\n"
        "print(credentials('https://se.example.org:443')['token'])"
    )
    run = subprocess.run([PYTHON_39[-1], "-I", "-S", "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout == "first\n", run.stderr


def test_payloads_are_not_told_where_the_file_is(secrets: Path, tmp_path: Path) -> None:
    assert str(secrets) in os.environ.values()
    environment = clean_environment(tmp_path, 1, os.environ)
    assert VARIABLE not in environment
    code = "import os; print(*os.environ.values())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert str(secrets) not in run.stdout
