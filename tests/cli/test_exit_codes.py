"""What went wrong, about what, and what to do; and the exit code that says it to programs."""

import json
import socket
from pathlib import Path

import pytest

from prodchain.broker.client import Client
from prodchain.cli.options import Chosen

from .conftest import Run
from .other_end import Broker

GONE = "http://127.0.0.1:9"  # nothing listens on the discard port


def test_an_unknown_dataset_exits_3_with_near_misses(other_end: Broker, run: Run) -> None:
    other_end.add_dataset("mc26.1.Z.reco.AOD.v1")
    ran = run("ls", "mc26.1.Z.reco.AOD.v2")
    assert ran.code == 3
    what, about, do = ran.err.splitlines()
    assert what == "error: no dataset 'mc26:mc26.1.Z.reco.AOD.v2' [dataset-not-found]"
    assert about == "object: mc26:mc26.1.Z.reco.AOD.v2"
    assert do == "do: did you mean mc26:mc26.1.Z.reco.AOD.v1?"


@pytest.mark.parametrize(
    "command",
    ["ls 'none*'", "dataset show none.such", "dataset files none.such", "get none.such", "task show 1", "job show 1",
     "queue show A-BATHC", "site show NOWHERE", "pilot show p9", "site apply nowhere.toml"],
)  # fmt: skip
def test_what_is_not_there_exits_3_in_three_lines(other_end: Broker, run: Run, command: str) -> None:
    ran = run(*command.replace("'", "").split())
    assert ran.code == 3
    assert ran.out == ""
    assert [line.split(": ")[0] for line in ran.err.splitlines()] == ["error", "object", "do"]


def test_a_misspelt_queue_is_told_what_was_meant(other_end: Broker, run: Run) -> None:
    assert "do: did you mean A-BATCH?" in run("queue", "show", "A-BATHC").err


@pytest.mark.parametrize(
    "command", ["ls --limit x", "ls --no-such-option", "nonsense", "task", "task show abc", "token create"]
)
def test_a_command_that_makes_no_sense_exits_2_and_names_its_help(run: Run, command: str) -> None:
    ran = run(*command.split())
    assert ran.code == 2
    assert ran.err.splitlines()[0].startswith("error: ")
    assert "--help` shows how it is used" in ran.err.splitlines()[2]


def test_a_pilots_token_without_its_queue_exits_2(other_end: Broker, run: Run) -> None:
    assert run("token", "create", "--kind", "pilot", "--subject", "slurm").code == 2


@pytest.mark.parametrize(
    ("token", "code"), [(None, "token-missing"), ("bad", "token-unknown"), ("expired-token", "token-expired")]
)
def test_a_token_that_is_missing_unknown_or_expired_exits_4_and_is_told_apart(
    other_end: Broker, run: Run, tmp_path: Path, token: str | None, code: str
) -> None:
    path = tmp_path / "home" / "credentials" / "user.token"
    path.unlink() if token is None else path.write_text(token)
    ran = run("task", "kill", 10_000_001)
    assert (ran.code, f"[{code}]" in ran.err) == (4, True)


def test_a_token_that_does_not_allow_it_exits_4(
    other_end: Broker, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRODCHAIN_TOKEN_FILE", str(tmp_path / "home" / "credentials" / "user.token"))
    ran = run("token", "create", "--subject", "ada")
    assert (ran.code, "[forbidden]" in ran.err) == (4, True)


def test_a_token_file_that_was_named_and_is_not_there_exits_4(
    other_end: Broker, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRODCHAIN_TOKEN_FILE", "/nowhere/token")
    ran = run("ls")
    assert ran.code == 4
    assert "object: /nowhere/token" in ran.err


@pytest.mark.parametrize("role", ["user", "admin"])
def test_a_token_file_that_is_empty_exits_4_and_is_named(
    other_end: Broker, run: Run, tmp_path: Path, role: str
) -> None:
    path = tmp_path / "home" / "credentials" / f"{role}.token"
    path.write_text("\n")
    ran = run("queue", "drain", "A-BATCH") if role == "admin" else run("ls")
    assert ran.code == 4
    what, about, do = ran.err.splitlines()
    assert what == "error: the token file is empty [token-missing]"
    assert about == f"object: {path}"
    assert "delete the file" in do


def test_a_server_that_is_down_exits_5_and_says_how_to_start_it(
    other_end: Broker, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRODCHAIN_URL", GONE)
    ran = run("ls")
    assert ran.code == 5
    assert f"object: {GONE}" in ran.err
    assert "prodchain up" in ran.err


def test_a_home_without_a_server_exits_5(other_end: Broker, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PRODCHAIN_URL")
    ran = run("ls", "--home", "/nowhere/at/all")
    assert (ran.code, "object: /nowhere/at/all" in ran.err) == (5, True)


def test_a_server_that_does_not_answer_in_time_exits_6(
    other_end: Broker, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setenv("PRODCHAIN_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
    monkeypatch.setattr(Chosen.client, "__kwdefaults__", {"timeout_s": 0.1})
    with silent:
        ran = run("ls")
    assert (ran.code, "[timed-out]" in ran.err) == (6, True)


def test_a_verb_that_the_state_does_not_allow_exits_1(other_end: Broker, run: Run) -> None:
    ran = run("task", "retry", 10_000_001)
    assert (ran.code, "[wrong-state]" in ran.err) == (1, True)


def test_with_json_an_error_is_a_document_too(other_end: Broker, run: Run) -> None:
    ran = run("task", "show", 1, "--json")
    assert (ran.code, ran.out) == (3, "")
    assert json.loads(ran.err)["error"]["code"] == "not-found"


@pytest.mark.parametrize("command", ["journal --limit 0 --json", "nosuch --json"])
def test_a_mistake_before_json_is_a_document_too(run: Run, command: str) -> None:
    ran = run(*command.split())
    assert (ran.code, json.loads(ran.err)["error"]["code"]) == (2, "usage")


def test_no_error_shows_a_traceback_unless_it_is_asked_for(
    other_end: Broker, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(Client, "dataset_listing", broken)
    ran = run("ls")
    assert (ran.code, "Traceback" in ran.err) == (1, False)
    assert "error: a mistake of ours [internal]" in ran.err
    monkeypatch.setenv("PRODCHAIN_DEBUG", "1")
    assert "Traceback" in run("ls").err
