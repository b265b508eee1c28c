"""Credentials of storages: found by server, read again when they change, and not for everybody to read."""

from pathlib import Path

import pytest

from prodchain.catalog.backends.credentials import VARIABLE, credentials, stamp

SERVER = "https://se.example.org:443"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "storages.toml"
    path.write_text(f'["{SERVER}"]\ntoken_file = "{tmp_path}/token"\n')
    path.chmod(0o600)
    (tmp_path / "token").write_text("first\n")
    monkeypatch.setenv(VARIABLE, str(path))
    return path


def test_a_token_that_was_written_again_is_seen(file: Path) -> None:
    before = stamp(SERVER)
    assert (credentials(SERVER), credentials("https://other")) == ({"token": "first"}, {})
    file.with_name("token").write_text("second\n")
    assert credentials(SERVER) == {"token": "second"}
    assert stamp(SERVER) != before


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, True), (0o604, True)])
def test_who_lets_others_read_them_is_told(
    mode: int, warned: bool, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.chmod(mode)
    credentials(SERVER)
    assert (f"{file} can be read by others" in caplog.text) is warned
    assert "first" not in caplog.text
