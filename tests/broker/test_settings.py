"""Settings: which source wins, what is said about each, and that no password is ever shown."""

import os
from pathlib import Path

import pytest

from prodchain.broker import settings
from prodchain.broker.settings import BadSettings, explain, load, mask


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PRODCHAIN_")]:
        monkeypatch.delenv(name)


def write(home: Path, text: str) -> None:
    (home / "prodchain.toml").write_text(text)


def test_flag_beats_environment_beats_file_beats_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(tmp_path).port == 0
    write(tmp_path, "port = 1")
    assert load(tmp_path).port == 1
    monkeypatch.setenv("PRODCHAIN_PORT", "2")
    assert load(tmp_path).port == 2
    assert load(tmp_path, port=3).port == 3
    assert load(tmp_path, port=None).port == 2


def test_every_setting_is_shown_with_its_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "lease_s = 60")
    monkeypatch.setenv("PRODCHAIN_PUBLIC_READ", "no")
    shown = {value.name: value for value in explain(tmp_path, port=8080)}
    assert set(shown) == set(settings.Settings.model_fields)
    assert (shown["port"].value, shown["port"].origin) == (8080, "flag --port")
    assert (shown["public_read"].value, shown["public_read"].origin) == (False, "environment PRODCHAIN_PUBLIC_READ")
    assert (shown["lease_s"].value, shown["lease_s"].origin) == (60, f"file {tmp_path}/prodchain.toml")
    assert (shown["heartbeat_s"].value, shown["heartbeat_s"].origin) == (3, "default")
    assert shown["home"].origin == "flag --home"
    assert all(value.description for value in shown.values())


def test_the_home_of_the_environment_is_used_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRODCHAIN_HOME", str(tmp_path))
    write(tmp_path, "port = 7")
    shown = {value.name: value for value in explain()}
    assert shown["home"].origin == "environment PRODCHAIN_HOME"
    assert shown["port"].value == 7


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:hidden@host/db",
        "postgresql://me@host/db?password=hidden",
        "postgresql://host/db?user=me&sslpassword=hidden",
        "postgresql://me:hi%40den:hidden@host/db",
        "postgresql://me:hidden@[bad/db",
    ],
)
def test_a_database_password_is_never_shown(tmp_path: Path, url: str) -> None:
    shown = {value.name: value for value in explain(tmp_path, database_url=url)}
    assert "hid" not in str(shown)
    assert "***" in str(shown["database_url"].value)
    assert "hid" not in repr(load(tmp_path, database_url=url))


def test_a_url_without_password_is_shown_as_it_is() -> None:
    assert mask("postgresql://postgres@/prodchain?host=/run/x") == "postgresql://postgres@/prodchain?host=/run/x"
    assert mask("http://127.0.0.1:8000") == "http://127.0.0.1:8000"


@pytest.mark.parametrize(
    ("text", "message", "about"),
    [
        ("prot = 1", "no setting 'prot'", "prodchain.toml: prot"),
        ("port = 70000", "port: ", "prodchain.toml"),
        ("port = \nx = 1", "prodchain.toml: Invalid value (at line 1", "prodchain.toml"),
        ("heartbeat_s = 10", "at most half of lease_s", "prodchain.toml"),
        ('home = "/x"', "home cannot be set", "prodchain.toml: home"),
    ],
)
def test_a_bad_file_is_named_with_the_setting(tmp_path: Path, text: str, message: str, about: str) -> None:
    write(tmp_path, text)
    with pytest.raises(BadSettings) as caught:
        load(tmp_path)
    assert message in str(caught.value)
    assert about in caught.value.object
    assert caught.value.hint


def test_a_bad_environment_variable_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRODCHAIN_PORT", "http")
    with pytest.raises(BadSettings) as caught:
        load(tmp_path)
    assert caught.value.object == "environment PRODCHAIN_PORT"


def test_the_server_of_the_home_is_found_by_its_note(tmp_path: Path) -> None:
    assert load(tmp_path).server_url is None
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "server.json").write_text('{"port": 4711}')
    assert load(tmp_path).server_url == "http://127.0.0.1:4711"
    assert load(tmp_path, url="https://broker.example").server_url == "https://broker.example"
